"""Hooks in a document of the format `workflowhub`: what runs once after a step or the run has ended."""

from collections.abc import Iterable, Mapping
from copy import copy
from typing import Any

from engines.dag.formats.document import Path
from engines.dag.formats.report import Report, Section
from engines.dag.formats.steps import References
from engines.dag.formats.work import read_arguments, read_handler, read_retry
from engines.dag.graph import HOOKS, FailurePolicy, StepSpec

HOOK_KEYS = ("handler", "with", "retry", "timeout", "display_name")
# A hook runs once, when something has ended: none of these says anything about that.
OF_STEPS = ("name", "needs", "when", "for_each", "repeat", "trigger", *HOOKS)
# What `ended` gives: of the step or the run that the hook follows.
ENDED = ("name", "state", "error", "result")
WAITING = {"workflow": "a hook can't wait for another run"}


def read_hooks(report: Report, known: References, owner: Section, name: str) -> dict[str, Any]:
    """`on_success` and `on_failure` of a step, or with the name "" of the workflow, those there are."""
    found: dict[str, Any] = {}
    for key in HOOKS:
        value = owner.value.get(key)
        if value is not None:
            full = f"{name}.{key}" if name else key
            found[key] = _hook(report, known, owner, key, value, full)
    return found


def check_names(report: Report, steps: Iterable[StepSpec], own: Mapping[str, Any]) -> None:
    """Notes a step that is called what a hook is. `own`: the workflow's own hooks."""
    taken = dict.fromkeys(own, "a hook of the workflow")
    for step in steps:
        for hook in (step.on_success, step.on_failure):
            if hook is not None:
                taken[hook.name] = f'a hook of the step "{step.name}"'
    for index, name in report.names.items():
        if name in taken:
            report.problem(("steps", index, "name"), f"{taken[name]} has this name; give another.")


def _hook(
    report: Report, known: References, owner: Section, key: str, value: Any, name: str
) -> StepSpec | None:
    path: Path = (*owner.path, key)
    if isinstance(value, str) and value in {policy.value for policy in FailurePolicy}:
        owner.wrong(
            key,
            "is a hook: a handler that runs after the end. What a failed step means for the others "
            f"is said for the whole workflow, by failure_policy: {value}.",
        )
        return None
    if not isinstance(value, Mapping):
        Section(report, value, path, HOOK_KEYS)  # notes it
        return None
    for word in OF_STEPS:
        if word in value:
            report.problem(
                (*path, word),
                f'a hook has no "{word}": it runs once, after the end. It may have '
                f"{', '.join(HOOK_KEYS)}.",
            )
    rest = {word: part for word, part in value.items() if word not in OF_STEPS}
    hook = Section(report, rest, path, HOOK_KEYS)
    handler = read_handler(hook)
    if handler in WAITING:
        hook.wrong("handler", f'can\'t be "{handler}": {WAITING[handler]}.')
    arguments = read_arguments(hook, handler)
    _check_references(report, known, arguments, (*path, "with"))
    return StepSpec(
        name=name,
        handler=handler,
        config=arguments,
        retry=read_retry(hook),
        timeout=hook.seconds("timeout"),
        display_name=hook.text("display_name"),
        line=report.document.line(path),
    )


def _check_references(report: Report, known: References, arguments: Any, path: Path) -> None:
    """A hook may refer to whatever its step may, and to what ended. It waits for nothing by that."""
    inside = copy(known)
    inside.context = {*known.context, "ended"}
    for reference in inside.of(arguments, path, secrets=True):
        if reference.root == "ended" and reference.path[:1] not in {(word,) for word in ENDED}:
            report.problem(path, f"{reference.text}: what ended has {', '.join(ENDED)}.")
