"""Labels, and what carries them: edited on the workflow or run, not here."""

from django.contrib import admin
from django.db.models import Q

from runs.admin.base import ReadOnlyAdmin, number
from runs.models import Label, RunLabel, WorkflowLabel


@admin.register(Label)
class LabelAdmin(ReadOnlyAdmin):
    list_display = ("key", "value")
    finds = (("pk", number),)
    search_help_text = "A key, or key=value."

    def matches(self, term: str) -> Q:
        key, mark, value = term.partition("=")
        found = Q(key=key.strip())
        return super().matches(term) | (found & Q(value=value.strip()) if mark else found)


@admin.register(WorkflowLabel)
class WorkflowLabelAdmin(ReadOnlyAdmin):
    list_display = ("workflow", "label")
    list_select_related = ("workflow", "label")
    finds = (("workflow_id", number), ("label_id", number))
    search_help_text = "The id of a workflow or of a label."


@admin.register(RunLabel)
class RunLabelAdmin(ReadOnlyAdmin):
    list_display = ("run_id", "label")
    list_select_related = ("label",)
    finds = (("run_id", number), ("label_id", number))
    search_help_text = "The id of a run or of a label."
