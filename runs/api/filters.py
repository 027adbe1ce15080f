"""What lists can be filtered by: an allow-list each; a wrong value is 400 with the field named."""

from typing import Any, ClassVar, TypeVar

import django_filters
from django import forms
from django.db.models import Model, QuerySet
from django.utils.dateparse import parse_datetime
from rest_framework.request import Request

from engines.models import Engine
from engines.selectors import SelectorError, parse_selector
from runs import keyset
from runs.api.errors import Problem
from runs.api.parsers import MAX_INTEGER
from runs.api.permissions import actor_of
from runs.models import AuditEntry, TaskRun, Workflow, WorkflowRun
from runs.policy import visible
from runs.states import Cause, RunState, TaskState, Trigger, WorkflowState

M = TypeVar("M", bound=Model)


class _MomentField(forms.CharField):
    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if not text:
            return None
        try:
            found = parse_datetime(text)
        except ValueError:
            found = None
        if found is None or found.tzinfo is None:
            raise forms.ValidationError("Give a time such as 2026-01-31T12:00:00Z.")
        return found


class _SelectorField(forms.CharField):
    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        try:
            parse_selector(text)
        except SelectorError as error:
            raise forms.ValidationError(str(error)) from None
        return text


class _IdField(forms.IntegerField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"min_value": 1, "max_value": MAX_INTEGER, **kwargs})


class _FlagField(forms.CharField):
    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if text not in {"", "true", "false"}:
            raise forms.ValidationError("Say true or false.")
        return None if not text else text == "true"


class Text(django_filters.CharFilter):
    """A text, compared as it is."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"max_length": 250, "strip": False, **kwargs})


class Id(django_filters.Filter):
    field_class = _IdField


class RunId(Id):
    """A run that those in the list point to: they aren't found by one that the caller may not see."""

    def filter(self, qs: Any, value: int | None) -> Any:
        if value is None:
            return qs
        seen = visible(actor_of(self.parent.request), WorkflowRun.objects.filter(pk=value))
        return super().filter(qs, value) if seen.exists() else qs.none()


class Flag(django_filters.Filter):
    """true or false."""

    field_class = _FlagField


class Moment(django_filters.Filter):
    """RFC 3339 with its offset."""

    field_class = _MomentField


class Created(Moment):
    """When a run was made: `since` or `until` then."""

    def __init__(self, bound: str) -> None:
        super().__init__(field_name="created_at")
        self.bound = bound

    def filter(self, qs: Any, value: Any) -> Any:
        return qs.created(**{self.bound: value}) if value else qs


class Selector(django_filters.Filter):
    """A Kubernetes label selector, such as `a=b,c!=d,e in (x,y),f,!g`."""

    field_class = _SelectorField

    def filter(self, qs: Any, value: str) -> Any:
        return qs.for_selector(value) if value else qs


class EngineFilter(django_filters.CharFilter):
    """An engine by name or id; `none` finds what has no engine."""

    def filter(self, qs: QuerySet[Any], value: str) -> QuerySet[Any]:
        if not value:
            return qs
        if value == "none":
            return qs.filter(engine=None)
        if value.isascii() and value.isdigit() and int(value) <= MAX_INTEGER:
            return qs.filter(engine=int(value))
        return qs.filter(engine__in=_keys(Engine.objects.filter(name=value)))


class TitleFilter(Text):
    """The title of a run's workflow."""

    def filter(self, qs: QuerySet[Any], value: str) -> QuerySet[Any]:
        if not value:
            return qs
        return qs.filter(workflow__in=_keys(Workflow.objects.filter(title=value)))


def _keys(rows: QuerySet[Any]) -> list[int]:
    """Looked up first: of keys a database knows how many rows have them, and which index leads on."""
    return list(rows.order_by().values_list("pk", flat=True))


class Several(django_filters.MultipleChoiceFilter):
    """One of some words; repeat the parameter for several."""

    def __init__(self, *, choices: list[tuple[str, Any]], **kwargs: Any) -> None:
        words = ", ".join(word for word, _ in choices)
        refusal = {"invalid_choice": f"%(value)s is not one of {words}."}
        # Its column is the list's own, so no row comes twice.
        super().__init__(choices=choices, error_messages=refusal, distinct=False, **kwargs)


class HubFilter(django_filters.FilterSet):
    """A filter set with the help text of each filter in the schema."""

    helps: ClassVar[dict[str, str]] = {}


class WorkflowFilter(HubFilter):
    title = Text()
    format = Text()
    engine = EngineFilter(max_length=63)
    state = Several(choices=WorkflowState.choices)
    labels = Selector(max_length=1000)
    archived = Flag(field_name="archived_at", lookup_expr="isnull", exclude=True)
    latest = Flag()
    since = Moment(field_name="created_at", lookup_expr="gte")
    until = Moment(field_name="created_at", lookup_expr="lt")
    helps = {"labels": "A Kubernetes label selector, such as team=physics,tier in (gold,silver)."}


class RunFilter(HubFilter):
    state = Several(choices=RunState.choices)
    workflow = Id()
    title = TitleFilter()
    engine = EngineFilter(max_length=63)
    labels = Selector(max_length=1000)
    trigger = Several(choices=Trigger.choices)
    reason = Text()
    fingerprint = Text()
    uuid = django_filters.UUIDFilter()
    external_id = Text()
    previous = RunId()
    parent = RunId(field_name="parent_task_run__run")
    created_by = Text(field_name="created_by__username")
    since = Created("since")
    until = Created("until")
    helps = {
        "title": "The title of the workflow.",
        "engine": "An engine by name or id; none: runs that no engine takes.",
        "labels": "A Kubernetes label selector, such as team=physics,tier in (gold,silver).",
        "parent": "The id of the run that asked for it.",
        "since": "Created at or after this time.",
        "until": "Created before this time.",
    }


class TaskRunFilter(HubFilter):
    kind = Several(choices=TaskRun.Kind.choices)
    state = Several(choices=TaskState.choices)
    task = Text(field_name="name")


class CauseFilter(Several):
    """Causes have no index: where nothing else bounds the events, they are looked for in steps."""

    def filter(self, qs: Any, value: list[str]) -> Any:
        found = super().filter(qs, value)
        bounded = any(self.parent.data.get(name) for name in ("run", "since", "until"))
        return keyset.in_steps(found) if value and not bounded else found


class EventFilter(HubFilter):
    run = Id()
    cause = CauseFilter(choices=Cause.choices)
    since = Moment(field_name="seen_at", lookup_expr="gte")
    until = Moment(field_name="seen_at", lookup_expr="lt")


class RunEventFilter(HubFilter):
    cause = Several(choices=Cause.choices)
    task_run = Id()


class AuditFilter(HubFilter):
    actor = Text(field_name="actor_name")
    action = Text()
    face = Several(choices=AuditEntry.Face.choices)
    object_kind = Text()
    object_id = Text()
    since = Moment(field_name="at", lookup_expr="gte")
    until = Moment(field_name="at", lookup_expr="lt")


class EngineListFilter(HubFilter):
    name = Text()
    kind = Text()
    enabled = Flag()


class StoredFilter(HubFilter):
    name = Text()
    workflow = Text()
    helps = {"workflow": "The title of the workflow that alone sees it."}


class ViewFilter(HubFilter):
    name = Text()
    shared = Flag()


class TokenFilter(HubFilter):
    user = Text(field_name="user__username")


def names(filterset: type[HubFilter]) -> tuple[str, ...]:
    """The query parameters that a list takes."""
    return tuple(filterset.base_filters)


def filtered(request: Request, filterset: type[HubFilter], queryset: QuerySet[M]) -> QuerySet[M]:
    """What the query asks for. Raises Problem naming the parameter."""
    given = filterset(request.query_params, queryset=queryset, request=request)
    if not given.is_valid():
        errors = {name: " ".join(texts) for name, texts in given.errors.items()}
        text = " ".join(f"{name}: {what}" for name, what in errors.items())
        raise Problem(400, "invalid", text, errors=errors)
    found: QuerySet[M] = given.qs
    return found
