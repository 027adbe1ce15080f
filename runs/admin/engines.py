"""Engines, and what was asked of them. Secrets go in and never come out."""

from collections.abc import Mapping
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse

from engines.inbound import Hint
from engines.models import Engine, EngineJob
from runs import actions
from runs.admin.adding import AddingAdmin
from runs.admin.base import ReadOnlyAdmin, actor_of, number, text
from runs.admin.deeds import Deed
from runs.admin.forms import EngineForm, NewEngineForm
from runs.policy import Action, Actor


def edit(actor: Actor, engine: Engine, data: Mapping[str, Any]) -> None:
    actions.edit_engine(actor, engine, **data)


def delete(actor: Actor, engine: Engine, data: Mapping[str, Any]) -> None:
    actions.delete_engine(actor, engine)


def test(actor: Actor, engine: Engine, data: Mapping[str, Any]) -> None:
    actions.request_engine_job(actor, engine, EngineJob.Action.TEST)


def sync(actor: Actor, engine: Engine, data: Mapping[str, Any]) -> None:
    actions.request_engine_job(actor, engine, EngineJob.Action.SYNC)


@admin.register(Engine)
class EngineAdmin(AddingAdmin):
    list_display = ("name", "kind", "health", "enabled", "accepts_runs", "priority", "observed_at")
    list_filter = ("kind", "health", "enabled")
    hidden = ("encrypted_secrets",)
    finds = (("pk", number), ("name", text))
    search_help_text = "A name, or an id."
    add_form = NewEngineForm
    add_action = Action.MANAGE_ENGINES
    add_label = "Register an engine"
    deeds = (
        Deed(
            name="edit",
            label="Edit",
            asks="The connection is tested again afterwards.",
            action=Action.MANAGE_ENGINES,
            do=edit,
            form=EngineForm,
            many=False,
        ),
        Deed(
            name="test",
            label="Test connection",
            asks="The reconciler asks the engine how it is; the answer appears on its page.",
            action=Action.ASK_ENGINE,
            do=test,
        ),
        Deed(
            name="sync",
            label="Sync now",
            asks="The reconciler looks at every active run of it.",
            action=Action.ASK_ENGINE,
            do=sync,
        ),
        Deed(
            name="delete",
            label="Delete",
            asks="Only an engine that nothing refers to can go; disable one with history.",
            action=Action.MANAGE_ENGINES,
            do=delete,
            danger=True,
        ),
    )

    def add(self, request: HttpRequest, data: dict[str, Any]) -> HttpResponse:
        engine = actions.create_engine(actor_of(request), **data)
        return self.show(request, engine, f"{engine} registered; its connection is being tested.")


@admin.register(EngineJob)
class EngineJobAdmin(ReadOnlyAdmin):
    list_display = ("id", "engine", "kind", "action", "state", "requested_by", "created_at")
    list_select_related = ("engine", "requested_by")
    hidden = ("encrypted_secrets",)
    finds = (("pk", number), ("engine_id", number))
    search_help_text = "The id of a job or of an engine."


@admin.register(Hint)
class HintAdmin(ReadOnlyAdmin):
    list_display = ("id", "__str__")
    finds = (("pk", number), ("engine_id", number))
    search_help_text = "The id of a hint or of an engine."
