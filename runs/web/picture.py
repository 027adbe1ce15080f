"""The SVG of a workflow's graph: boxes with a state, a link and a title each, for the template
`web/_graph.html`. Layouts are cached, since a workflow version's graph never changes."""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from django.urls import reverse

from engines.base import TaskSpec
from runs.models import DownstreamTask, TaskRun, Workflow, WorkflowRun
from runs.states import FINAL_TASK_STATES, WORST_FIRST, TaskState
from runs.web.graph import BOX_HEIGHT, BOX_WIDTH, Curve, Layout, lay_out

MOST_NODES = 400  # beyond that a picture tells less than a table
MOST_ENDS = 8  # of a graph, that a hook of the run is drawn behind
HOOK = "hook"
LABEL_LENGTH = 20
LABEL_BESIDE_NOTE = 15

# Trigger rule -> what stands in the box, and what a pointer on it shows.
RULES = {
    "all_done": ("all done", "starts when all that it needs has ended"),
    "one_failed": ("if failed", "starts when one that it needs has failed"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One box. `state` is empty in the graph of a workflow; `note` is e.g. `3/5` of mapped tasks.
    A hook only runs after what it hangs on."""

    name: str
    label: str
    type: str
    x: int
    y: int
    state: str = ""
    note: str = ""
    link: str = ""
    hook: bool = False


class Known(NamedTuple):
    """What the definition says of a task."""

    name: str
    display_name: str = ""
    type: str = ""
    trigger_rule: str = ""
    repeats: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What `web/_graph.html` draws; `too_large` when it doesn't. `hooks`: their names."""

    width: int
    height: int
    nodes: tuple[Node, ...]
    curves: tuple[Curve, ...]
    too_large: bool = False
    box_width: int = BOX_WIDTH
    box_height: int = BOX_HEIGHT
    hooks: frozenset[str] = frozenset()


@lru_cache(maxsize=256)
def _layout(names: tuple[str, ...], edges: tuple[tuple[str, str], ...], width: int) -> Layout:
    return lay_out(names, edges, box_width=width)


def workflow_picture(workflow: Workflow) -> Picture:
    """The graph of a workflow version; three queries at most."""
    return _picture(workflow, {}, {})


def plain_picture(tasks: Sequence[TaskSpec]) -> Picture:
    """The graph of a definition that was read and not posted."""
    known = [
        Known(task.name, task.display_name, task.type, task.trigger_rule, task.repeats)
        for task in tasks
    ]
    edges = [(task.name, name) for task in tasks for name in task.downstream]
    return _drawn(known, edges, {}, {})


def run_picture(run: WorkflowRun, tasks: Sequence[TaskRun]) -> Picture:
    """The same with the state of each task of a run, leading to its page."""
    by_name: dict[str, list[TaskRun]] = {}
    for task in tasks:
        by_name.setdefault(task.name, []).append(task)
    links = {}
    for name, same in by_name.items():
        worst = min(same, key=lambda task: WORST_FIRST.index(TaskState(task.state)))
        links[name] = reverse("task", args=[run.pk, worst.pk])
    return _picture(run.workflow, by_name, links)


def _picture(
    workflow: Workflow, by_name: Mapping[str, list[TaskRun]], links: Mapping[str, str]
) -> Picture:
    rows = workflow.tasks.order_by("position").values_list(*Known._fields)
    known = [Known(*row) for row in rows]
    named = {task.name for task in known}
    # What an engine ran beyond its definition stands alone, but for hooks.
    hooks = {name: same[0].hook_of for name, same in by_name.items() if same[0].is_hook}
    known += [
        _hook(name, hooks[name], named, workflow.hook_names) if name in hooks else Known(name)
        for name in by_name
        if name not in named
    ]
    if len(known) > MOST_NODES:
        return _drawn(known, (), by_name, links)
    edges = list(
        DownstreamTask.objects.filter(task__workflow=workflow).values_list(
            "task__name", "downstream__name"
        )
    )
    ends = named - {source for source, _ in edges}
    for name, owner in hooks.items():
        edges += [(end, name) for end in sorted({owner} & named or ends)[:MOST_ENDS]]
    return _drawn(known, edges, by_name, links, frozenset(hooks))


def _hook(name: str, owner: str, named: AbstractSet[str], called: Mapping[str, str]) -> Known:
    """A hook hangs on its task, so its box says only which one of that it is, or what it is called."""
    short = name.removeprefix(f"{owner}.") if owner in named else name
    return Known(name, called.get(name, short), HOOK)


def _drawn(
    known: Sequence[Known],
    edges: Iterable[tuple[str, str]],
    by_name: Mapping[str, list[TaskRun]],
    links: Mapping[str, str],
    hooks: frozenset[str] = frozenset(),
) -> Picture:
    if len(known) > MOST_NODES:
        return Picture(width=0, height=0, nodes=(), curves=(), too_large=True)
    longest = max((len(task.display_name or task.name) for task in known), default=0)
    beside = max((len(_said(task)) for task in known), default=0)
    width = min(BOX_WIDTH, 60 + 8 * longest + 6 * beside)
    layout = _layout(tuple(task.name for task in known), tuple(sorted(edges)), width)
    about = {task.name: task for task in known}
    nodes = []
    for box in layout.boxes:
        task = about[box.name]
        same = by_name.get(box.name, [])
        note = _note(task, same)
        length = min(LABEL_BESIDE_NOTE, LABEL_LENGTH - len(note)) if note else LABEL_LENGTH
        nodes.append(
            Node(
                name=box.name,
                label=_cut(task.display_name or task.name, length),
                type=_type(task),
                x=box.x,
                y=box.y,
                state=_state(same),
                note=note,
                link=links.get(box.name, ""),
                hook=box.name in hooks,
            )
        )
    return Picture(
        width=layout.width,
        height=layout.height,
        nodes=tuple(nodes),
        curves=layout.curves,
        box_width=width,
        hooks=hooks,
    )


def _said(task: Known) -> str:
    """What the definition says about when a task starts and how often, in a word or two."""
    words = [RULES[task.trigger_rule][0]] if task.trigger_rule in RULES else []
    words += [HOOK] if task.type == HOOK else []
    return " ".join([*words, "×n"] if task.repeats else words)


def _type(task: Known) -> str:
    """A task's type, and in full what `_said` says."""
    said = [task.type, RULES.get(task.trigger_rule, ("", task.trigger_rule))[1]]
    return ", ".join(word for word in [*said, "repeats" if task.repeats else ""] if word)


def _state(same: Sequence[TaskRun]) -> str:
    return next((state.value for state in WORST_FIRST if any(t.state == state for t in same)), "")


def _note(task: Known, same: Sequence[TaskRun]) -> str:
    """`3/5` of mapped instances, `×3` of passes: how many there will be, nobody knows."""
    mapped = [one for one in same if one.map_index >= 0]
    if not mapped:
        return _said(task)
    if task.repeats:
        return f"×{len(mapped)}"
    return f"{sum(one.state in FINAL_TASK_STATES for one in mapped)}/{len(mapped)}"


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
