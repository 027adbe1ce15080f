"""What templates say in one word: states, icons, times, durations. Everything is escaped."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from engines.durations import said
from runs.states import TONES, Flag, Reason, RunState, TaskState, Trigger, shown_state
from runs.visible import visible

register = template.Library()

ICONS = {
    TaskState.PENDING.value: "circle-dashed",
    TaskState.SCHEDULED.value: "clock",
    TaskState.RUNNING.value: "play",
    TaskState.RETRYING.value: "refresh-cw",
    TaskState.COMPLETED.value: "circle-check",
    TaskState.FAILED.value: "circle-x",
    TaskState.CANCELED.value: "ban",
    TaskState.SKIPPED.value: "skip-forward",
    TaskState.UPSTREAM_FAILED.value: "unlink",
}
# Words of other things that have a state: a workflow's deployment, an engine's health, a job.
OTHERS = {
    "draft": ("idle", "circle-dashed"),
    "deploying": ("active", "upload"),
    "ready": ("good", "circle-check"),
    "failed": ("bad", "circle-x"),
    "unknown": ("idle", "circle-dashed"),
    "healthy": ("good", "circle-check"),
    "unhealthy": ("bad", "unplug"),
    "rejected": ("bad", "octagon-x"),
    "waiting": ("queued", "clock"),
    "running": ("active", "play"),
    "done": ("good", "circle-check"),
    "off": ("muted", "circle-pause"),
    "canceled": ("muted", "ban"),
}
WORDS = {**dict(Reason.choices), **dict(Flag.choices)}
# Why a task is as it is, in the words of engines whose steps the hub drives.
TASK_WORDS = WORDS | {
    "when": "Its condition didn't hold",
    "trigger": "No step that it needs has failed",
    "items": "Its items say why",
    "template": "A reference or condition of it can't be read",
    "result": "Its result can't be kept",
    "repeat": "Its condition never held",
    "lost": "Its worker was lost",
    "killed": "Its process was killed",
    "crashed": "It ended its own process",
    "drained": "Its worker was stopped",
    "canceled": "Somebody asked it to stop",
    "sibling_failed": "Stopped because another step failed",
    "artifacts": "It left more files than it may",
    "no_child": "The run that it asks for couldn't be started",
    "child_failed": "The run that it asked for has failed",
}
NOT_STARTED = "after "  # and the name of the step that kept it from that


@register.simple_tag
def icon(name: str) -> SafeString:
    """One of the icons of the page's sprite; it says nothing to screen readers."""
    return format_html('<svg class="i" aria-hidden="true"><use href="#i-{}"/></svg>', name)


@register.simple_tag
def run_state(run: Any) -> SafeString:
    """A run's state: icon, word and tone, with the engine's own word as the title."""
    word = shown_state(run.state, run.wanted)
    tone, name = TONES[run.state], ICONS[run.state]
    if word == "Canceling":
        tone, name = "warn", "ban"
    elif word == "Held":
        tone, name = "queued", "circle-pause"
    title = f"The engine says: {run.raw_state}" if run.raw_state else ""
    return _pill(word, tone, name, title)


@register.simple_tag
def task_state(task: Any) -> SafeString:
    """A task run's state. A wish to cancel it shows until it has ended."""
    ending = task.wanted == "CANCEL" and TONES[task.state] in {"idle", "queued", "active", "warn"}
    title = f"The engine says: {task.raw_state}" if task.raw_state else ""
    if ending:
        return _pill("Canceling", "warn", "ban", title)
    return _pill(str(TaskState(task.state).label), TONES[task.state], ICONS[task.state], title)


@register.simple_tag
def state_word(state: str) -> SafeString:
    """The pill of a bare state word, as events and attempts have it."""
    if state not in TONES:
        return _pill(state or "–", "idle", "circle-dashed", "")
    label = str((RunState(state) if state in RunState.values else TaskState(state)).label)
    return _pill(label, TONES[state], ICONS[state], "")


@register.simple_tag
def other_state(state: str, label: str, title: str = "") -> SafeString:
    """The pill of a deployment, an engine's health or a job."""
    tone, name = OTHERS.get(state, ("idle", "circle-dashed"))
    return _pill(label, tone, name, title)


@register.filter
def tone(state: str) -> str:
    """The tone of a state word: the tail of a CSS class."""
    return TONES.get(state, "idle")


@register.filter
def icon_of(state: str) -> str:
    return ICONS.get(state, "circle-dashed")


@register.filter
def reason_text(reason: str) -> str:
    """A reason or flag in a sentence's words; an engine's own reason as it came."""
    return str(WORDS.get(reason, reason))


@register.filter
def task_reason(reason: str) -> str:
    """The same of a task run."""
    if reason.startswith(NOT_STARTED):
        return f"Not started because of {reason.removeprefix(NOT_STARTED)}"
    return str(TASK_WORDS.get(reason, reason))


@register.filter
def state_label(state: str) -> str:
    """A state's word within a sentence."""
    return str(TaskState(state).label).lower() if state in TaskState.values else state.lower()


@register.filter
def trigger_text(trigger: str) -> str:
    return str(Trigger(trigger).label)


@register.simple_tag
def ago(when: datetime | None, empty: str = "–") -> SafeString:
    """A relative time; the absolute one is its title."""
    if when is None:
        return format_html('<span class="faint">{}</span>', empty)
    local = timezone.localtime(when)
    return format_html(
        '<time datetime="{}" title="{}" data-ago>{}</time>',
        when.isoformat(timespec="seconds"),
        local.strftime("%Y-%m-%d %H:%M:%S %Z"),
        _ago(timezone.now() - when),
    )


@register.simple_tag
def clock(when: datetime | None, fine: bool = False) -> SafeString:
    """An absolute time of day; the date is in the title."""
    if when is None:
        return format_html('<span class="faint">{}</span>', "–")
    local = timezone.localtime(when)
    text = local.strftime("%H:%M:%S")
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        when.isoformat(),
        local.strftime("%Y-%m-%d %H:%M:%S %Z"),
        f"{text}.{local.microsecond // 1000:03d}" if fine else text,
    )


@register.simple_tag
def took(started: datetime | None, ended: datetime | None, final: bool = True) -> SafeString:
    """How long something took; while it runs it counts on in the browser."""
    if started is None:
        return format_html('<span class="faint">{}</span>', "–")
    if ended is None and final:
        return format_html('<span class="faint">{}</span>', "–")
    text = duration((ended or timezone.now()) - started)
    if ended is None:
        return format_html('<time datetime="{}" data-since>{}</time>', started.isoformat(), text)
    return format_html("<span>{}</span>", text)


@register.filter
def duration(length: timedelta | None) -> str:
    """`850 ms`, `12.3 s`, `4 m 05 s`, `3 h 20 m`, `2 d 4 h`; never negative."""
    if length is None:
        return "–"
    seconds = max(length.total_seconds(), 0.0)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02d} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} m"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


@register.filter
def limit(length: timedelta) -> str:
    """A length that somebody chose: `1 h 30 min`."""
    return said(length.total_seconds())


@register.filter
def pretty(value: Any) -> str:
    """A JSON value for people to read."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str, sort_keys=False)


@register.filter
def brief(value: Any) -> str:
    """A JSON value on one line, cut at 200 characters."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 200 else f"{text[:199]}…"


@register.filter
def first_line(text: str) -> str:
    """The first line that says something, at most 300 characters."""
    line = visible(next((line for line in text.splitlines() if line.strip()), "").strip())
    return line if len(line) <= 300 else f"{line[:299]}…"


@register.filter
def error_line(text: str) -> str:
    """The line of an error that says most: the last of a traceback, the first of any other."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if lines and lines[0].startswith("Traceback"):
        lines = lines[-1:]
    return first_line("\n".join(lines[:1]))


@register.filter
def failure(run: Any) -> str:
    """One line on why a run failed: its root task, unless the error names it already, and the error."""
    line = error_line(run.error)
    if not run.error_task or line.startswith(f"{run.error_task}:"):
        return line
    return f"{run.error_task}: {line}"


@register.filter
def item(mapping: Mapping[Any, Any], key: Any) -> Any:
    return mapping.get(key, "")


@register.simple_tag
def meter(done: int, total: int) -> SafeString:
    """A small bar of how much is done; the numbers stand beside it."""
    width = round(done / total * 70, 1) if total else 0
    return format_html(
        '<svg class="meter" aria-hidden="true"><rect width="{}" height="6"/></svg>', width
    )


@register.filter
def cut_poll(path: str) -> str:
    """A path without what a poll carries: its token, and which rows are shown."""
    parts = urlsplit(path)
    kept = [
        pair
        for pair in parse_qsl(parts.query, keep_blank_values=True)
        if pair[0] not in {"v", "shown"}
    ]
    return urlunsplit(("", "", parts.path, urlencode(kept), ""))


@register.filter
def percent(share: float | None) -> int:
    return round((share or 0) * 100)


def _pill(word: str, tone: str, name: str, title: str) -> SafeString:
    return format_html(
        '<span class="state t-{}"{}>{}<span>{}</span></span>',
        tone,
        format_html(' title="{}"', title) if title else "",
        icon(name),
        word,
    )


def _ago(length: timedelta) -> str:
    seconds = int(length.total_seconds())
    future, seconds = seconds < -1, abs(seconds)
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            text = f"{seconds // size} {unit}"
            break
    else:
        text = f"{seconds} s"
    return f"in {text}" if future else f"{text} ago"
