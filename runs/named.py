"""Secrets and variables by name: the values that a run of a workflow is sent with.

A workflow's own (by its title, for all versions) comes before the one for all workflows. Values are
looked up when a run is sent, so that a new one counts from the next attempt on.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from django.db.models import QuerySet

from engines.secrets import UnreadableSecret, decrypt
from runs.errors import Invalid
from runs.models import Secret, Variable, Workflow

NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
PAGE = "Secrets and variables"


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """What a workflow's definition names. `problems`: `secrets.NAME` or `variables.NAME` -> why no run
    can be sent."""

    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    problems: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A name in a definition, and what it means there. `kind` is secret or variable; `row` None:
    nothing."""

    kind: str
    name: str
    row: Secret | Variable | None


NONE = Values()


def values_of(workflows: Iterable[Workflow]) -> dict[int, Values]:
    """Those of each workflow that names any, by its key: in two statements for all of them, and
    without one where none does."""
    naming = [workflow for workflow in workflows if workflow.secrets or workflow.variables]
    secrets = _rows(Secret, [(one.title, one.secrets) for one in naming])
    variables = _rows(Variable, [(one.title, one.variables) for one in naming])
    return {one.pk: _values(one, secrets, variables) for one in naming}


def check_values(workflow: Workflow) -> None:
    """Raises Invalid where a run of the workflow could not be sent."""
    found = values_of([workflow]).get(workflow.pk, NONE)
    if found.problems:
        raise Invalid(found.problems)


def typed(value: str) -> str:
    """What somebody meant who typed or pasted it into a form: browsers end lines in a way of their
    own, and a single line often comes with its end."""
    text = value.replace("\r\n", "\n")
    return text if "\n" in text.rstrip("\n") else text.rstrip("\n")


def uses_of(workflow: Workflow) -> list[Use]:
    """What a definition names, for people; values aren't read."""
    return [*_uses(workflow, Secret), *_uses(workflow, Variable)]


def users_of(workflows: QuerySet[Workflow]) -> dict[tuple[str, str], list[str]]:
    """(secret or variable, name) -> the titles whose newest version refers to it."""
    found: dict[tuple[str, str], list[str]] = {}
    newest = workflows.filter(latest=True, archived_at=None).exclude(secrets=[], variables=[])
    rows = newest.order_by("title").values_list("title", "secrets", "variables")
    for title, secrets, variables in rows:
        for kind, names in (("secret", secrets), ("variable", variables)):
            for name in names:
                found.setdefault((kind, name), []).append(title)
    return found


def _uses(workflow: Workflow, model: type[Secret] | type[Variable]) -> Iterator[Use]:
    names = workflow.secrets if model is Secret else workflow.variables
    if not names:
        return
    rows = model._default_manager.filter(name__in=names, workflow__in=["", workflow.title])
    # A workflow's own comes last, and so it counts.
    by_name = {row.name: row for row in rows.order_by("workflow").defer(*_hidden(model))}
    for name in names:
        yield Use(kind=model._meta.model_name or "", name=name, row=by_name.get(name))


def _hidden(model: type[Secret] | type[Variable]) -> list[str]:
    return ["encrypted"] if model is Secret else []


def _rows(
    model: type[Secret] | type[Variable], wanted: Collection[tuple[str, list[str]]]
) -> dict[tuple[str, str], str]:
    """(workflow or nothing, name) -> what is stored."""
    names = sorted({name for _, some in wanted for name in some})
    if not names:
        return {}
    titles = ["", *sorted({title for title, _ in wanted})]
    column = "encrypted" if model is Secret else "value"
    rows = model._default_manager.filter(name__in=names, workflow__in=titles)
    return {
        (title, name): value for title, name, value in rows.values_list("workflow", "name", column)
    }


def _values(
    workflow: Workflow,
    secrets: Mapping[tuple[str, str], str],
    variables: Mapping[tuple[str, str], str],
) -> Values:
    problems: dict[str, str] = {}
    plain: dict[str, str] = {}
    read: dict[str, str] = {}
    for name in workflow.variables:
        value = variables.get((workflow.title, name), variables.get(("", name)))
        if value is None:
            problems[f"variables.{name}"] = _missing("variable", name, workflow)
        else:
            plain[name] = value
    for name in workflow.secrets:
        sealed = secrets.get((workflow.title, name), secrets.get(("", name)))
        if sealed is None:
            problems[f"secrets.{name}"] = _missing("secret", name, workflow)
            continue
        try:
            read[name] = decrypt(sealed)
        except UnreadableSecret as error:
            problems[f"secrets.{name}"] = f"The secret {name} can't be read. {error}"
    return Values(variables=plain, secrets=read, problems=problems)


def _missing(kind: str, name: str, workflow: Workflow) -> str:
    return (
        f"There is no {kind} {name} for {workflow.title}. Add it under {PAGE}, for this workflow or "
        "for all."
    )
