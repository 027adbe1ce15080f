"""What the background processes keep: leases, heartbeats, totals of metrics, restores."""

from django.contrib import admin

from runs.admin.base import ReadOnlyAdmin, text
from runs.models import Counter, Heartbeat, Lease, Restore


@admin.register(Lease)
class LeaseAdmin(ReadOnlyAdmin):
    list_display = ("name", "owner", "token", "expires_at")
    ordering = ("name",)
    finds = (("name", text),)
    search_help_text = "The name of a lease, such as engine:1."


@admin.register(Heartbeat)
class HeartbeatAdmin(ReadOnlyAdmin):
    list_display = ("name", "at")
    ordering = ("name",)
    finds = (("name", text),)
    search_help_text = "The name of a process, such as sync."


@admin.register(Counter)
class CounterAdmin(ReadOnlyAdmin):
    list_display = ("name", "labels", "process", "value", "count")
    finds = (("name", text),)
    search_help_text = "The name of a metric."


@admin.register(Restore)
class RestoreAdmin(ReadOnlyAdmin):
    list_display = ("at", "backup_at", "life")
    finds = (("life", text),)
    search_help_text = "The word that ids made since then end with."
