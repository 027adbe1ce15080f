"""The landing page."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from engines.states import HealthState
from runs.models import WorkflowPace, WorkflowRun
from runs.states import RunState, Wanted
from tests.factories import make_engine, make_run, make_workflow

URL = reverse("overview")


def fail(number: int, fingerprint: str = "same", **kw: object) -> list[WorkflowRun]:
    workflow = make_workflow({"a": []})
    engine = make_engine()
    return [
        make_run(
            workflow,
            engine=engine,
            state=RunState.FAILED,
            error="KeyError: 'minus'",
            error_task="a",
            fingerprint=fingerprint,
            ended_at=timezone.now() - timedelta(minutes=5),
            **kw,
        )
        for _ in range(number)
    ]


def test_where_nothing_failed_nothing_needs_you(admin: Client) -> None:
    make_run(engine=make_engine(), state=RunState.COMPLETED)
    html = admin.get(URL).content.decode()
    assert "Nothing needs you." in html
    assert "No run has failed" in html


def test_an_empty_hub_asks_for_a_workflow(admin: Client) -> None:
    assert "Post a workflow to begin with." in admin.get(URL).content.decode()


def test_a_hub_where_nothing_ran_offers_workflows_to_run(admin: Client) -> None:
    workflow = make_workflow({"a": []}, title="first steps")
    html = admin.get(URL).content.decode()
    assert "Nothing has run yet." in html
    assert 'href="/workflows/first%20steps/run/"' in html
    make_run(workflow, engine=make_engine(), state=RunState.COMPLETED)
    html = admin.get(URL).content.decode()
    assert "Nothing has run yet." not in html
    assert "Nothing needs you." in html


@pytest.mark.django_db
def test_who_has_no_role_is_told_so(client: Client) -> None:
    client.force_login(User.objects.create_user("newcomer"))
    html = client.get(URL).content.decode()
    assert "You have no role yet." in html
    assert "put newcomer into one of the groups" in html
    assert "Nothing needs you." not in html
    assert "No engine is registered." not in html


def test_failures_of_one_kind_are_one_row(admin: Client) -> None:
    fail(3)
    response = admin.get(URL)
    html = response.content.decode()
    assert len(response.context["groups"]) == 1
    assert response.context["groups"][0]["number"] == 3
    assert html.count("KeyError: &#x27;minus&#x27;</a>") == 1
    assert "<title>(3) Overview" in html


def test_a_failure_stays_while_a_rerun_of_it_is_under_way(admin: Client) -> None:
    (failed,) = fail(1)
    rerun = make_run(failed.workflow, engine=failed.engine, previous=failed, state=RunState.RUNNING)
    assert [group["newest"] for group in admin.get(URL).context["groups"]] == [failed.pk]
    WorkflowRun.objects.filter(pk=failed.pk).update(resolved_by=rerun)
    assert admin.get(URL).context["groups"] == []


def test_a_run_that_no_engine_takes_is_stuck(admin: Client) -> None:
    run = make_run(engine=None)
    assert run.reason == "no_engine"
    paused = make_run(engine=make_engine(), reason="paused")
    response = admin.get(URL)
    html = response.content.decode()
    assert (response.context["running"], response.context["active"]) == ([paused], 1)
    assert "Its workflow is paused" in html
    assert "won&#x27;t go on without a person" in html or "won't go on without a person" in html
    assert f"#{run.pk}" in html
    assert "Nothing needs you." not in html


def test_a_flagged_run_and_a_sick_engine_are_stuck(admin: Client) -> None:
    engine = make_engine(health=HealthState.UNHEALTHY, health_message="No route to host")
    make_run(engine=engine, state=RunState.RUNNING, wanted=Wanted.CANCEL, flags={"stuck": True})
    html = admin.get(URL).content.decode()
    assert "Asked to stop and still running" in html
    assert "No route to host" in html


def test_a_disabled_engine_is_not_sick(admin: Client) -> None:
    make_engine(health=HealthState.UNHEALTHY, enabled=False)
    assert "Nothing needs you." in admin.get(URL).content.decode()


def test_running_runs_show_how_far_they_are(admin: Client) -> None:
    make_run(
        make_workflow({"a": [], "b": ["a"]}),
        engine=make_engine(),
        state=RunState.RUNNING,
        task_states={"a": "COMPLETED"},
    )
    assert "1/2" in admin.get(URL).content.decode()


def test_an_unchanged_poll_is_empty_and_a_changed_one_is_the_part(admin: Client) -> None:
    (failed,) = fail(1)
    token = admin.get(URL).context["token"]
    same = admin.get(f"{URL}?v={token}", headers={"HX-Request": "true"})
    assert same.status_code == 204
    assert same.content == b""
    make_run(failed.workflow, engine=failed.engine)
    changed = admin.get(f"{URL}?v={token}", headers={"HX-Request": "true"})
    assert changed.status_code == 200
    assert changed.content.lstrip().startswith(b'<div id="live"')
    assert "HX-Request" in changed["Vary"]


def test_a_viewer_cannot_press_retry(viewer: Client) -> None:
    fail(1)
    html = viewer.get(URL).content.decode()
    assert "The role viewer may not retry runs." in html


def test_its_queries_do_not_grow_with_the_rows(
    admin: Client, django_assert_max_num_queries: Callable[..., object]
) -> None:
    fail(3)
    for number in range(8):
        fail(1, fingerprint=f"kind {number}")
        make_run(engine=make_engine(), state=RunState.RUNNING)
    with django_assert_max_num_queries(22):  # session, user, role; 4 of the token; the lists
        assert admin.get(URL).status_code == 200


def test_an_unchanged_poll_asks_little(
    admin: Client, django_assert_max_num_queries: Callable[..., object]
) -> None:
    fail(3)
    token = admin.get(URL).context["token"]
    with django_assert_max_num_queries(7):  # session, user, role and the token's four
        admin.get(f"{URL}?v={token}", headers={"HX-Request": "true"})


def test_a_late_run_is_told_with_how_long_it_usually_takes(admin: Client) -> None:
    began = timezone.now() - timedelta(minutes=10)
    run = make_run(engine=make_engine(), state=RunState.RUNNING, started_at=began)
    WorkflowPace.objects.create(workflow=run.workflow.title, p50=30, p95=60)
    waiting = make_run(
        engine=make_engine(),
        state=RunState.SCHEDULED,
        scheduled_at=timezone.now() - timedelta(hours=1),
    )
    response = admin.get(URL)
    html = response.content.decode()
    assert [one.run.pk for one in response.context["late"]] == [run.pk, waiting.pk]
    assert response.context["running"] == [] and response.context["active"] == 0
    assert "95 % of its workflow&#x27;s runs are done within 1 m 00 s" in html.replace(
        "'", "&#x27;"
    )
    assert "has had it for" in html
    assert html.count("Stuck or late") == 1
    assert "Nothing needs you." not in html


def test_a_group_tells_its_hours_and_its_reruns(admin: Client) -> None:
    runs = fail(2)
    make_run(runs[0].workflow, engine=runs[0].engine, previous=runs[0])
    html = admin.get(URL).content.decode()
    assert "Last 24 hours: 2 failures, at most 2 in an hour" in html
    assert "1 rerun under way" in html


def test_an_engine_tells_what_waits_there(admin: Client) -> None:
    engine = make_engine()
    for state in (RunState.RUNNING, RunState.SCHEDULED, RunState.PENDING, RunState.COMPLETED):
        make_run(engine=engine, state=state)
    assert "3 active, 2 of them waiting" in admin.get(URL).content.decode()
