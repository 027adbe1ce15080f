"""The list of runs as CSV and JSON."""

import csv
import io
import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from runs.models import Preference, WorkflowRun
from runs.web.pages import exports
from tests.factories import make_engine, make_run, make_user, make_workflow

pytestmark = pytest.mark.django_db
CSV, JSON = reverse("export_csv"), reverse("export_json")


def body(client: Client, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200, answer
    return b"".join(answer.streaming_content).decode()


def table(client: Client, query: str = "") -> list[dict[str, str]]:
    text = body(client, f"{CSV}?{query}")
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))


@pytest.fixture
def some() -> list[WorkflowRun]:
    workflow, engine = make_workflow(title="etl"), make_engine(name="local")
    begin = timezone.now()
    ended = {"started_at": begin, "ended_at": begin + timedelta(seconds=90)}
    return [
        make_run(workflow, engine=engine, state="FAILED", error="KeyError", **ended),
        make_run(workflow, engine=engine, labels={"a": "b", "team": "c d"}, note="Look,\nhere"),
    ]


def test_both_hold_the_same_rows_as_the_list(viewer: Client, some: list[WorkflowRun]) -> None:
    rows = table(viewer)
    assert [int(row["id"]) for row in rows] == [run.pk for run in some[::-1]]
    assert tuple(rows[0]) == exports.COLUMNS
    assert (rows[0]["labels"], rows[0]["note"]) == ("a=b,team=c d", "Look,\nhere")
    assert (rows[1]["workflow"], rows[1]["seconds"], rows[1]["error"]) == (
        "etl",
        "90.0",
        "KeyError",
    )
    whole = json.loads(body(viewer, JSON))
    assert (whole["rows"], whole["complete"], whole["next"]) == (2, True, None)
    assert [tuple(row) for row in whole["runs"]] == [exports.COLUMNS] * 2
    assert whole["runs"][0]["labels"] == {"a": "b", "team": "c d"}
    assert [row["id"] for row in json.loads(body(viewer, f"{JSON}?state=FAILED"))["runs"]] == [
        some[0].pk
    ]
    answer = viewer.get(CSV)
    assert answer["Content-Disposition"] == 'attachment; filename="runs.csv"'
    assert answer["X-Row-Limit"] == "50000"


def test_a_filter_with_mistakes_is_refused(viewer: Client, some: list[WorkflowRun]) -> None:
    for url in (CSV, JSON):
        answer = viewer.get(f"{url}?query=stat:failed")
        assert answer.status_code == 400
        assert "did you mean state:?" in answer.content.decode()


@pytest.mark.parametrize("word", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_is_a_formula(viewer: Client, word: str) -> None:
    make_run(make_workflow(title=word), note=word, error=word, error_task=word)
    (row,) = table(viewer, "since=1h")
    for name in ("workflow", "note", "error", "error_task"):
        assert row[name].startswith("'"), name
    (plain,) = json.loads(body(viewer, JSON))["runs"]
    assert plain["note"] == word


def test_it_goes_on_in_pieces_and_says_where_it_was_cut(viewer: Client, monkeypatch: Any) -> None:
    workflow = make_workflow({"a": []})
    made = [make_run(workflow).pk for _ in range(7)][::-1]
    monkeypatch.setattr(exports, "CHUNK", 2)
    assert [int(row["id"]) for row in table(viewer)] == made
    assert [int(row["id"]) for row in table(viewer, "since=1h")] == made
    monkeypatch.setattr(exports, "MOST", 5)
    *rows, last = table(viewer)
    assert [int(row["id"]) for row in rows] == made[:5]
    assert last["id"] == f"# Cut after 5 rows: ask with after={made[4]} for those behind."
    whole = json.loads(body(viewer, JSON))
    assert (whole["rows"], whole["complete"], whole["next"]) == (5, False, made[4])
    rest = json.loads(body(viewer, f"{JSON}?after={whole['next']}"))
    assert ([row["id"] for row in rest["runs"]], rest["complete"]) == (made[5:], True)


def test_where_no_index_leads_it_ends_at_the_reach_of_a_page(
    viewer: Client, monkeypatch: Any
) -> None:
    workflow = make_workflow({"a": []})
    made = [make_run(workflow).pk for _ in range(6)][::-1]
    monkeypatch.setattr("runs.keyset.REACH", 2)
    whole = json.loads(body(viewer, f"{JSON}?labels=!x"))
    assert 0 < whole["rows"] < 6
    assert (whole["complete"], whole["next"] in made) == (False, True)


def test_times_are_in_the_users_time_zone(some: list[WorkflowRun]) -> None:
    user, client = make_user("viewer"), Client()
    Preference.objects.create(user=user, time_zone="Asia/Tokyo")
    client.force_login(user)
    assert table(client)[0]["created_at"].endswith("+09:00")


def test_a_thousand_rows_cost_a_few_statements(viewer: Client, monkeypatch: Any) -> None:
    workflow = make_workflow({"a": []})
    for _ in range(8):
        make_run(workflow, labels={"a": "b"})
    monkeypatch.setattr(exports, "CHUNK", 4)
    with CaptureQueriesContext(connection) as asked:
        assert len(table(viewer)) == 8
    # Session, user, role; then rows and labels for each piece.
    assert len(asked) <= 3 + 2 * 2


def test_what_is_hidden_is_in_no_file(viewer: Client, settings: Any) -> None:
    make_run(make_workflow(title="veiled-title"))
    shown = make_run(make_workflow(title="plain"))
    settings.WORKFLOWHUB_PERMISSION_FACTORY = "tests.security.test_hidden.HidesTheVeiled"
    assert [int(row["id"]) for row in table(viewer)] == [shown.pk]
    assert "veiled" not in body(viewer, JSON)
    assert table(viewer, "workflow=veiled-title") == []


def test_strangers_and_those_without_a_role_get_nothing(client: Client, browser: Any) -> None:
    make_run()
    for url in (CSV, JSON):
        assert client.get(url).status_code == 302
        assert client.post(url).status_code in {302, 403}
        assert browser("viewer").post(url).status_code == 405
    assert table(browser(None)) == []
