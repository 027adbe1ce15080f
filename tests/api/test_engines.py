"""/engines: registering, asking, and keeping secrets in."""

import json
from collections.abc import Callable

import pytest

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
