"""What an engine is told: a run, an attempt that keeps what is done, a definition."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from engines.base import RetrySpec, RunSpec, WorkflowSpec
from engines.masking import redact
from runs.models import Workflow
from runs.named import Values
from runs.reconciler.facts import Case


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What goes along with a run that isn't in its own row."""

    labels: dict[str, str]
    values: Values

    @property
    def problems(self) -> str:
        """Why the run can't be sent; nothing where it can."""
        return " ".join(self.values.problems.values())


def run_spec(case: Case, told: Told) -> RunSpec:
    """What an engine is told of a run."""
    run = case.run
    return RunSpec(
        external_id=run.external_id,
        uuid=str(run.uuid),
        run_id=run.pk,
        attempt=run.attempt,
        workflow=workflow_spec(run.workflow),
        parameters=run.parameters,
        labels=told.labels,
        created_by=run.created_by.get_username() if run.created_by else "",
        variables=told.values.variables,
        secrets=told.values.secrets,
    )


@contextmanager
def unsaid(spec: RunSpec) -> Iterator[None]:
    """What is raised while an engine is told of a run holds none of the run's secrets."""
    try:
        yield
    except Exception as error:
        if spec.secrets:
            error.args = (redact(str(error), spec.secrets.values()),)
        raise


def workflow_spec(workflow: Workflow) -> WorkflowSpec:
    """What an engine is told of a definition."""
    return WorkflowSpec(
        id=workflow.pk,
        title=workflow.title,
        version=workflow.version,
        format=workflow.format,
        definition=workflow.definition,
    )


def retry_spec(case: Case) -> RetrySpec:
    """What the attempt runs again, and of which earlier one it keeps the rest."""
    kept = case.kept
    if kept is None:
        raise LookupError("There is no earlier attempt of this run to go on from.")
    tasks: Iterable[Any] = case.attempt.tasks
    return RetrySpec(
        previous_external_id=kept.external_id, tasks=tuple((name, index) for name, index in tasks)
    )
