"""Secrets, whose values go in and never come out, and variables."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters

from runs import actions
from runs.admin.adding import AddingAdmin
from runs.admin.base import actor_of, number, text
from runs.admin.deeds import Deed
from runs.models import Secret, Variable
from runs.named import typed
from runs.policy import Action, Actor


class UnseenTextarea(forms.Textarea):
    """What was typed isn't sent back, also where another field was wrong."""

    def format_value(self, value: Any) -> str:
        return ""


class ValueField(forms.CharField):
    widget = forms.Textarea(attrs={"rows": 4, "cols": 80, "spellcheck": "false"})

    def __init__(self, **kw: Any) -> None:
        super().__init__(strip=False, **kw)

    def clean(self, value: Any) -> str:
        return typed(super().clean(value))


class SecretForm(forms.Form):
    value = ValueField(
        required=False,
        widget=UnseenTextarea(attrs={"rows": 4, "cols": 80, "spellcheck": "false"}),
        help_text="At least 6 characters. Left empty, it stays as it is.",
    )
    description = forms.CharField(required=False)

    @staticmethod
    def initial_of(stored: Any) -> dict[str, Any]:
        return {"description": stored.description}


class NewSecretForm(SecretForm):
    name = forms.CharField(help_text="Letters, digits, _ and -.")
    workflow = forms.CharField(
        required=False, help_text="The title of the workflow that alone sees it; empty: all do."
    )
    field_order: Any = ("name", "workflow")


class VariableForm(SecretForm):
    value = ValueField(required=False)

    @staticmethod
    def initial_of(stored: Any) -> dict[str, Any]:
        return {"value": stored.value, "description": stored.description}


class NewVariableForm(NewSecretForm):
    value = ValueField(required=False)


def replace(actor: Actor, secret: Secret, data: Mapping[str, Any]) -> None:
    given = {**data, "value": data["value"] or None}
    actions.edit_stored(actor, secret, **given)


def edit(actor: Actor, variable: Variable, data: Mapping[str, Any]) -> None:
    actions.edit_stored(actor, variable, **data)


def delete(actor: Actor, stored: Secret | Variable, data: Mapping[str, Any]) -> None:
    actions.delete_stored(actor, stored)


DELETE = Deed(
    name="delete",
    label="Delete",
    asks="Workflows that refer to it can't be started without it.",
    action=Action.MANAGE_SECRETS,
    do=delete,
    danger=True,
)


@method_decorator(sensitive_post_parameters(), name="add_view")
@method_decorator(sensitive_post_parameters(), name="deed_view")
@admin.register(Secret)
class SecretAdmin(AddingAdmin):
    list_display = ("name", "workflow", "description", "updated_at", "updated_by")
    list_select_related = ("updated_by",)
    hidden = ("encrypted",)
    finds = (("pk", number), ("name", text), ("workflow", text))
    search_help_text = "A name, the title of a workflow, or an id."
    add_form = NewSecretForm
    add_action = Action.MANAGE_SECRETS
    add_label = "Set a secret"
    deeds = (
        Deed(
            name="edit",
            label="Replace",
            asks="Runs that are sent from now on get the new value.",
            action=Action.MANAGE_SECRETS,
            do=replace,
            form=SecretForm,
            many=False,
        ),
        DELETE,
    )

    def add(self, request: HttpRequest, data: dict[str, Any]) -> HttpResponse:
        secret, new = actions.set_secret(actor_of(request), **data)
        return self.show(request, secret, f"{secret} {'stored' if new else 'replaced'}.")


@admin.register(Variable)
class VariableAdmin(AddingAdmin):
    list_display = ("name", "workflow", "description", "updated_at", "updated_by")
    list_select_related = ("updated_by",)
    finds = (("pk", number), ("name", text), ("workflow", text))
    search_help_text = "A name, the title of a workflow, or an id."
    add_form = NewVariableForm
    add_action = Action.MANAGE_SECRETS
    add_label = "Set a variable"
    deeds = (
        Deed(
            name="edit",
            label="Edit",
            asks="Runs that are sent from now on get the new value.",
            action=Action.MANAGE_SECRETS,
            do=edit,
            form=VariableForm,
            many=False,
        ),
        DELETE,
    )

    def add(self, request: HttpRequest, data: dict[str, Any]) -> HttpResponse:
        variable, new = actions.set_variable(actor_of(request), **data)
        return self.show(request, variable, f"{variable} {'stored' if new else 'replaced'}.")
