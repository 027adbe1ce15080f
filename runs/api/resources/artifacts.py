"""/task-runs/{id}/artifacts: the files that a task left, listed and handed out."""

from typing import Any
from urllib.parse import quote

from django.http.response import HttpResponseBase
from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from engines.base import RunNotFound
from runs import artifacts
from runs.api.errors import Missing
from runs.api.openapi import CORE, doc, path_id
from runs.api.query import whole
from runs.api.resources.task_runs import TaskView
from runs.downloads import UNKNOWN, attachment
from runs.models import TaskRun
from runs.policy import Action

ATTEMPT = OpenApiParameter(
    "attempt",
    {"type": "integer", "minimum": 1, "maximum": 2**31 - 1},
    description="The one at which it ran last where it is left out.",
)
RANGE = OpenApiParameter(
    "Range", str, OpenApiParameter.HEADER, description="One piece, such as bytes=1000-."
)


class Anything(BaseRenderer):
    """Whatever the caller would rather have, a file is what it is."""

    media_type = "*/*"
    format = "file"
    charset = None

    def render(self, data: Any, media_type: Any = None, context: Any = None) -> bytes:
        return b""


class ArtifactShape(serializers.Serializer[Any]):
    path = serializers.CharField(help_text="Relative to the task's folder, with slashes.")
    size = serializers.IntegerField(help_text="In bytes.")
    modified_at = serializers.DateTimeField()
    url = serializers.CharField(help_text="Where it is handed out.")


class ArtifactsShape(serializers.Serializer[Any]):
    files = ArtifactShape(many=True)
    complete = serializers.BooleanField(help_text="These are all: no more than 1000 are listed.")
    left_out = serializers.IntegerField(
        help_text="How many links, sockets and the like are there besides, which are never shown."
    )


class Artifacts(TaskView):
    needs = {"GET": Action.VIEW}
    query = ("attempt",)

    @doc("list_artifacts", CORE, "The files that a task left, in the order of their paths",
         answer=ArtifactsShape, query=[path_id(), ATTEMPT])  # fmt: skip
    def get(self, request: Request, id: int) -> Response:
        task = self.task_run(id)
        attempt = _attempt(request)
        found = artifacts.files(task, attempt)
        return Response(
            {
                "files": [
                    {
                        "path": file.path,
                        "size": file.size,
                        "modified_at": file.modified_at,
                        "url": _url(request, task, file.path, attempt),
                    }
                    for file in found.files
                ],
                "complete": found.complete,
                "left_out": found.left_out,
            }
        )


class OneArtifact(TaskView):
    """A file as it is now, always as a download."""

    needs = {"GET": Action.VIEW}
    query = ("attempt",)
    renderer_classes = [JSONRenderer, Anything]

    @doc("download_artifact", CORE, "One of the files that a task left",
         answer=OpenApiTypes.BINARY, media=UNKNOWN, also={(206, UNKNOWN): OpenApiTypes.BINARY, 416: None},
         query=[path_id(), OpenApiParameter("path", str, OpenApiParameter.PATH), ATTEMPT, RANGE])  # fmt: skip
    def get(self, request: Request, id: int, path: str) -> HttpResponseBase:
        task = self.task_run(id)
        try:
            file = artifacts.open_file(task, path, _attempt(request))
        except RunNotFound:
            raise Missing("file") from None
        return attachment(file, path, range_header=request.headers.get("Range", ""))


def _attempt(request: Request) -> int | None:
    given = "attempt" in request.query_params
    return whole(request, "attempt", 1, 1, 2**31 - 1) if given else None


def _url(request: Request, task: TaskRun, path: str, attempt: int | None) -> str:
    beneath = reverse("api-task-artifacts", args=[task.pk])
    url: str = request.build_absolute_uri(f"{beneath}/{quote(path)}")
    return f"{url}?attempt={attempt}" if attempt else url
