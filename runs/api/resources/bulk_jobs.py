"""/bulk-jobs: one deed for many runs, as a job that the reconciler does and callers poll."""

from typing import Any

from drf_spectacular.utils import OpenApiExample
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from runs import actions
from runs.actions.selection import MOST_KEYS
from runs.api.errors import Missing
from runs.api.fields import Choice, Flag, Id, Nothing, Object, Strict, Text, Whole, read_input
from runs.api.openapi import HUB, doc, listing, path_id
from runs.api.pagination import PAGING, page
from runs.api.parsers import MAX_INTEGER
from runs.api.shapes.bulk_job import (
    BulkJobShape,
    BulkPreviewShape,
    show_job,
    show_jobs,
    show_preview,
)
from runs.api.views import HubView
from runs.errors import Invalid
from runs.models import BulkJob
from runs.policy import Action


class NewBulkJob(Strict):
    action = Choice(choices=BulkJob.Action.choices)
    filter = Text(
        required=False, max_length=4000, help_text="As the list of runs has it in its URL."
    )
    runs = serializers.ListField(child=Id(), required=False, max_length=MOST_KEYS)
    everything = Flag(required=False, help_text="Every run is meant; instead of a filter.")
    options = Object(
        required=False, help_text="Of a retry `mode` (failed, all); of labels `set` and `remove`."
    )
    expected = Whole(
        required=False,
        min_value=0,
        max_value=MAX_INTEGER,
        help_text="How many runs it is for, at most: 409 where there are more.",
    )
    dry_run = Flag(required=False, help_text="Only say what would be done.")


RETRIED = OpenApiExample(
    "Retry what failed since yesterday",
    request_only=True,
    value={"action": "retry", "filter": "state=FAILED&since=24h", "options": {"mode": "failed"}},
)


class BulkJobs(HubView):
    """A deed takes the right that it takes for one run, when it is asked for and at each run."""

    needs = {"GET": Action.VIEW, "POST": Action.VIEW}
    query = PAGING

    @doc("list_bulk_jobs", HUB, "List your bulk jobs, the newest first; administrators all",
         many=BulkJobShape, query=listing())  # fmt: skip
    def get(self, request: Request) -> Response:
        return page(request, actions.bulk_jobs(self.actor), show_jobs)

    @doc("ask_bulk_job", HUB, "Retry, cancel, label or delete all runs that a filter finds",
         takes=NewBulkJob, answer=BulkJobShape, status=202, examples=[RETRIED],
         also={200: BulkPreviewShape})  # fmt: skip
    def post(self, request: Request) -> Response:
        given = read_input(NewBulkJob, request.data)
        asked: dict[str, Any] = {
            "action": given["action"],
            "query": given.get("filter", ""),
            "keys": given.get("runs"),
            "everything": given.get("everything", False),
            "options": given.get("options") or {},
        }
        try:
            if given.get("dry_run"):
                return Response(show_preview(actions.preview_bulk(self.actor, **asked)))
            job = actions.ask_bulk(self.actor, expected=given.get("expected"), **asked)
        except Invalid as error:
            names = {"query": "filter"}
            raise Invalid({names.get(n, n): text for n, text in error.errors.items()}) from None
        headers = {"Location": f"{request.path}/{job.pk}"}
        return Response(show_job(job), status=202, headers=headers)


class OneBulkJob(HubView):
    needs = {"GET": Action.VIEW}

    @doc("read_bulk_job", HUB, "How far a bulk job is, and why runs were left out",
         answer=BulkJobShape, query=[path_id()])  # fmt: skip
    def get(self, request: Request, id: int) -> Response:
        return Response(show_job(_job(self, id)))


class Cancel(HubView):
    needs = {"POST": Action.VIEW}

    @doc("cancel_bulk_job", HUB, "Begin no further run; what is done stays done",
         takes=Nothing, answer=BulkJobShape, query=[path_id()], if_match=False)  # fmt: skip
    def post(self, request: Request, id: int) -> Response:
        read_input(Nothing, request.data)
        return Response(show_job(actions.cancel_bulk(self.actor, _job(self, id))))


def _job(view: HubView, pk: int) -> BulkJob:
    job = actions.bulk_jobs(view.actor).filter(pk=pk).first()
    if job is None:
        raise Missing("bulk job")
    return job
