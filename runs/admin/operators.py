"""What operators keep in the hub, and the figures of the pages that show much at once."""

from django.contrib import admin

from runs.admin.base import ReadOnlyAdmin, number, text
from runs.models import (
    Acknowledgement,
    BulkJob,
    HourlyRollup,
    Preference,
    SavedView,
    WorkflowPace,
)


@admin.register(SavedView)
class SavedViewAdmin(ReadOnlyAdmin):
    list_display = ("name", "user", "query", "shared")
    list_select_related = ("user",)
    finds = (("pk", number), ("user__username", text))
    search_help_text = "The number of a view, or a user's name."


@admin.register(Preference)
class PreferenceAdmin(ReadOnlyAdmin):
    list_display = ("user", "time_zone", "default_view")
    list_select_related = ("user", "default_view")
    finds = (("user__username", text),)
    search_help_text = "The name of a user."


@admin.register(BulkJob)
class BulkJobAdmin(ReadOnlyAdmin):
    list_display = (
        "id",
        "action",
        "state",
        "total",
        "done",
        "skipped",
        "requested_by",
        "created_at",
    )
    list_select_related = ("requested_by",)
    finds = (("pk", number), ("requested_by__username", text))
    search_help_text = "The number of a job, or a user's name."


@admin.register(HourlyRollup)
class HourlyRollupAdmin(ReadOnlyAdmin):
    list_display = ("hour", "workflow", "engine", "completed", "failed", "canceled")
    finds = (("pk", number),)
    search_help_text = "The number of a row."


@admin.register(WorkflowPace)
class WorkflowPaceAdmin(ReadOnlyAdmin):
    list_display = ("workflow", "p50", "p95", "updated_at")
    finds = (("workflow", text),)
    search_help_text = "The title of a workflow."


@admin.register(Acknowledgement)
class AcknowledgementAdmin(ReadOnlyAdmin):
    list_display = ("workflow", "note", "by", "at")
    finds = (("pk", number),)
    search_help_text = "The number of a row."
