"""The list of runs as a file: CSV for spreadsheets, JSON for programs. The filter is the list's own."""

import csv
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from runs import keyset
from runs.labels import labels_of
from runs.models import WorkflowRun
from runs.runfilter import narrow, read_filter
from runs.web.access import seen
from runs.web.pages.runs import UNSHOWN
from runs.web.paging import after_key

MOST = 50_000  # rows
CHUNK = 500
LONGEST = 1000  # characters of an error or a note
# What a spreadsheet would take for a formula.
FORMULAS = ("=", "+", "-", "@", "\t", "\r")
COLUMNS = (
    "id",
    "uuid",
    "state",
    "wanted",
    "workflow",
    "workflow_version",
    "engine",
    "labels",
    "error_task",
    "error",
    "reason",
    "attempt",
    "created_at",
    "started_at",
    "ended_at",
    "seconds",
    "by",
    "trigger",
    "note",
)


class Export:
    """The runs of a request's filter, read while they are sent. `rows`: how many were sent. `next`: the
    id behind which it goes on, once it has stopped at MOST rows, or at the reach of a page of the list."""

    def __init__(self, request: HttpRequest, runs: Any) -> None:
        self.runs = runs
        self.after = after_key(request)
        # The stream is read when the visitor's time zone is no longer the thread's.
        self.zone = timezone.get_current_timezone()
        self.rows = 0
        self.next: int | None = None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        after = self.after
        while True:
            part = keyset.part(self.runs, min(CHUNK, MOST - self.rows), after=after)
            for run in part.rows:
                yield self.row(run)
            self.rows += len(part.rows)
            after = part.after
            if after is None:
                return
            if part.stopped or self.rows >= MOST:
                self.next = after
                return

    def row(self, run: WorkflowRun) -> dict[str, Any]:
        end, begin = run.ended_at, run.started_at
        return {
            "id": run.pk,
            "uuid": str(run.uuid),
            "state": run.state,
            "wanted": run.wanted,
            "workflow": run.workflow.title,
            "workflow_version": run.workflow.version,
            "engine": run.engine.name if run.engine else None,
            "labels": labels_of(run),
            "error_task": run.error_task,
            "error": run.error[:LONGEST],
            "reason": run.reason,
            "attempt": run.attempt,
            "created_at": self.time(run.created_at),
            "started_at": self.time(begin),
            "ended_at": self.time(end),
            "seconds": (end - begin).total_seconds() if end and begin else None,
            "by": run.created_by.get_username() if run.created_by else None,
            "trigger": run.trigger,
            "note": run.note[:LONGEST],
        }

    def time(self, when: datetime | None) -> str | None:
        return when.astimezone(self.zone).isoformat(timespec="seconds") if when else None


@require_GET
def as_csv(request: HttpRequest) -> HttpResponseBase:
    """UTF-8 with a line of names; a line beginning with # says where it was cut."""
    return _answer(request, "csv", "text/csv; charset=utf-8", _csv)


@require_GET
def as_json(request: HttpRequest) -> HttpResponseBase:
    """`{"runs": […], "rows": n, "complete": …, "next": the id to ask for as `after`, or null}`."""
    return _answer(request, "json", "application/json", _json)


def _answer(
    request: HttpRequest, ending: str, kind: str, lines: Callable[[Export], Iterator[str]]
) -> HttpResponseBase:
    chosen = read_filter(request.GET)
    if chosen.errors:
        # A file doesn't say what was left out of its filter, so nothing is.
        text = "\n".join(chosen.errors.values())
        return HttpResponse(f"{text}\n", status=400, content_type="text/plain; charset=utf-8")
    runs = narrow(seen(request, WorkflowRun.objects.all()), chosen).for_list().defer(*UNSHOWN)
    response = StreamingHttpResponse(lines(Export(request, runs)), content_type=kind)
    response["Content-Disposition"] = f'attachment; filename="runs.{ending}"'
    response["X-Row-Limit"] = str(MOST)
    return response


class _Line:
    """What csv.writer writes to: it hands the line back."""

    def write(self, text: str) -> str:
        return text


def _csv(export: Export) -> Iterator[str]:
    writer = csv.writer(_Line())
    yield "\ufeff" + writer.writerow(COLUMNS)
    for row in export:
        row["labels"] = ",".join(f"{key}={value}" for key, value in row["labels"].items())
        yield writer.writerow([_cell(row[name]) for name in COLUMNS])
    if export.next is not None:
        said = f"# Cut after {export.rows} rows: ask with after={export.next} for those behind."
        yield writer.writerow([said])


def _cell(value: Any) -> Any:
    """Nothing that a spreadsheet would calculate."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULAS) else value


def _json(export: Export) -> Iterator[str]:
    yield '{"runs": ['
    for at, row in enumerate(export):
        yield f"{',' if at else ''}\n{json.dumps(row, ensure_ascii=False)}"
    end = {"rows": export.rows, "complete": export.next is None, "next": export.next}
    yield f"\n], {json.dumps(end)[1:]}\n"
