"""A workflow is paused and goes on from every face, and what has waited starts at once."""

import json
import time
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse

from runs import actions
from runs.models import Workflow, WorkflowRun
from runs.states import Reason, RunState
from tests.factories import make_token, make_user
from tests.reconciler.conftest import leases_held, wait_for

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def hub(make_hub, transactional_db):
    return make_hub()


def by_page(workflow, paused):
    client = Client()
    client.force_login(make_user())
    url = reverse("pause_workflow", args=[workflow.title])
    assert client.post(url, {"paused": str(int(paused))}).status_code == 302


def by_form(workflow, paused):
    client = Client()
    client.force_login(make_user())
    url = reverse("edit_workflow", args=[workflow.title])
    version = Workflow.objects.get(pk=workflow.pk).row_version
    fields = {"labels": "", "version": version} | ({"paused": "on"} if paused else {})
    assert client.post(url, fields).status_code == 302


def by_api(workflow, paused):
    answer = Client().patch(
        f"/api/v1/workflows/{workflow.pk}",
        json.dumps({"paused": paused}),
        content_type="application/json",
        headers={"authorization": f"Bearer {make_token()}"},
    )
    assert answer.json()["paused"] is paused


def by_admin(workflow, paused):
    client = Client()
    client.force_login(make_user(is_staff=True))
    url = reverse("admin:runs_workflow_deed", args=[workflow.pk, "edit"])
    fields = {"confirmed": "yes", "deed-labels": ""} | ({"deed-paused": "on"} if paused else {})
    assert client.post(url, fields).status_code == 302


def word_of(runs):
    rows = WorkflowRun.objects.filter(pk__in=[run.pk for run in runs]).order_by("pk")
    return [(row.state, row.reason) for row in rows]


def test_what_has_waited_starts_in_order_as_soon_as_the_pause_is_over_by_every_face(
    hub, start_loop, settings
):
    settings.WORKFLOWHUB_POLL = settings.WORKFLOWHUB_ACTIVE_POLL = 30
    workflow = hub.post()
    start_loop()
    wait_for(lambda: f"engine:{hub.engine.pk}" in leases_held())
    for face in (by_page, by_form, by_api, by_admin):
        face(workflow, True)
        runs = [actions.start_run(hub.actor, workflow) for _ in range(3)]
        wait_for(lambda runs=runs: word_of(runs) == [(RunState.PENDING, Reason.PAUSED)] * 3)
        face(workflow, False)
        took = wait_for(lambda runs=runs: word_of(runs) == [(RunState.SCHEDULED, "")] * 3)
        assert took < 2, face
        assert list(hub.fake.engine.starts)[-3:] == [f"wh-{run.uuid}-1" for run in runs]


def test_a_run_that_waits_says_what_for_when_that_changes(hub, start_loop):
    text = json.dumps({"title": "limited", "tasks": [{"name": "a"}]})
    workflow, _ = actions.post_workflow(hub.actor, definition=text, max_active_runs=1)
    start_loop()
    first, second = (actions.start_run(hub.actor, workflow) for _ in range(2))
    queued = [(RunState.SCHEDULED, ""), (RunState.PENDING, Reason.QUEUED)]
    wait_for(lambda: word_of([first, second]) == queued)
    by_api(workflow, True)
    wait_for(lambda: word_of([second]) == [(RunState.PENDING, Reason.PAUSED)])
    by_api(workflow, False)
    wait_for(lambda: word_of([first, second]) == queued)


def test_a_turn_that_one_engine_gives_up_is_taken_by_another_at_once(
    make_hub, hub, start_loop, settings
):
    settings.WORKFLOWHUB_POLL = 30
    other = make_hub()
    text = json.dumps({"title": "shared", "tasks": [{"name": "a"}]})
    workflow, _ = actions.post_workflow(hub.actor, definition=text, max_active_runs=1)
    start_loop()
    wait_for(lambda: len(leases_held()) >= 4)
    first = actions.start_run(hub.actor, workflow, engine=hub.engine)
    wait_for(lambda: word_of([first]) == [(RunState.SCHEDULED, "")])
    second = actions.start_run(hub.actor, workflow, engine=other.engine)
    wait_for(lambda: word_of([second]) == [(RunState.PENDING, Reason.QUEUED)])
    time.sleep(0.5)
    hub.fake.engine.finish()
    assert wait_for(lambda: word_of([second]) == [(RunState.SCHEDULED, "")]) < 2


def test_the_loop_stops_a_run_when_its_time_is_over_and_not_at_its_next_look(
    hub, start_loop, settings
):
    settings.WORKFLOWHUB_POLL = 30
    workflow = hub.post()
    actions.edit_workflow(hub.actor, workflow, run_timeout=timedelta(seconds=1))
    start_loop()
    run = actions.start_run(hub.actor, workflow)
    wait_for(lambda: hub.seen(run).state == RunState.SCHEDULED)
    hub.fake.engine.advance()
    wait_for(lambda: hub.seen(run).state == RunState.RUNNING)
    assert wait_for(lambda: hub.seen(run).state == RunState.FAILED) < 3
    seen = hub.seen(run)
    assert (seen.reason, seen.error) == (
        Reason.TIMEOUT,
        "The run took longer than its limit of 1 s (the workflow's run timeout).",
    )
