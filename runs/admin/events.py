"""What happened: events of runs and the audit log. Append-only."""

from django.contrib import admin
from django.db.models import Model, Q
from django.http import HttpRequest

from runs.admin.base import ReadOnlyAdmin, actor_of, number
from runs.models import AuditEntry, RunEvent
from runs.policy import Action, allow


@admin.register(RunEvent)
class RunEventAdmin(ReadOnlyAdmin):
    list_display = (
        "run_id",
        "seq",
        "attempt",
        "task_run",
        "cause",
        "old",
        "new",
        "actor",
        "seen_at",
    )
    list_select_related = ("task_run",)
    finds = (("run_id", number), ("task_run_id", number))
    search_help_text = "The id of a run or of a task run."


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ("at", "actor_name", "face", "action", "object_kind", "object_id", "object_name")
    finds = (("pk", number),)
    search_help_text = "A kind of object, and its id if you like: workflowrun 12. Or an entry's id."

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return allow(actor_of(request), Action.AUDIT, obj)

    def matches(self, term: str) -> Q:
        kind, _, key = term.partition(" ")
        of_object = Q(object_kind=kind.lower())
        if key.strip():
            of_object &= Q(object_id=key.strip())
        return super().matches(term) | of_object
