"""The definition formats of the engines whose steps we drive: each turns its documents into one
Graph. Pure; called when a workflow is posted, by adapters, and when a run is started.

A format is a module with `NAME` and `parse(document, report)`, and a line in FORMATS. Reading never
raises for bad input: what is wrong is in `problems`, each with the line and the step.
"""

import re
from collections.abc import Callable

from engines.base import Definition, Problem, TaskSpec
from engines.dag.formats import bvbrc, orchestrator, workflowhub
from engines.dag.formats.document import Document, load
from engines.dag.formats.events import DocumentError
from engines.dag.formats.handlers import HANDLERS, PERMISSIONS
from engines.dag.formats.report import Parsed, Report, TooManyProblems, kind
from engines.dag.graph import Graph, StepSpec, everything, hooks_of
from engines.dag.uses import names_in

__all__ = ["FORMATS", "HANDLERS", "Parsed", "guess", "parse", "read"]

FORMATS: dict[str, Callable[[Document, Report], Parsed]] = {
    workflowhub.NAME: workflowhub.parse,
    bvbrc.NAME: bvbrc.parse,
    orchestrator.NAME: orchestrator.parse,
}

# Keys that tell a format, in the order in which they are looked for.
_TELLING = {
    "workflow_name": bvbrc.NAME,
    "dag": orchestrator.NAME,
    "steps": workflowhub.NAME,
}
_KEY = re.compile(r'(?:^[ {]{0,20}|[{,] {0,5})"?(workflow_name|dag|steps)"?[ ]{0,5}:', re.M)


def guess(text: str) -> str | None:
    """The format that a definition seems to have, also of one that is broken; None if none of ours."""
    try:
        value = load(text).value
    except DocumentError:
        # What is broken is still told by the lines that look like keys.
        keys = {match[1] for match in _KEY.finditer(text)}
    else:
        keys = set(value) if isinstance(value, dict) else set()
    return next((name for key, name in _TELLING.items() if key in keys), None)


def parse(text: str, format: str) -> Parsed:
    """The graph of a definition, or what is wrong with it. Raises KeyError for an unknown format."""
    reader = FORMATS[format]
    try:
        document = load(text)
    except DocumentError as error:
        return Parsed(problems=(Problem(message=str(error), line=error.line),))
    report = Report(document)
    if not isinstance(document.value, dict):
        report.problem((), f"A definition is an object with steps, not {kind(document.value)}.")
        return report.parsed(None, document.value)
    try:
        return reader(document, report)
    except TooManyProblems:
        return report.parsed(None, document.value)


def read(text: str, format: str) -> Definition:
    """A definition as the border between hub and engines has it."""
    parsed = parse(text, format)
    graph = parsed.graph
    if graph is None:
        return Definition(
            format=format,
            normalised=parsed.normalised,
            problems=parsed.problems,
            warnings=parsed.warnings,
        )
    secrets, variables = names_in(graph)
    return Definition(
        title=graph.title,
        format=format,
        tasks=_tasks(graph),
        hooks=tuple(
            TaskSpec(name=hook.name, display_name=hook.display_name, type=_type(hook))
            for hook in hooks_of(graph).values()
        ),
        parameters_schema=graph.parameters_schema,
        labels=graph.labels,
        normalised=parsed.normalised,
        warnings=parsed.warnings,
        permissions=frozenset(
            PERMISSIONS[step.handler] for step in everything(graph) if step.handler in PERMISSIONS
        ),
        secrets=secrets,
        variables=variables,
    )


def _tasks(graph: Graph) -> tuple[TaskSpec, ...]:
    downstream: dict[str, list[str]] = {step.name: [] for step in graph.steps}
    for step in graph.steps:
        for needed in step.needs:
            downstream[needed].append(step.name)
    return tuple(
        TaskSpec(
            name=step.name,
            display_name=step.display_name,
            type=_type(step),
            downstream=tuple(downstream[step.name]),
            trigger_rule=step.trigger.value if step.trigger.tolerant else "",
            repeats=step.repeat is not None,
        )
        for step in graph.steps
    )


def _type(step: StepSpec) -> str:
    """What a person would call the task's type: of an app its name."""
    return str(step.config["app"]) if step.handler == bvbrc.HANDLER else step.handler
