"""Runs: started, canceled, retried, restarted, marked. What was observed of them is never edited."""

from collections.abc import Mapping
from typing import Any

from django.contrib import admin

from runs import actions
from runs.admin.base import ReadOnlyAdmin, VisibleFilter, number, text, uuid
from runs.admin.deeds import Deed, DeedAdmin
from runs.admin.forms import MarkRunForm, ParametersForm, RunForm
from runs.admin.purging import PurgingAdmin
from runs.labels import labels_of
from runs.models import RunAttempt, WorkflowRun
from runs.policy import Action, Actor
from runs.states import RetryMode, RunState, shown_state


def start(actor: Actor, run: WorkflowRun, data: Mapping[str, Any]) -> None:
    actions.start_held_run(actor, run)


def cancel(actor: Actor, run: WorkflowRun, data: Mapping[str, Any]) -> None:
    actions.cancel_run(actor, run)


def retry_failed(actor: Actor, run: WorkflowRun, data: Mapping[str, Any]) -> None:
    actions.retry_run(actor, run, mode=RetryMode.FAILED)


def retry_all(actor: Actor, run: WorkflowRun, data: Mapping[str, Any]) -> None:
    actions.retry_run(actor, run, mode=RetryMode.ALL)


def restart(actor: Actor, run: WorkflowRun, data: Mapping[str, Any]) -> None:
    actions.restart_run(actor, run, parameters=data["parameters"])


def rerun(actor: Actor, run: WorkflowRun, data: Mapping[str, Any]) -> WorkflowRun:
    return actions.rerun(actor, run, parameters=data["parameters"])


def mark(actor: Actor, run: WorkflowRun, data: Mapping[str, Any]) -> None:
    actions.mark_run(actor, run, RunState(data["state"]), note=data["note"])


def edit(actor: Actor, run: WorkflowRun, data: Mapping[str, Any]) -> None:
    actions.edit_run(actor, run, labels=data["labels"], note=data["note"])


@admin.register(WorkflowRun)
class WorkflowRunAdmin(PurgingAdmin, DeedAdmin):
    list_display = (
        "id",
        "workflow",
        "shown",
        "attempt",
        "engine",
        "reason",
        "created_at",
        "started_at",
        "ended_at",
    )
    list_filter = ("state", ("engine", VisibleFilter))
    list_select_related = ("workflow", "engine")
    finds = (("pk", number), ("uuid", uuid), ("external_id", text), ("fingerprint", text))
    search_help_text = "An id, a uuid, an engine's id of it (wh-…) or an error's fingerprint."
    extra = ("shown_labels",)
    purges = "finished"
    deeds = (
        Deed(
            name="start",
            label="Start",
            asks="Held runs begin.",
            action=Action.START_RUN,
            do=start,
        ),
        Deed(
            name="cancel",
            label="Cancel",
            asks="Their engines are asked to stop them; what has run stays as it is.",
            action=Action.CANCEL_RUN,
            do=cancel,
            danger=True,
        ),
        Deed(
            name="retry",
            label="Retry what failed",
            asks="A further attempt runs what failed or was canceled, and keeps the rest.",
            action=Action.RETRY_RUN,
            do=retry_failed,
        ),
        Deed(
            name="retry_all",
            label="Retry everything",
            asks="A further attempt runs every task again.",
            action=Action.RETRY_RUN,
            do=retry_all,
            danger=True,
        ),
        Deed(
            name="restart",
            label="Restart",
            asks="The whole run begins anew under the same id; an active one is stopped first.",
            action=Action.RETRY_RUN,
            do=restart,
            form=ParametersForm,
            danger=True,
            many=False,
        ),
        Deed(
            name="rerun",
            label="Run again as a new run",
            asks="A new run with these parameters; this one stays as it is.",
            action=Action.START_RUN,
            do=rerun,
            form=ParametersForm,
            many=False,
        ),
        Deed(
            name="mark",
            label="Mark as…",
            asks="A person says how they ended. The engine isn't told: cancel what must stop first.",
            action=Action.MARK_RUN,
            do=mark,
            form=MarkRunForm,
            danger=True,
        ),
        Deed(
            name="edit",
            label="Edit labels and note",
            asks="Nothing else about a run can be edited.",
            action=Action.EDIT_RUN,
            do=edit,
            form=RunForm,
            many=False,
        ),
    )

    @admin.display(description="state")
    def shown(self, run: WorkflowRun) -> str:
        return shown_state(run.state, run.wanted)

    @admin.display(description="labels")
    def shown_labels(self, run: WorkflowRun) -> str:
        return ", ".join(f"{key}={value}" for key, value in sorted(labels_of(run).items()))


@admin.register(RunAttempt)
class RunAttemptAdmin(ReadOnlyAdmin):
    list_display = (
        "run_id",
        "number",
        "mode",
        "state",
        "actor",
        "sent_at",
        "accepted_at",
        "ended_at",
    )
    finds = (("run_id", number),)
    search_help_text = "The id of a run."
