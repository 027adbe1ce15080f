"""Which secrets and variables a graph names, so that their values can be sent along with a run. Pure."""

from collections.abc import Iterator

from engines.dag.graph import Graph, StepSpec, everything
from engines.dag.references import Reference
from engines.dag.templating import compile_expression, references


def names_in(graph: Graph) -> tuple[frozenset[str], frozenset[str]]:
    """(the secrets, the variables) that its steps, hooks and outputs refer to."""
    found = references(graph.outputs)
    for step in everything(graph):
        found.update(_references(step))
    return _named(found, "secrets"), _named(found, "vars")


def secrets_of(step: StepSpec) -> frozenset[str]:
    """The secrets that a step's arguments refer to; nothing else of it may."""
    return _named(references(step.config), "secrets")


def _references(step: StepSpec) -> Iterator[Reference]:
    yield from references([step.config, step.for_each, step.outputs])
    for condition in (step.when, step.repeat.until if step.repeat else None):
        if condition is not None:
            yield from compile_expression(condition).references


def _named(found: set[Reference], root: str) -> frozenset[str]:
    return frozenset(str(one.path[0]) for one in found if one.root == root)
