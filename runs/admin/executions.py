"""The tables of the built-in engine, for looking only: cancel and retry the run instead."""

from django.contrib import admin

from engines.dag.models import Clock, Document, Execution, Step, StepTry, Worker
from runs.admin.base import ReadOnlyAdmin, number, text, uuid


@admin.register(Clock)
class ClockAdmin(ReadOnlyAdmin):
    list_display = ("id", "value")
    finds = (("pk", number),)
    search_help_text = "An id."


@admin.register(Document)
class DocumentAdmin(ReadOnlyAdmin):
    list_display = ("id", "format", "digest")
    finds = (("pk", number), ("digest", text))
    search_help_text = "An id or a whole digest."


@admin.register(Execution)
class ExecutionAdmin(ReadOnlyAdmin):
    list_display = ("id", "external_id", "title", "state", "attempt", "created_at", "ended_at")
    hidden = ("secrets",)
    finds = (("pk", number), ("external_id", text))
    search_help_text = "An id, or the id that the hub gave it (wh-…)."


@admin.register(Step)
class StepAdmin(ReadOnlyAdmin):
    list_display = (
        "id",
        "execution_id",
        "__str__",
        "state",
        "try_number",
        "worker_name",
        "ended_at",
    )
    finds = (("pk", number), ("execution_id", number))
    search_help_text = "The id of a step or of its execution."


@admin.register(StepTry)
class StepTryAdmin(ReadOnlyAdmin):
    list_display = ("step", "attempt", "try_number", "state", "worker_name", "ended_at")
    list_select_related = ("step",)
    finds = (("step_id", number),)
    search_help_text = "The id of a step."


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    list_display = ("__str__", "concurrency", "started_at", "heartbeat_at", "ended_at")
    ordering = ("-started_at",)
    finds = (("id", uuid),)
    search_help_text = "A worker's uuid."
