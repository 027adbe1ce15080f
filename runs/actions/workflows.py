"""Posting, editing and archiving workflows."""

import hashlib
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction

from engines.base import Definition
from engines.clock import database_now
from engines.connect import read_with
from engines.models import Engine
from engines.registry import formats
from engines.states import DeploymentState
from runs import audit
from runs.actions.limits import UNSET, clean_limits, lock_titles, next_limits, share_limits
from runs.errors import Conflict, Invalid, Stale
from runs.labels import add_labels, clean_labels, labels_of, set_labels
from runs.models import DownstreamTask, Task, Workflow
from runs.policy import Action, Actor, require, visible
from runs.wakeups import wake_reconciler

TITLE_LENGTH = 200


def read_definition(
    definition: str | Mapping[str, Any],
    *,
    form: str = "",
    engine: Engine | None = None,
) -> tuple[str, Definition]:
    """The definition's text and what it says, without side effects. Problems are in the answer;
    raises Invalid only where no format is known to take it."""
    if isinstance(definition, str):
        text = definition
    elif isinstance(definition, Mapping):
        text = json.dumps(definition, indent=2, ensure_ascii=False)
    else:
        raise Invalid({"definition": "Give a text or an object."})
    if not text.strip():
        raise Invalid({"definition": "It is empty."})
    if form and form not in formats():
        raise Invalid({"format": f"{form!r} is unknown. Known: {', '.join(sorted(formats()))}."})
    if engine and form and engine.kind not in formats()[form]:
        raise Invalid({"format": f"The engine {engine.name} ({engine.kind}) doesn't take {form}."})
    return text, read_with(text, form, engine.kind if engine else None)


def problems_said(found: Definition, form: str) -> str:
    """How many problems there are, and what the definition was taken for where nobody said."""
    number = len(found.problems)
    text = f"The definition has {number} problem{'' if number == 1 else 's'}."
    if form or not found.format:
        return text
    return f"{text} It was taken for the format {found.format}: say so if it is another."


def post_workflow(
    actor: Actor,
    *,
    definition: str | Mapping[str, Any],
    form: str = "",
    title: str = "",
    engine: Engine | None = None,
    labels: Any = None,
    paused: bool | None = None,
    max_active_runs: int | None = UNSET,
    run_timeout: timedelta | None = UNSET,
) -> tuple[Workflow, bool]:
    """A new version of the title, or the newest one where its content is the same (False).

    The title is the one given, else the definition's. Labels given are added to the definition's.
    Limits that are given are from now on those of all versions.
    """
    require(actor, Action.POST_WORKFLOW)
    text, found = read_definition(definition, form=form, engine=engine)
    if found.problems:
        raise Invalid(
            {"definition": found.problems[0].message},
            problems=found.problems,
            detail=problems_said(found, form),
        )
    if "post_shell" in found.permissions:
        require(actor, Action.POST_SHELL)
    title = (title or found.title).strip()
    if not title or len(title) > TITLE_LENGTH or "\x00" in title:
        raise Invalid({"title": f"A title has 1 to {TITLE_LENGTH} characters."})
    all_labels = clean_labels({**found.labels, **clean_labels(labels)})
    limits = clean_limits(paused=paused, max_active_runs=max_active_runs, run_timeout=run_timeout)
    digest = content_hash(found.format, text, engine)
    while True:
        known = Workflow.objects.filter(title=title).exists()
        try:
            with transaction.atomic():
                kept = next_limits(title)
                newest = Workflow.objects.filter(title=title, latest=True).first()
                if newest:
                    _check_title(actor, newest)
                if newest and newest.content_hash == digest and not newest.archived:
                    return edit_workflow(actor, newest, **limits) if limits else newest, False
                share_limits(actor, title, limits)
                columns = {"content_hash": digest, **kept, **limits}
                return _insert(actor, title, text, found, engine, all_labels, columns), True
        except IntegrityError:
            # Somebody posted the first version of this title at the same moment: look again.
            if known or not Workflow.objects.filter(title=title).exists():
                raise


def content_hash(form: str, text: str, engine: Engine | None) -> str:
    """SHA-256 of what a version is: its format, text and pinned engine."""
    parts = [form, text.replace("\r\n", "\n").strip(), engine.name if engine else ""]
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()


def edit_workflow(
    actor: Actor,
    workflow: Workflow,
    *,
    labels: Any = UNSET,
    archived: bool | None = None,
    paused: bool | None = None,
    max_active_runs: int | None = UNSET,
    run_timeout: timedelta | None = UNSET,
    expected_version: int | None = None,
) -> Workflow:
    """Changes what is given: labels and the archive are this version's, limits those of all versions.

    Archiving undeploys the version; its runs stay. A pause stops nothing that an engine has, and a run
    timeout counts for attempts that begin to run later.
    """
    require(actor, Action.EDIT_WORKFLOW, workflow)
    limits = clean_limits(paused=paused, max_active_runs=max_active_runs, run_timeout=run_timeout)
    with transaction.atomic():
        lock_titles([workflow.title])
        workflow = Workflow.objects.select_for_update().get(pk=workflow.pk)
        if expected_version is not None and expected_version != workflow.row_version:
            raise Stale("Somebody changed this workflow meanwhile. Look again.", workflow)
        changed = []
        if labels is not UNSET and (wanted := clean_labels(labels)) != labels_of(workflow):
            set_labels(workflow, wanted)
            changed.append("labels")
        if archived is not None and archived != workflow.archived:
            workflow.archived_at = database_now() if archived else None
            workflow.next_check_at = database_now()
            changed.append("archived")
        for name, value in limits.items():
            if value != getattr(workflow, name):
                setattr(workflow, name, value)
                changed.append(name)
        share_limits(actor, workflow.title, limits, besides=workflow)
        if changed:
            workflow.row_version += 1
            workflow.save()
            audit.record(actor, "edit", workflow, changed=changed)
            wake_reconciler()
    return workflow


def redeploy_workflow(actor: Actor, workflow: Workflow) -> Workflow:
    """Asks the reconciler to send the definition to its engine again."""
    require(actor, Action.EDIT_WORKFLOW, workflow)
    with transaction.atomic():
        workflow = Workflow.objects.select_for_update().get(pk=workflow.pk)
        if workflow.archived:
            raise Conflict("An archived workflow isn't deployed. Take it out of the archive first.")
        workflow.state = DeploymentState.DEPLOYING
        workflow.state_message = ""
        workflow.check_failures = 0
        workflow.next_check_at = database_now()
        workflow.row_version += 1
        workflow.save()
        audit.record(actor, "redeploy", workflow)
        wake_reconciler()
    return workflow


def _check_title(actor: Actor, newest: Workflow) -> None:
    """A new version counts for whoever starts the title: it takes the right to post to this one."""
    if not visible(actor, Workflow.objects.filter(pk=newest.pk)).exists():
        raise Conflict("This title is taken by a workflow that you may not see: choose another.")
    require(actor, Action.POST_WORKFLOW, newest)


def _insert(
    actor: Actor,
    title: str,
    text: str,
    found: Definition,
    engine: Engine | None,
    labels: Mapping[str, str],
    columns: Mapping[str, Any],
) -> Workflow:
    last = Workflow.objects.filter(title=title).order_by("-version").first()
    Workflow.objects.filter(title=title, latest=True).update(latest=False)
    workflow = Workflow.objects.create(
        title=title,
        version=last.version + 1 if last else 1,
        engine=engine,
        format=found.format,
        definition=text,
        parameters_schema=dict(found.parameters_schema),
        warnings=[
            {"line": warning.line, "path": warning.path, "message": warning.message}
            for warning in found.warnings
        ],
        hooks=[
            {"name": hook.name, "display_name": hook.display_name, "type": hook.type}
            for hook in found.hooks
        ],
        secrets=sorted(found.secrets),
        variables=sorted(found.variables),
        # Where no engine has a deployment of its own to make, there is nothing to wait for.
        state=DeploymentState.DEPLOYING if engine else DeploymentState.READY,
        next_check_at=database_now() if engine else None,
        created_by=actor.user if actor.user and actor.user.pk else None,  # type: ignore[misc]
        **columns,
    )
    tasks = Task.objects.bulk_create(
        Task(
            workflow=workflow,
            name=task.name,
            display_name=task.display_name,
            type=task.type,
            trigger_rule=task.trigger_rule,
            repeats=task.repeats,
            position=at,
        )
        for at, task in enumerate(found.tasks)
    )
    by_name = {task.name: task for task in tasks}
    DownstreamTask.objects.bulk_create(
        DownstreamTask(task=by_name[task.name], downstream=by_name[name])
        for task in found.tasks
        for name in task.downstream
    )
    add_labels(workflow, labels)
    audit.record(actor, "post", workflow, format=found.format, content_hash=workflow.content_hash)
    wake_reconciler()
    return workflow
