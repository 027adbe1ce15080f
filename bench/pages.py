"""Every list, filter and page on a long history: queries, server time, and the plan of the slowest
statements.

    make bench-pages N=1000000
    DATABASE_URL=postgres://… python -m bench.pages 0 [--times 20] [--only runs]

Without DATABASE_URL the history goes into a PostgreSQL server of its own, which is gone afterwards; with
it into that one, and 0 takes what is there. The time is that of a request within this process, from
the first middleware to the last: what the network and the web server add isn't in it.
"""

import argparse
import base64
import json
import os
import sys
import tempfile
import time
from argparse import RawDescriptionHelpFormatter as Raw
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from bench.figures import Figure, keep, percentile, table

SLOW_MS, MANY = 50, 6  # what a list page may take at most (docs/performance.md)
EXPLAINED = 3
NAME = "pages"


@dataclass(slots=True)
class Asked:
    """What one address cost. `statements`: (ms, SQL, values) of the slowest request."""

    name: str
    path: str
    queries: int = 0
    times: list[float] = field(default_factory=list)
    statements: list[tuple[float, str, Any]] = field(default_factory=list)

    @property
    def over(self) -> bool:
        return percentile(self.times, 50) > SLOW_MS or self.queries > MANY


class Statements(list[tuple[float, str, Any]]):
    """(ms, SQL, values) of each statement of a connection."""

    def __call__(self, execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        began = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            self.append(((time.perf_counter() - began) * 1000, str(sql), params))


def addresses() -> Iterator[tuple[str, str]]:
    """(name, path) of what is asked for."""
    from runs.models import Workflow, WorkflowRun

    last = WorkflowRun.objects.order_by("-pk").values_list("pk", flat=True)[0]
    deep = last // 10
    filters = {
        "all": "",
        "FAILED": "state=FAILED",
        "active, of which there are none": "state=RUNNING",
        "one workflow, nearly all": "workflow={usual}",
        "one workflow, few": "workflow={rare}",
        "one engine, few": "engine=other",
        "label, nearly all": "labels=team%3Dphysics",
        "label, few": "labels=team%3Drare",
        "label, fifty": "labels=sample%3DS7",
        "label, only the oldest": "labels=era%3Dold",
        "label of a set": "labels=team+in+(rare,biology)",
        "label, not": "labels=team!%3Dphysics",
        "label, without": "labels=!team",
        "two labels": "labels=team%3Dbiology,tier%3Dgold",
        "two labels, few": "labels=team%3Drare,tier%3Dgold",
        "label and state": "labels=team%3Drare&state=FAILED",
        "workflow and state": "workflow={rare}&state=FAILED",
        "last hour": "since={hour}",
        "a day long ago": "since={then}&until={day_later}",
        "one kind of failure": "fingerprint={fingerprint}",
    }
    found = WorkflowRun.objects
    fingerprint = found.exclude(fingerprint="").values_list("fingerprint", flat=True).first()
    then = found.get(pk=deep).created_at
    words = {"fingerprint": fingerprint or "", "hour": "1h"}
    titles = dict(Workflow.objects.values_list("title", "pk"))
    for name, query in filters.items():
        of_page = query.format(
            usual="history", rare="rare", then=_url(then), day_later=_url(then, days=1), **words
        )
        yield f"/runs/ {name}", f"/runs/?{of_page}"
        yield f"/runs/ {name}, deep", f"/runs/?{of_page}&after={deep}"
    yield "/runs/ words", "/runs/?q=genome"
    hour = _url(datetime.now(UTC), hours=-1)
    for name, query in filters.items():
        of_api = query.format(
            usual=titles["history"],
            rare=titles["rare"],
            then=_url(then),
            day_later=_url(then, days=1),
            fingerprint=words["fingerprint"],
            hour=hour,
        )
        yield f"API runs {name}", f"/api/v1/workflow-runs?{of_api}"
        yield f"API runs {name}, deep", f"/api/v1/workflow-runs?{of_api}&cursor={_cursor(deep)}"
    yield "API runs of a title", "/api/v1/workflow-runs?title=rare"
    yield "API runs, 500 and their number", "/api/v1/workflow-runs?limit=500&count=true"
    run = found.get(pk=deep)
    failed = found.filter(state="FAILED").order_by("-pk").first() or run
    task = run.task_runs.order_by("pk").first()
    for page in (
        "/",
        f"/runs/{run.pk}/",
        f"/runs/{failed.pk}/",
        f"/runs/{run.pk}/tasks/{task.pk}/",
        f"/runs/{run.pk}/logs/",
        "/workflows/",
        "/workflows/history/",
        "/workflows/rare/",
        "/workflows/history/run/",
        "/engines/",
        f"/engines/{run.engine_id}/",
        "/secrets/",
        "/admin/runs/workflowrun/",
        "/admin/runs/taskrun/",
        "/admin/runs/runevent/",
        "/metrics",
    ):
        yield f"page {page}", page
    for end in (
        "workflows",
        f"workflows/{run.workflow_id}",
        f"workflows/{run.workflow_id}/runs",
        f"workflow-runs/{run.pk}",
        f"workflow-runs/{run.pk}/task-runs",
        f"workflow-runs/{run.pk}/events",
        f"workflow-runs/{run.pk}/results",
        f"workflow-runs/{run.pk}/status",
        f"workflow-runs/{run.pk}/logs",
        f"task-runs/{task.pk}",
        f"task-runs/{task.pk}/tries",
        "events",
        f"events?run={run.pk}",
        "events?cause=create",
        f"events?since={hour}",
        "audit",
        "labels",
        "labels/team",
        "labels/sample",
        "triage",
        "engines",
        "health",
    ):
        yield f"API {end}", f"/api/v1/{end}"


def _url(moment: datetime, **later: int) -> str:
    return quote((moment + timedelta(**later)).isoformat())


def _cursor(key: int) -> str:
    return base64.urlsafe_b64encode(json.dumps([False, key]).encode()).decode()


def ask(client: Any, asked: Asked, times: int) -> None:
    """The first request warms what is kept in memory, and isn't counted."""
    from django.db import connection

    slowest = 0.0
    for number in range(times + 1):
        statements = Statements()
        began = time.perf_counter()
        with connection.execute_wrapper(statements):
            response = client.get(asked.path)
            if response.streaming:
                b"".join(response.streaming_content)
        took = (time.perf_counter() - began) * 1000
        if response.status_code != 200:
            sys.exit(f"{asked.path} answered {response.status_code}: {response.content[:500]!r}")
        if number == 0:
            continue
        asked.times.append(took)
        asked.queries = max(asked.queries, len(statements))
        if took > slowest:
            slowest, asked.statements = took, statements


def explain(asked: Asked) -> str:
    """The plan of the statement that took longest."""
    from django.db import connection

    took, sql, params = max(asked.statements, default=(0.0, "", None), key=lambda each: each[0])
    if not sql.startswith(("SELECT", "WITH")):
        return ""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS) {sql}", params)
        plan = "\n".join(row[0] for row in cursor.fetchall())
    return f"{asked.name} {asked.path}\n{took:.1f} ms: {sql}\n{plan}\n"


def measure(times: int, only: str) -> list[Asked]:
    from django.contrib.auth import get_user_model
    from django.test import Client

    user, _ = get_user_model().objects.get_or_create(
        username="bench", defaults={"is_superuser": True, "is_staff": True}
    )
    client = Client(SERVER_NAME="localhost", raise_request_exception=True)
    client.force_login(user)
    found = []
    for name, path in addresses():
        if only in name:
            asked = Asked(name, path)
            ask(client, asked, times)
            found.append(asked)
            mark = "  <-- over" if asked.over else ""
            print(
                f"{percentile(asked.times, 50):8.1f} ms {asked.queries:3} queries  {name}{mark}",
                flush=True,
            )
    return found


@contextmanager
def database(given: str | None) -> Iterator[None]:
    """Names it to Django, with a home of its own."""
    from tests.database import EmbeddedPostgreSQL

    server = None if given else EmbeddedPostgreSQL(fsync=True)
    with tempfile.TemporaryDirectory(prefix="workflowhub-bench-") as home:
        os.environ |= {
            "DATABASE_URL": given or (server.url if server else ""),
            "WORKFLOWHUB_HOME": home,
            "DJANGO_SETTINGS_MODULE": "workflowhub.settings",
        }
        try:
            yield
        finally:
            from django.db import connections

            connections.close_all()
            if server is not None:
                server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.pages", description=__doc__, formatter_class=Raw
    )
    parser.add_argument("runs", type=int, help="how many are made; 0 takes those that are there")
    parser.add_argument("--times", type=int, default=20, help="requests of each address")
    parser.add_argument("--only", default="", help="a part of the names")
    options = parser.parse_args()
    with database(os.environ.get("DATABASE_URL")):
        import django

        django.setup()
        from bench.history import make
        from runs.models import WorkflowRun
        from workflowhub.statements import bound_statements

        bound_statements()  # as in a web process

        if options.runs:
            make(options.runs, 0)
        number = WorkflowRun.objects.count()
        found = measure(options.times, options.only)
        on = f"{number:,} runs"
        figures = [
            Figure(work=asked.name, measure=measure, on=on, value=value)
            for asked in found
            for measure, value in (
                ("queries", asked.queries),
                ("ms p50", percentile(asked.times, 50)),
                ("ms p95", percentile(asked.times, 95)),
            )
        ]
        slowest = sorted(found, key=lambda asked: -percentile(asked.times, 50))[:EXPLAINED]
        plans = "\n".join(explain(asked) for asked in slowest)
    print(table(figures))
    print(f"\n{plans}")
    print(f"Over {SLOW_MS} ms or {MANY} queries: {', '.join(a.name for a in found if a.over)}.")
    print(f"Kept in {keep(NAME, figures)}.")


if __name__ == "__main__":
    main()
