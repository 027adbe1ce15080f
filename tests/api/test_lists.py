"""Lists: keyset pages in both directions, filters by an allow-list, and no query per row."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from engines.models import Engine
from runs.models import AuditEntry, TaskTry, WorkflowRun
from tests.api.conftest import Caller
from tests.factories import make_engine, make_run, make_token, make_workflow


def ids(answer: Any) -> list[int]:
    assert answer.status_code == 200, answer.content
    return [row["id"] for row in answer.json()["results"]]


def follow(api: Caller, url: str | None) -> Any:
    assert url is not None
    parts = urlsplit(url)
    return api.client.get(f"{parts.path}?{parts.query}")


def test_pages_go_on_and_back_with_links(api: Caller) -> None:
    workflow = make_workflow()
    runs = [make_run(workflow).pk for _ in range(5)][::-1]
    first = api.get("workflow-runs?limit=2")
    assert ids(first) == runs[:2]
    assert first.json()["previous"] is None
    assert "count" not in first.json()
    second = follow(api, first.json()["next"])
    assert ids(second) == runs[2:4]
    third = follow(api, second.json()["next"])
    assert ids(third) == runs[4:]
    assert third.json()["next"] is None
    back = follow(api, third.json()["previous"])
    assert ids(back) == runs[2:4]
    start = follow(api, back.json()["previous"])
    assert ids(start) == runs[:2]
    assert start.json()["previous"] is None
    assert second["Link"] == (
        f'<{second.json()["next"]}>; rel="next", <{second.json()["previous"]}>; rel="prev"'
    )


def test_fault_04_rows_that_come_meanwhile_are_neither_doubled_nor_do_they_push_others_out(
    api: Caller,
) -> None:
    workflow = make_workflow()
    runs = [make_run(workflow).pk for _ in range(4)][::-1]
    first = api.get("workflow-runs?limit=2")
    make_run(workflow)
    WorkflowRun.objects.filter(pk=runs[1]).delete()
    assert ids(first) + ids(follow(api, first.json()["next"])) == runs


def test_the_count_comes_on_request_and_is_capped(
    api: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow = make_workflow()
    for _ in range(4):
        make_run(workflow)
    assert api.get("workflow-runs?count=true&limit=1").json()["count"] == 4
    monkeypatch.setattr("runs.api.pagination.MAX_COUNT", 3)
    assert api.get("workflow-runs?count=true&limit=1").json()["count"] == 3


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=x", "limit"),
        ("count=1", "count"),
        ("cursor=abc", "cursor"),
        ("cursor=WzEsMl0=", "cursor"),
        ("state=failed", "state"),
        ("state=FAILED&state=X", "state"),
        ("workflow=x", "workflow"),
        ("workflow=99999999999999999999", "workflow"),
        ("labels=a in b", "labels"),
        ("labels==", "labels"),
        ("since=yesterday", "since"),
        ("since=2026-01-01T00:00:00", "since"),
        ("uuid=1", "uuid"),
        ("title=" + "x" * 251, "title"),
        ("title=%00", "title"),
        ("engine=%00", "engine"),
        ("created_by__password=x", "created_by__password"),
    ],
)
def test_a_wrong_filter_is_named(api: Caller, query: str, field: str) -> None:
    answer = api.get(f"workflow-runs?{query}")
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_runs_are_filtered_by_what_the_list_allows(api: Caller) -> None:
    engine = make_engine("local", name="main")
    mine = make_workflow(title="mine")
    failed = make_run(
        mine, state="FAILED", labels={"team": "physics", "tier": "gold"}, engine=engine
    )
    running = make_run(mine, state="RUNNING", labels={"team": "biology"})
    other = make_run(state="COMPLETED", fingerprint="f" * 64)
    # In SQLite `engine` may have been found by routing; what counts is what the rows say.
    WorkflowRun.objects.filter(pk__in=[running.pk, other.pk]).update(engine=None)
    everything = {failed.pk, running.pk, other.pk}
    cases: dict[str, set[int]] = {
        "state=FAILED": {failed.pk},
        "state=FAILED&state=RUNNING": {failed.pk, running.pk},
        f"workflow={mine.pk}": {failed.pk, running.pk},
        "title=mine": {failed.pk, running.pk},
        "engine=main": {failed.pk},
        f"engine={engine.pk}": {failed.pk},
        "engine=none": {running.pk, other.pk},
        "labels=team=physics": {failed.pk},
        "labels=team in (physics,biology),tier": {failed.pk},
        "labels=team,!tier": {running.pk},
        "labels=team!=physics": {running.pk, other.pk},
        f"fingerprint={'f' * 64}": {other.pk},
        f"uuid={other.uuid}": {other.pk},
        "since=2020-01-01T00:00:00Z": everything,
        "until=2020-01-01T00:00:00Z": set(),
        "trigger=manual": everything,
    }
    for query, expected in cases.items():
        assert set(ids(api.get(f"workflow-runs?{query}"))) == expected, query


def test_workflows_are_filtered_by_title_archived_and_latest(api: Caller) -> None:
    old = make_workflow(title="a", latest=False)
    new = make_workflow(title="a", version=2)
    gone = make_workflow(title="b")
    api.patch(f"workflows/{gone.pk}", {"archived": True})
    assert ids(api.get("workflows?title=a")) == [new.pk, old.pk]
    assert ids(api.get("workflows?archived=true")) == [gone.pk]
    assert ids(api.get("workflows?archived=false&latest=true")) == [new.pk]


def many_runs(number: int) -> str:
    engine = Engine.objects.filter(name="one").first() or make_engine("local", name="one")
    for _ in range(number):
        workflow = make_workflow(labels={"a": "b"})
        run = make_run(workflow, labels={"c": "d"}, engine=engine)
        for task in run.task_runs.all():
            TaskTry.objects.create(task_run=task, attempt=1, try_number=1, state="RUNNING")
        make_token(role="viewer")
        AuditEntry.objects.create(action="x", object_kind="y")
    return ""


def tasks_of_one_run(number: int) -> str:
    run = WorkflowRun.objects.first() or make_run()
    for at in range(number):
        run.task_runs.create(name=f"more-{run.task_runs.count()}-{at}")
    return str(run.pk)


@pytest.mark.parametrize(
    ("url", "most", "grow"),
    [
        ("workflow-runs", 4, many_runs),
        ("workflows", 4, many_runs),
        ("events", 3, many_runs),
        ("audit", 3, many_runs),
        ("tokens", 3, many_runs),
        ("labels", 3, many_runs),
        ("engines", 3, many_runs),
        ("triage", 8, many_runs),
        ("workflow-runs/{}/task-runs", 5, tasks_of_one_run),
        ("workflow-runs/{}/events", 4, tasks_of_one_run),
        ("workflow-runs/{}/status", 4, tasks_of_one_run),
    ],
)
def test_a_longer_list_takes_no_more_queries(
    api: Caller, url: str, most: int, grow: Callable[[int], str]
) -> None:
    api.get("health")  # the token's use is written once a minute
    counts = []
    for number in (5, 45):
        path = url.format(grow(number)) + (
            "" if "status" in url or "triage" in url else "?limit=100"
        )
        with CaptureQueriesContext(connection) as queries:
            assert api.get(path).status_code == 200
        counts.append(len([q for q in queries if "clock_timestamp" not in q["sql"]]))
    assert counts[0] == counts[1], [query["sql"] for query in queries]
    assert counts[1] <= most, [query["sql"] for query in queries]


def test_no_list_reads_definitions(api: Caller) -> None:
    many_runs(2)
    for url in ("workflow-runs", "workflows", "triage"):
        with CaptureQueriesContext(connection) as queries:
            assert api.get(url).status_code == 200
        assert not [query["sql"] for query in queries if '."definition"' in query["sql"]], url
