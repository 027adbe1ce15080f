"""Bulk jobs as the API shows them."""

from collections.abc import Sequence
from typing import Any

from rest_framework import serializers

from runs.actions.bulk import Preview
from runs.api.fields import Object
from runs.models import BulkJob


class BulkJobShape(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    action = serializers.ChoiceField(choices=BulkJob.Action.choices)
    options = Object()
    filter = serializers.CharField(source="query", help_text="With its times fixed.")
    runs = serializers.ListField(
        source="keys", child=serializers.IntegerField(), allow_null=True, help_text="Those named."
    )
    newest = serializers.IntegerField(help_text="Runs with a higher id are left alone.")
    total = serializers.IntegerField()
    state = serializers.ChoiceField(choices=BulkJob.State.choices)
    done = serializers.IntegerField()
    skipped = serializers.IntegerField()
    reasons = serializers.DictField(
        child=serializers.IntegerField(), help_text="Why runs were left out: how many each."
    )
    message = serializers.CharField()
    requested_by = serializers.CharField(
        allow_null=True, source="requested_by.username", default=None
    )
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    version = serializers.IntegerField()


class BulkPreviewShape(serializers.Serializer[Any]):
    dry_run = serializers.BooleanField()
    action = serializers.ChoiceField(choices=BulkJob.Action.choices)
    options = Object()
    filter = serializers.CharField()
    newest = serializers.IntegerField()
    total = serializers.IntegerField()
    fits = serializers.IntegerField(help_text="To how many it can be done as they are.")
    first = serializers.ListField(child=serializers.IntegerField())
    refusal = serializers.CharField(help_text="Why it can't be asked for; empty where it can.")


def show_jobs(rows: Sequence[BulkJob]) -> list[Any]:
    return list(BulkJobShape(rows, many=True).data)


def show_job(job: BulkJob) -> dict[str, Any]:
    return dict(BulkJobShape(job).data)


def show_preview(preview: Preview) -> dict[str, Any]:
    return {
        "dry_run": True,
        "action": preview.action,
        "options": dict(preview.options),
        "filter": preview.selection.query,
        "newest": preview.newest,
        "total": preview.total,
        "fits": preview.fits,
        "first": [run.pk for run in preview.first],
        "refusal": preview.refusal,
    }
