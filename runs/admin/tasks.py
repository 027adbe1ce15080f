"""Task runs and their tries."""

from collections.abc import Mapping
from typing import Any

from django.contrib import admin

from runs import actions
from runs.admin.base import ReadOnlyAdmin, number, uuid
from runs.admin.deeds import Deed, DeedAdmin
from runs.admin.forms import MarkTaskForm, RetryTaskForm
from runs.models import TaskRun, TaskTry
from runs.policy import Action, Actor
from runs.states import RetryMode, TaskState


def cancel(actor: Actor, task: TaskRun, data: Mapping[str, Any]) -> None:
    actions.cancel_task(actor, task)


def retry(actor: Actor, task: TaskRun, data: Mapping[str, Any]) -> None:
    actions.retry_run(
        actor,
        task.run,
        mode=RetryMode.TASK,
        tasks=[(task.name, task.map_index)],
        downstream=data["downstream"],
    )


def mark(actor: Actor, task: TaskRun, data: Mapping[str, Any]) -> None:
    actions.mark_task(actor, task, TaskState(data["state"]), note=data["note"])


@admin.register(TaskRun)
class TaskRunAdmin(DeedAdmin):
    list_display = (
        "id",
        "run_id",
        "__str__",
        "kind",
        "state",
        "attempt",
        "try_number",
        "worker",
        "ended_at",
    )
    finds = (("pk", number), ("run_id", number), ("uuid", uuid))
    search_help_text = "The id of a run or of a task run, or a task run's uuid."
    deeds = (
        Deed(
            name="cancel",
            label="Cancel",
            asks="The engine is asked to stop them; what depends on them follows its rules.",
            action=Action.CANCEL_RUN,
            do=cancel,
            danger=True,
        ),
        Deed(
            name="retry",
            label="Retry",
            asks="A further attempt of the run runs this again, and keeps the rest.",
            action=Action.RETRY_RUN,
            do=retry,
            form=RetryTaskForm,
            many=False,
        ),
        Deed(
            name="mark",
            label="Mark as…",
            asks="A person says how they ended; later reports about this attempt are ignored.",
            action=Action.MARK_RUN,
            do=mark,
            form=MarkTaskForm,
            danger=True,
        ),
    )


@admin.register(TaskTry)
class TaskTryAdmin(ReadOnlyAdmin):
    list_display = (
        "task_run",
        "attempt",
        "try_number",
        "state",
        "worker",
        "started_at",
        "ended_at",
    )
    list_select_related = ("task_run",)
    finds = (("task_run_id", number),)
    search_help_text = "The id of a task run."
