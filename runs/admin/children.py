"""The requests of steps for runs of other workflows, for looking only: cancel or retry the runs."""

from django.contrib import admin

from runs.admin.base import ReadOnlyAdmin, number, text
from runs.models import ChildRun


@admin.register(ChildRun)
class ChildRunAdmin(ReadOnlyAdmin):
    list_display = (
        "id",
        "parent_id",
        "task",
        "map_index",
        "attempt",
        "try_number",
        "child_id",
        "depth",
        "created_at",
        "answered_at",
    )
    finds = (("parent_id", number), ("child_id", number), ("key", text))
    search_help_text = (
        "The id of the run that asked or of the one it got, or the engine's key (wh-…)."
    )
