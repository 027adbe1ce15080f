"""/engines: registering, asking, and keeping secrets in."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from engines.models import Engine, EngineJob
from tests.adapters.remote.adapter import Adapter
from tests.api.conftest import Caller
from tests.factories import make_engine, make_run

SECRET = "canary-of-a-secret"
FIELDS = {field.name: field for field in Adapter.fields}
CONFIG = {"url": "http://127.0.0.1:9", "token": SECRET}


def test_the_remote_kind_has_a_secret_to_test_with() -> None:
    assert FIELDS["token"].secret
    assert set(FIELDS) >= set(CONFIG)


def test_an_engine_is_registered_edited_and_deleted(api: Caller) -> None:
    created = api.post("engines", {"name": "far", "kind": "remote", "config": CONFIG})
    assert created.status_code == 201, created.json()
    body = created.json()
    assert body["config"]["url"] == CONFIG["url"]
    assert body["secrets"] == ["token"]
    assert SECRET not in json.dumps(body)
    url = f"engines/{body['id']}"
    changed = api.patch(url, {"priority": 5, "selector": "gpu"}, headers={"if-match": '"1"'})
    assert (changed.json()["priority"], changed.json()["version"]) == (5, 2)
    assert Engine.objects.get().secrets == {"token": SECRET}
    assert api.patch(url, {"priority": 6}, headers={"if-match": '"1"'}).status_code == 412
    assert api.delete(url).status_code == 204
    assert api.get(url).status_code == 404


def test_an_engine_with_runs_is_not_deleted(api: Caller) -> None:
    engine = make_engine("local")
    make_run(engine=engine)
    answer = api.delete(f"engines/{engine.pk}")
    assert answer.status_code == 409
    assert "Disable it instead" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "Far", "kind": "remote", "config": CONFIG}, "name"),
        ({"name": "far", "kind": "nothing"}, "kind"),
        ({"name": "far", "kind": "remote", "config": {"url": "ftp://x"}}, "config.url"),
        ({"name": "far", "kind": "remote", "config": {**CONFIG, "x": 1}}, "config.x"),
        ({"name": "far", "kind": "remote", "config": CONFIG, "selector": "=="}, "selector"),
        ({"name": "far", "kind": "remote", "config": CONFIG, "priority": "1"}, "priority"),
        ({"name": "far", "kind": "remote", "config": []}, "config"),
    ],
)
def test_a_wrong_setting_is_named(api: Caller, body: dict[str, object], field: str) -> None:
    answer = api.post("engines", body)
    assert answer.status_code == 400
    assert field in [error["field"] for error in answer.json()["errors"]]
    assert not Engine.objects.exists()
    assert SECRET not in answer.content.decode()


def test_a_test_is_a_job_that_is_polled(api: Caller, caller: Callable[..., Caller]) -> None:
    engine = make_engine("local")
    answer = api.post(f"engines/{engine.pk}/test")
    assert answer.status_code == 202
    assert answer["Location"] == f"/api/v1/engine-jobs/{answer.json()['id']}"
    job = api.get(f"engine-jobs/{answer.json()['id']}").json()
    assert (job["action"], job["state"]) == ("test", "waiting")
    assert api.post(f"engines/{engine.pk}/sync").json()["action"] == "sync"
    unsaved = api.post("engines/test", {"kind": "remote", "config": CONFIG})
    assert unsaved.status_code == 202
    assert SECRET not in unsaved.content.decode()
    # Settings that are not saved are nobody else's business.
    assert caller().get(f"engine-jobs/{unsaved.json()['id']}").status_code == 404
    assert SECRET not in json.dumps(list(EngineJob.objects.values("config", "result", "message")))


def test_an_import_says_why_not(api: Caller) -> None:
    engine = make_engine("local", capabilities={"import_runs": "It keeps no foreign runs."})
    refused = api.post(f"engines/{engine.pk}/import", {"what": "runs"})
    assert refused.status_code == 409
    assert "It keeps no foreign runs." in refused.json()["detail"]
    Engine.objects.update(capabilities={"import_runs": True})
    assert api.post(f"engines/{engine.pk}/import", {"what": "runs"}).status_code == 202


def test_capabilities_and_kinds_are_listed(api: Caller) -> None:
    engine = make_engine("local", capabilities={"cancel_run": True, "deploy": "No such call."})
    rows = {row["name"]: row for row in api.get(f"engines/{engine.pk}/capabilities").json()}
    assert (rows["cancel_run"]["can"], rows["cancel_run"]["reason"]) == (True, "")
    assert (rows["deploy"]["can"], rows["deploy"]["reason"]) == (False, "No such call.")
    kinds = {row["kind"]: row for row in api.get("engine-kinds").json()}
    assert {field["name"] for field in kinds["remote"]["fields"]} == set(FIELDS)


def test_reading_one_says_what_it_has_to_do_and_how_far_the_hub_is_behind(api: Caller) -> None:
    now = timezone.now()
    engine = make_engine("local", observed_at=now - timedelta(minutes=5))
    url = f"engines/{engine.pk}"
    idle = api.get(url).json()
    assert (idle["active_runs"], idle["lag_seconds"], idle["lags"]) == (0, None, False)
    assert idle["drift"] == 0
    scheduled = {"scheduled_at": now - timedelta(hours=1)}
    make_run(engine=engine, state="RUNNING", failures=1, **scheduled)
    make_run(engine=engine, state="SCHEDULED", **scheduled)
    busy = api.get(url).json()
    assert (busy["active_runs"], busy["waiting_runs"], busy["drift"]) == (2, 1, 1)
    assert busy["lags"] is True
    assert 300 <= busy["lag_seconds"] < 360


def test_drift_is_listed_page_by_page_the_oldest_first(api: Caller) -> None:
    engine = make_engine("local")
    asked = timezone.now() - timedelta(minutes=5)
    first = make_run(engine=engine, state="RUNNING", wanted="CANCEL", cancel_requested_at=asked)
    make_run(engine=engine, state="RUNNING")
    second = make_run(engine=engine, state="RUNNING", missing_since=asked)
    make_run(engine=make_engine("local"), state="RUNNING", missing_since=asked)
    page = api.get(f"engines/{engine.pk}/drift?limit=1&count=true").json()
    (one,) = page["results"]
    assert one["run"]["id"] == first.pk
    assert one["why"] == ["cancel"]
    assert datetime.fromisoformat(one["since"]) == asked
    assert one["next_step"] == "Asks the engine again to stop it."
    assert one["next_at"] is None
    assert page["count"] == 2
    rest = api.client.get(page["next"]).json()
    assert [row["run"]["id"] for row in rest["results"]] == [second.pk]
    assert rest["results"][0]["why"] == ["missing"]
    assert rest["next"] is None
    assert api.get("engines/999999/drift").status_code == 404
