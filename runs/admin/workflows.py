"""Workflows: posted, started, edited, archived. Their tasks and edges are what the definition says."""

from collections.abc import Mapping
from typing import Any

from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest, HttpResponse

from runs import actions
from runs.admin.adding import AddingAdmin
from runs.admin.base import ReadOnlyAdmin, VisibleFilter, actor_of, number, text
from runs.admin.deeds import Deed
from runs.admin.forms import PostForm, StartForm, WorkflowForm
from runs.admin.purging import PurgingAdmin
from runs.labels import labels_of
from runs.models import DownstreamTask, Task, Workflow, WorkflowRun
from runs.policy import Action, Actor
from runs.states import Trigger


def start(actor: Actor, workflow: Workflow, data: Mapping[str, Any]) -> WorkflowRun:
    return actions.start_run(actor, workflow, trigger=Trigger.MANUAL, **data)


def edit(actor: Actor, workflow: Workflow, data: Mapping[str, Any]) -> None:
    actions.edit_workflow(actor, workflow, **data)


def archive(actor: Actor, workflow: Workflow, data: Mapping[str, Any]) -> None:
    actions.edit_workflow(actor, workflow, archived=True)


def take_back(actor: Actor, workflow: Workflow, data: Mapping[str, Any]) -> None:
    actions.edit_workflow(actor, workflow, archived=False)


def redeploy(actor: Actor, workflow: Workflow, data: Mapping[str, Any]) -> None:
    actions.redeploy_workflow(actor, workflow)


@admin.register(Workflow)
class WorkflowAdmin(PurgingAdmin, AddingAdmin):
    list_display = ("title", "version", "latest", "state", "format", "engine", "archived_at")
    list_filter = (
        "latest",
        "state",
        ("archived_at", admin.EmptyFieldListFilter),
        ("engine", VisibleFilter),
    )
    list_select_related = ("engine",)
    finds = (("pk", number), ("title", text), ("content_hash", text))
    search_help_text = "The beginning of a title, an id, or a whole content hash."
    extra = ("shown_labels",)
    purges = "archived"
    add_form = PostForm
    add_action = Action.POST_WORKFLOW
    add_label = "Post a workflow"
    deeds = (
        Deed(
            name="start",
            label="Start a run",
            asks="A new run begins with these values.",
            action=Action.START_RUN,
            do=start,
            form=StartForm,
            many=False,
        ),
        Deed(
            name="edit",
            label="Edit",
            asks="The labels are those of the version's runs to come; present runs keep theirs. Pause and "
            "limits count for all versions.",
            action=Action.EDIT_WORKFLOW,
            do=edit,
            form=WorkflowForm,
            many=False,
        ),
        Deed(
            name="archive",
            label="Archive",
            asks="They are hidden and taken from their engines. Their runs stay.",
            action=Action.EDIT_WORKFLOW,
            do=archive,
            danger=True,
        ),
        Deed(
            name="take_back",
            label="Take out of the archive",
            asks="They can be started again.",
            action=Action.EDIT_WORKFLOW,
            do=take_back,
        ),
        Deed(
            name="redeploy",
            label="Deploy again",
            asks="The reconciler sends the definition to its engine once more.",
            action=Action.EDIT_WORKFLOW,
            do=redeploy,
        ),
    )

    def matches(self, term: str) -> Q:
        # Titles are as many as people posted: a prefix of them is found fast enough.
        return super().matches(term) | Q(title__startswith=term)

    @admin.display(description="labels")
    def shown_labels(self, workflow: Workflow) -> str:
        return ", ".join(f"{key}={value}" for key, value in sorted(labels_of(workflow).items()))

    def add(self, request: HttpRequest, data: dict[str, Any]) -> HttpResponse:
        workflow, created = actions.post_workflow(
            actor_of(request),
            definition=data["definition"],
            form=data["format"],
            title=data["title"],
            engine=data["engine"],
            labels=data["labels"],
        )
        said = "posted." if created else "is the newest version already: nothing changed."
        return self.show(request, workflow, f"{workflow} {said}")


@admin.register(Task)
class TaskAdmin(ReadOnlyAdmin):
    list_display = ("workflow", "name", "type", "position")
    list_select_related = ("workflow",)
    finds = (("pk", number), ("workflow_id", number))
    search_help_text = "The id of a task or of its workflow."


@admin.register(DownstreamTask)
class DownstreamTaskAdmin(ReadOnlyAdmin):
    list_display = ("task", "downstream")
    list_select_related = ("task", "downstream")
    finds = (("task_id", number), ("downstream_id", number))
    search_help_text = "The id of either task."
