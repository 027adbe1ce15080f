"""What never changes about an execution, read once per process: its graph, parameters and limits."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.conf import settings

from engines.dag.formats import parse
from engines.dag.graph import (
    FailurePolicy,
    Graph,
    StepSpec,
    behind,
    everything,
    hooks_of,
    in_order,
    successors,
)
from engines.dag.models import Document, Execution
from engines.dag.templating import compile_expression, references
from engines.dag.uses import secrets_of


class BadDefinition(ValueError):
    """The definition can't be run. The text says why, with the line where it is known."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A graph with what is derived from it. `steps`: its hooks too. `sources`: step or hook -> the
    steps whose results its arguments use; under the name "" those of the run's outputs. `deciding`:
    step -> those that say whether and how often it runs. `order`: the steps, each behind its needs.
    `tolerant`: those that a failure doesn't keep from starting. `recalls`: those whose passes take the
    result of the pass before. `hooks`: name -> its place among them.
    `secrets`: step or hook -> those that it names, of whatever names one."""

    graph: Graph
    steps: Mapping[str, StepSpec]
    following: Mapping[str, tuple[str, ...]]
    sources: Mapping[str, tuple[str, ...]]
    deciding: Mapping[str, tuple[str, ...]]
    order: tuple[StepSpec, ...]
    tolerant: frozenset[str]
    recalls: frozenset[str]
    hooks: Mapping[str, int]
    secrets: Mapping[str, frozenset[str]]

    def behind(self, name: str) -> set[str]:
        """The steps that can't start because the named one ended badly."""
        return behind(name, self.following, self.tolerant)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An execution without its states."""

    id: int
    engine_id: int
    external_id: str
    run_id: int
    run_uuid: str
    attempt: int
    title: str
    parameters: Mapping[str, Any]
    labels: Mapping[str, str]
    variables: Mapping[str, str]
    max_parallel: int
    definition: Definition

    @property
    def policy(self) -> FailurePolicy:
        return self.definition.graph.failure_policy

    @property
    def run(self) -> dict[str, Any]:
        """What templates see as `run`."""
        return {
            "id": self.run_id,
            "uuid": self.run_uuid,
            "attempt": self.attempt,
            "labels": dict(self.labels),
            # Where nobody has said what it is, a reference to it fails, which null would not.
            **({"hub": settings.WORKFLOWHUB_OWN_URL} if settings.WORKFLOWHUB_OWN_URL else {}),
        }


def read_graph(text: str, format: str) -> Graph:
    """The graph of a definition. Raises BadDefinition with the first problem."""
    parsed = parse(text, format)
    if parsed.graph is None:
        problem = parsed.problems[0]
        where = f"line {problem.line}: " if problem.line else ""
        raise BadDefinition(f"{where}{problem.message}")
    graph: Graph = parsed.graph
    return graph


def keep_document(text: str, format: str) -> Document:
    digest = hashlib.sha256(f"{format}\n{text}".encode()).hexdigest()
    document, _ = Document.objects.get_or_create(
        digest=digest, defaults={"format": format, "text": text}
    )
    return document


def derive(graph: Graph) -> Definition:
    """The definition of a graph that the formats have checked."""
    steps = {step.name: step for step in everything(graph)}
    hooks = {name: place for place, name in enumerate(hooks_of(graph))}
    sources = {name: _steps_in([step.config, step.outputs]) for name, step in steps.items()}
    sources[""] = _steps_in(graph.outputs)
    return Definition(
        graph=graph,
        steps=steps,
        # Nothing waits for a hook.
        following={**successors(graph), **dict.fromkeys(hooks, ())},
        sources=sources,
        deciding={step.name: _deciding(step) for step in graph.steps},
        order=in_order(graph),
        tolerant=frozenset(step.name for step in graph.steps if step.trigger.tolerant),
        recalls=frozenset(step.name for step in graph.steps if _recalls(step)),
        hooks=hooks,
        secrets={name: used for name, step in steps.items() if (used := secrets_of(step))},
    )


@lru_cache(maxsize=256)
def definition(digest: str) -> Definition:
    """The definition of a stored document. Raises BadDefinition."""
    document = Document.objects.get(digest=digest)
    return derive(read_graph(document.text, document.format))


@lru_cache(maxsize=2000)
def plan(external_id: str) -> Plan:
    """By a name that is never used again, which a row's number may be where its transaction was
    undone. Raises Execution.DoesNotExist, BadDefinition."""
    row = Execution.objects.select_related("document").get(external_id=external_id)
    return Plan(
        id=row.pk,
        engine_id=row.engine_id,
        external_id=row.external_id,
        run_id=row.run_id,
        run_uuid=row.run_uuid,
        attempt=row.attempt,
        title=row.title,
        parameters=row.parameters,
        labels=row.labels,
        variables=row.variables,
        max_parallel=row.max_parallel,
        definition=definition(row.document.digest),
    )


def _deciding(step: StepSpec) -> tuple[str, ...]:
    found = set(_steps_in(step.for_each))
    for condition in (step.when, step.repeat.until if step.repeat else None):
        if condition is not None:
            found |= {
                name for ref in compile_expression(condition).references if (name := ref.step)
            }
    return tuple(sorted(found))


def _recalls(step: StepSpec) -> bool:
    return step.repeat is not None and any(
        ref.root == "previous" for ref in references(step.config)
    )


def _steps_in(value: Any) -> tuple[str, ...]:
    return tuple(sorted({name for ref in references(value) if (name := ref.step)}))
