"""The page of one engine: what it takes and can, runs that drift, its workers."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from engines.dag.models import Document, Execution, Step, Worker
from engines.models import Engine, EngineJob
from engines.states import TaskState
from runs.models import WorkflowRun
from runs.web.pages import engines as engines_page
from tests.factories import make_engine, make_run, make_workflow


def page_of(client: Client, engine: Engine) -> str:
    return client.get(reverse("engine", args=[engine.pk])).content.decode()


def make_worker(**kw: Any) -> Worker:
    now = timezone.now()
    defaults = {"id": uuid4(), "host": "node7", "pid": 42, "concurrency": 2, "started_at": now}
    return Worker.objects.create(**{**defaults, "heartbeat_at": now, **kw})


def make_step(worker: Worker, run: WorkflowRun, name: str) -> Step:
    execution, _ = Execution.objects.get_or_create(
        external_id=f"wh-{run.uuid}-1",
        defaults={
            "engine": run.engine,
            "document": Document.objects.get_or_create(digest="d", format="f", text="")[0],
            "run_uuid": run.uuid,
            "run_id": run.pk,
            "title": run.workflow.title,
            "max_parallel": 1,
            "created_at": timezone.now(),
        },
    )
    state = TaskState.RUNNING
    return Step.objects.create(
        execution=execution, name=name, position=0, state=state, worker=worker
    )


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"selector": ""}, "Takes any run of its formats."),
        ({"selector": "team=physics"}, "Takes runs with team=physics."),
        (
            {"selector": "tier in (gold,silver),!old,team!=bio,gpu"},
            "Takes runs with tier=gold or silver and without a label old and without team=bio "
            "and with a label gpu.",
        ),
        ({"accepts_runs": False}, "Takes no new runs; those it has are watched to their end."),
        ({"enabled": False}, "Takes no runs: it is disabled."),
    ],
)
def test_its_page_says_which_runs_it_takes(
    admin: Client, fields: dict[str, Any], said: str
) -> None:
    assert said in page_of(admin, make_engine(**fields))


def test_its_page_says_why_it_can_not(admin: Client) -> None:
    engine = make_engine(capabilities={"cancel_run": True, "deploy": "It has " + "no call " * 20})
    assert "It has " + "no call " * 20 in page_of(admin, engine)


def test_its_page_lists_runs_that_drift_with_what_comes_next(admin: Client) -> None:
    engine = make_engine()
    long_ago = timezone.now() - timedelta(minutes=5)
    drifting = make_run(
        engine=engine, state="RUNNING", wanted="CANCEL", cancel_requested_at=long_ago
    )
    well = make_run(engine=engine, state="RUNNING")
    html = page_of(admin, engine)
    drift = html[html.index('id="h-drift"') : html.index('id="h-workers"')]
    assert reverse("run", args=[drifting.pk]) in drift
    assert reverse("run", args=[well.pk]) not in drift
    assert "Asked to stop and still going on" in drift
    assert "Asks the engine again to stop it." in drift
    assert 'name="action" value="sync"' in drift


def test_its_page_shows_no_more_drift_than_it_has_room_for(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines_page, "DRIFT", 2)
    engine, workflow = make_engine(), make_workflow()
    for _ in range(3):
        make_run(workflow, engine=engine, state="RUNNING", missing_since=timezone.now())
    response = admin.get(reverse("engine", args=[engine.pk]))
    assert len(response.context["drift"]) == 2
    assert "there are more" in response.content.decode()


def test_a_change_of_what_drifts_reaches_an_open_page(admin: Client) -> None:
    engine = make_engine()
    run = make_run(engine=engine, state="RUNNING", scheduled_at=timezone.now())
    url = reverse("engine", args=[engine.pk])
    token = admin.get(url).context["token"]
    poll = {"HX-Request": "true"}
    assert admin.get(f"{url}?v={token}", headers=poll).status_code == 204
    WorkflowRun.objects.filter(pk=run.pk).update(missing_since=timezone.now())
    assert admin.get(f"{url}?v={token}", headers=poll).status_code == 200


def test_what_engines_and_tasks_wrote_is_inert(admin: Client) -> None:
    hostile = "</td><script>alert(1)</script>\u202e<b hx-get=/x hx-trigger=load>"
    engine = make_engine(
        health="unhealthy",
        health_message=hostile,
        engine_version=hostile,
        capabilities={"deploy": hostile},
    )
    EngineJob.objects.create(engine=engine, kind="local", state="failed", message=hostile)
    make_run(
        engine=engine, state="RUNNING", failures=1, last_error=hostile, missing_since=timezone.now()
    )
    make_worker(host=hostile)
    make_engine()
    for html in (page_of(admin, engine), admin.get(reverse("engines")).content.decode()):
        assert "&lt;script&gt;" in html
        assert "<script>alert" not in html
        assert "<b hx-get" not in html


def test_its_workers_are_shown_with_what_they_do(admin: Client) -> None:
    engine = make_engine()
    assert "No worker is running" in page_of(admin, engine)
    run = make_run(engine=engine, state="RUNNING")
    make_step(make_worker(), run, "align")
    make_worker(host="gone", heartbeat_at=timezone.now() - timedelta(hours=1))
    make_worker(host="ended", ended_at=timezone.now())
    html = page_of(admin, engine)
    workers = html[html.index('id="h-workers"') :]
    assert "node7:42" in workers
    assert "1 of 2 busy" in workers
    assert "align" in workers
    assert reverse("run", args=[run.pk]) in workers
    assert workers.count("Alive") == workers.count("Silent") == 1
    assert "ended:42" not in workers


def test_an_engine_that_runs_its_steps_elsewhere_shows_no_workers(admin: Client) -> None:
    make_worker()
    assert 'id="h-workers"' not in page_of(admin, make_engine("remote"))


def test_its_page_costs_the_same_however_much_there_is(admin: Client) -> None:
    engine, workflow = make_engine(), make_workflow()
    url = reverse("engine", args=[engine.pk])
    costs = []
    for _ in range(2):
        worker = make_worker()
        for number in range(3):
            run = make_run(
                workflow, engine=engine, state="RUNNING", failures=1, missing_since=timezone.now()
            )
            make_step(worker, run, f"step-{number}")
        admin.get(url)
        with CaptureQueriesContext(connection) as asked:
            assert admin.get(url).status_code == 200
        costs.append(len(asked.captured_queries))
    assert costs[0] == costs[1] <= 10
