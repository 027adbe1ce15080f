"""/task-runs/{id}/logs and /workflow-runs/{id}/logs: lines with a cursor, or plain text."""

import base64
import json
from collections.abc import Iterator
from itertools import chain
from typing import Any

from django.http import StreamingHttpResponse
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from engines.logfile import CHUNK_BYTES, STREAMS, LogChunk, LogLine, format_line
from runs import logs
from runs.api.openapi import CORE, doc, path_id
from runs.api.query import bad_query, flag, text, whole
from runs.api.resources.task_runs import TaskView
from runs.api.views import HubView
from runs.models import TaskRun, TaskTry, WorkflowRun
from runs.policy import Action

DEFAULT_LINES = 500
MOST_LINES = 5000
MOST_BYTES = 2**53
SEARCHED = 20_000  # lines that one request looks through for `q`; the next goes on from there
SEARCHED_BYTES = 20_000_000
MOST_TRIES = 100  # opened for one request; of those not stored yet the engine is asked
SHORT_STREAMS = {long: short for short, long in STREAMS.items()}
TEXT = "text/plain"


class PlainText(BaseRenderer):
    media_type = TEXT
    format = "txt"
    charset = "utf-8"

    def render(self, data: Any, media_type: Any = None, context: Any = None) -> bytes:
        return str(data).encode()


class LineShape(serializers.Serializer[Any]):
    n = serializers.IntegerField(
        allow_null=True, help_text="Counts from 1; null so far into a log that none are counted."
    )
    time = serializers.DateTimeField(allow_null=True)
    stream = serializers.CharField(help_text="stdout, stderr or hub.")
    text = serializers.CharField()


class ChunkShape(serializers.Serializer[Any]):
    lines = LineShape(many=True)
    next_offset = serializers.IntegerField(help_text="Give it as offset to go on.")
    complete = serializers.BooleanField(help_text="Nothing more will come.")


class RunLineShape(LineShape):
    task_run = serializers.IntegerField()
    task = serializers.CharField()
    map_index = serializers.IntegerField()
    attempt = serializers.IntegerField()
    try_number = serializers.IntegerField()


class RunChunkShape(serializers.Serializer[Any]):
    lines = RunLineShape(many=True)
    next = serializers.CharField(allow_null=True, help_text="Give it as cursor to go on.")


def _number(name: str, least: int, most: int, text: str) -> OpenApiParameter:
    schema = {"type": "integer", "minimum": least, "maximum": most}
    return OpenApiParameter(name, schema, description=text)


LIMIT = _number("limit", 1, MOST_LINES, f"Lines at most; {DEFAULT_LINES} where it is left out.")
QUERY = [
    path_id(),
    _number("attempt", 1, 2**31 - 1, "The newest where it is left out."),
    _number("try", 1, 2**31 - 1, "The newest where it is left out."),
    _number("offset", 0, MOST_BYTES, "In bytes, from next_offset."),
    LIMIT,
    OpenApiParameter("q", {"type": "string", "maxLength": 200}, description="Only lines with it."),
    OpenApiParameter("download", bool, description="As a file, in plain text."),
]


class TaskLogs(TaskView):
    needs = {"GET": Action.VIEW}
    query = ("attempt", "try", "offset", "limit", "q", "download")
    renderer_classes = [JSONRenderer, PlainText]

    @doc("read_task_log", CORE, "The log of one try, from an offset on", answer=ChunkShape,
         also={(200, TEXT): str}, query=QUERY)  # fmt: skip
    def get(self, request: Request, id: int) -> Any:
        task = self.task_run(id)
        task_try = _chosen(request, task)
        offset = whole(request, "offset", 0, 0, MOST_BYTES)
        words = text(request, "q", 200).lower()
        limit = whole(request, "limit", DEFAULT_LINES, 1, MOST_LINES)
        download = flag(request, "download")
        if download or request.accepted_renderer.format == PlainText.format:
            return _plain(task, task_try, offset, words, download)
        if task_try is None:
            empty = {"lines": [], "next_offset": offset, "complete": task.run.final}
            return Response(empty)
        chunk = _read(task_try, offset, limit, words)
        return Response(
            {
                "lines": [_line(line) for line in chunk.lines],
                "next_offset": chunk.next_offset,
                "complete": chunk.complete,
            }
        )


class RunLogs(HubView):
    """Every try of every task in the order of the tasks, each as far as it goes by now: what is
    still written is followed by its own task run's log."""

    needs = {"GET": Action.VIEW}
    query = ("cursor", "limit")

    @doc("read_run_log", CORE, "The logs of all tasks of a run, one after the other",
         answer=RunChunkShape, query=[path_id(), LIMIT, OpenApiParameter("cursor", str)])  # fmt: skip
    def get(self, request: Request, id: int) -> Response:
        run = self.one(WorkflowRun.objects.all(), pk=id)
        limit = whole(request, "limit", DEFAULT_LINES, 1, MOST_LINES)
        at, offset = _cursor(request)
        tries = TaskTry.objects.in_order(run, at).select_related("task_run__run__engine")
        lines: list[dict[str, Any]] = []
        for number, task_try in enumerate(tries[: MOST_TRIES + 1]):
            if len(lines) >= limit or number == MOST_TRIES:
                return Response({"lines": lines, "next": _token(task_try, 0)})
            start = offset if [task_try.task_run_id, task_try.pk] == at else 0
            chunk = logs.read(task_try, start, limit - len(lines))
            lines += [_line(line) | _whose(task_try) for line in chunk.lines]
            if len(lines) >= limit or chunk.next_offset - start >= CHUNK_BYTES:
                return Response({"lines": lines, "next": _token(task_try, chunk.next_offset)})
        return Response({"lines": lines, "next": None})


def _read(task_try: TaskTry, offset: int, limit: int, words: str) -> LogChunk:
    """The next lines, or with `words` the next of those that hold them: no more than SEARCHED are
    looked at."""
    if not words:
        return logs.read(task_try, offset, limit)
    found: list[LogLine] = []
    searched, first, start = 0, None, offset
    while True:
        most = min(limit - len(found), MOST_LINES)
        chunk = logs.read(task_try, offset, most, first=first)
        first = logs.number_after(chunk)
        found += [line for line in chunk.lines if words in line.text.lower()]
        offset, searched = chunk.next_offset, searched + len(chunk.lines)
        far = searched >= SEARCHED or offset - start >= SEARCHED_BYTES
        if not chunk.lines or chunk.complete or len(found) >= limit or far:
            return LogChunk(lines=tuple(found), next_offset=offset, complete=chunk.complete)


def _plain(
    task: TaskRun, task_try: TaskTry | None, offset: int, words: str, download: bool
) -> StreamingHttpResponse:
    lines = _every_line(task_try, offset, words) if task_try else iter(())
    # The first is read before the answer begins: an engine that can't be asked is a refusal.
    first = list(filter(None, [next(lines, None)]))
    answer = StreamingHttpResponse(chain(first, lines), content_type=f"{TEXT}; charset=utf-8")
    if download:
        number = f"{task_try.attempt}-{task_try.try_number}" if task_try else "0"
        answer["Content-Disposition"] = f'attachment; filename="task-run-{task.pk}-{number}.log"'
    return answer


def _every_line(task_try: TaskTry, offset: int, words: str) -> Iterator[str]:
    first = None
    while True:
        chunk = logs.read(task_try, offset, MOST_LINES, first=first)
        first = logs.number_after(chunk)
        for line in chunk.lines:
            if not words or words in line.text.lower():
                stream = SHORT_STREAMS.get(line.stream, line.stream)
                yield format_line(line.text, stream, line.time) if line.time else f"{line.text}\n"
        if not chunk.lines or chunk.complete or chunk.next_offset <= offset:
            return
        offset = chunk.next_offset


def _chosen(request: Request, task: TaskRun) -> TaskTry | None:
    tries = TaskTry.objects.filter(task_run=task).select_related("task_run__run__engine")
    wanted = {"attempt": "attempt", "try_number": "try"}
    for column, name in wanted.items():
        if name in request.query_params:
            number = whole(request, name, 1, 1, 2**31 - 1)
            tries = tries.filter(**{column: number})
    return tries.order_by("-attempt", "-try_number").first()


def _line(line: LogLine) -> dict[str, Any]:
    return {"n": line.n, "time": line.time, "stream": line.stream, "text": line.text}


def _whose(task_try: TaskTry) -> dict[str, Any]:
    return {
        "task_run": task_try.task_run_id,
        "task": task_try.task_run.name,
        "map_index": task_try.task_run.map_index,
        "attempt": task_try.attempt,
        "try_number": task_try.try_number,
    }


def _token(task_try: TaskTry, offset: int) -> str:
    place = [[task_try.task_run_id, task_try.pk], offset]
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def _cursor(request: Request) -> tuple[list[int] | None, int]:
    given = request.query_params.get("cursor")
    if given is None:
        return None, 0
    try:
        (task, task_try), offset = json.loads(base64.urlsafe_b64decode(given.encode()))
        numbers = [task, task_try, offset]
        if any(type(item) is not int or not 0 <= item < MOST_BYTES for item in numbers):
            raise ValueError(given)
    except (ValueError, TypeError, RecursionError):
        raise bad_query("cursor", "is not one of ours: take next as it is.") from None
    return [task, task_try], offset
