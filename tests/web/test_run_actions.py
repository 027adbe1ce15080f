"""What can be done to a run from its page."""

import pytest
from django.test import Client
from django.urls import reverse

from runs import actions
from runs.models import RunAttempt, WorkflowRun
from runs.policy import Actor
from runs.states import RunState, Wanted
from tests.factories import make_engine, make_run, make_workflow


def running() -> WorkflowRun:
    return make_run(
        make_workflow({"a": [], "b": ["a"]}),
        engine=make_engine(),
        state=RunState.RUNNING,
        task_states={"a": "RUNNING"},
    )


def test_cancel_asks_first_and_names_the_run(operator: Client) -> None:
    run = running()
    html = operator.get(reverse("cancel_run", args=[run.pk])).content.decode()
    assert f"Cancel run {run.pk} of {run.workflow}?" in html
    assert "Running now: a." in html
    run.refresh_from_db()
    assert run.wanted == Wanted.RUN


def test_cancel_is_done_once_however_often_it_is_sent(operator: Client) -> None:
    run = running()
    for _ in range(2):
        response = operator.post(reverse("cancel_run", args=[run.pk]), {"attempt": run.attempt})
        assert response["Location"] == reverse("run", args=[run.pk])
    run.refresh_from_db()
    assert run.wanted == Wanted.CANCEL
    assert run.events.filter(cause="cancel").count() == 1


def test_cancel_of_an_ended_run_changes_nothing(operator: Client, failed_run: WorkflowRun) -> None:
    response = operator.post(reverse("cancel_run", args=[failed_run.pk]), follow=True)
    assert "It has ended already" in response.content.decode()


def test_a_form_of_another_attempt_is_refused(operator: Client) -> None:
    run = running()
    response = operator.post(
        reverse("cancel_run", args=[run.pk]), {"attempt": run.attempt + 1}, follow=True
    )
    assert "Another attempt has begun meanwhile" in response.content.decode()
    run.refresh_from_db()
    assert run.wanted == Wanted.RUN


def test_retry_of_what_failed_takes_one_click(operator: Client, failed_run: WorkflowRun) -> None:
    url = reverse("retry_run", args=[failed_run.pk])
    for _ in range(2):
        operator.post(url, {"mode": "failed", "version": failed_run.version})
    failed_run.refresh_from_db()
    assert failed_run.attempt == 2
    assert failed_run.state == RunState.PENDING
    attempt = RunAttempt.objects.get(run=failed_run, number=2)
    assert attempt.tasks == [["transform", -1], ["load", -1]]


def test_a_stale_form_changes_nothing_and_shows_what_is_new(
    operator: Client, failed_run: WorkflowRun
) -> None:
    old = failed_run.version
    actions.edit_run(Actor(), failed_run, note="somebody else was here")
    response = operator.post(
        reverse("retry_run", args=[failed_run.pk]), {"mode": "failed", "version": old}, follow=True
    )
    html = response.content.decode()
    assert "The run changed meanwhile" in html
    assert "somebody else was here" in html
    failed_run.refresh_from_db()
    assert failed_run.attempt == 1


@pytest.mark.parametrize(
    ("query", "again"),
    [
        ("mode=failed", ["transform", "load"]),
        ("mode=all", ["extract", "transform", "load"]),
        ("mode=task&task={extract}", ["extract"]),
        ("mode=task&task={extract}&downstream=1", ["extract", "transform", "load"]),
        ("mode=task", []),
        ("mode=nonsense", ["transform", "load"]),
    ],
)
def test_the_preview_shows_what_will_run(
    operator: Client, failed_run: WorkflowRun, query: str, again: list[str]
) -> None:
    extract = failed_run.task_runs.get(name="extract")
    query = query.format(extract=extract.pk)
    response = operator.get(f"{reverse('retry_run', args=[failed_run.pk])}?{query}")
    assert [task.name for task in response.context["again"]] == again
    failed_run.refresh_from_db()
    assert failed_run.attempt == 1


def test_one_task_and_what_follows_it(operator: Client, failed_run: WorkflowRun) -> None:
    task = failed_run.task_runs.get(name="transform")
    operator.post(
        reverse("retry_run", args=[failed_run.pk]),
        {"mode": "task", "task": task.pk, "downstream": "1", "version": failed_run.version},
    )
    attempt = RunAttempt.objects.get(run=failed_run, number=2)
    assert attempt.tasks == [["transform", -1], ["load", -1]]


def test_a_retry_after_a_different_one_says_what_is_on_its_way_before_and_after_the_click(
    operator: Client, failed_run: WorkflowRun
) -> None:
    url = reverse("retry_run", args=[failed_run.pk])
    keys = dict(failed_run.task_runs.values_list("name", "pk"))
    operator.post(url, {"mode": "task", "task": keys["extract"]})
    said = f"Attempt 2 of run {failed_run.pk} (chosen tasks: extract), asked for by "
    for other in (
        f"{url}?mode=task&task={keys['load']}",
        f"{url}?mode=all",
        reverse("restart_run", args=[failed_run.pk]),
    ):
        response = operator.get(other)
        assert response.context["reason"].startswith(said)
        html = response.content.decode()
        assert said in html and "it is stopped first" not in html
    same = operator.get(f"{url}?mode=task&task={keys['extract']}")
    assert same.context["reason"] == ""
    html = operator.post(url, {"mode": "task", "task": keys["load"]}, follow=True).content.decode()
    assert said in html and "is being retried" not in html
    assert failed_run.attempts.count() == 2


def test_retry_of_an_active_run_stops_it_first(operator: Client) -> None:
    run = running()
    html = operator.get(f"{reverse('retry_run', args=[run.pk])}?mode=all").content.decode()
    assert "it is stopped first" in html
    operator.post(reverse("retry_run", args=[run.pk]), {"mode": "all", "attempt": run.attempt})
    run.refresh_from_db()
    assert (run.wanted, run.attempt) == (Wanted.CANCEL, 1)
    assert (
        "begins when attempt 1 has stopped"
        in operator.get(reverse("run", args=[run.pk])).content.decode()
    )


def test_restart_runs_everything(operator: Client, failed_run: WorkflowRun) -> None:
    url = reverse("restart_run", args=[failed_run.pk])
    assert "All 3 tasks run again" in operator.get(url).content.decode()
    operator.post(url, {"version": failed_run.version})
    assert RunAttempt.objects.get(run=failed_run, number=2).tasks == []


def test_a_held_run_is_started(operator: Client) -> None:
    run = make_run(engine=make_engine(), hold=True)
    operator.post(reverse("start_held_run", args=[run.pk]), {"attempt": 1})
    run.refresh_from_db()
    assert run.wanted == Wanted.RUN


def test_mark_wants_a_state_and_a_reason(operator: Client) -> None:
    run = running()
    url = reverse("mark_run", args=[run.pk])
    assert "The engine isn&#x27;t told" in operator.get(url).content.decode().replace(
        "isn't", "isn&#x27;t"
    )
    for data in ({}, {"state": "COMPLETED"}, {"note": "x"}, {"state": "RUNNING", "note": "x"}):
        assert operator.post(url, data).status_code == 400
    response = operator.post(url, {"state": "COMPLETED", "note": "Seen at the engine."})
    assert response.status_code == 302
    run.refresh_from_db()
    assert (run.state, run.marked) == (RunState.COMPLETED, True)


def test_note_and_labels_are_edited_with_errors_at_their_fields(
    operator: Client, failed_run: WorkflowRun
) -> None:
    url = reverse("edit_run", args=[failed_run.pk])
    bad = operator.post(url, {"note": "n", "labels": "not a key!=x"})
    assert bad.status_code == 400
    assert "is no label key" in bad.content.decode()
    operator.post(url, {"note": "Known trouble", "labels": "team=lab\nseen"})
    failed_run.refresh_from_db()
    assert failed_run.note == "Known trouble"
    assert {str(label) for label in failed_run.labels.all()} == {"team=lab", "seen="}


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "/\\evil", "x"])
def test_next_leads_nowhere_else(operator: Client, failed_run: WorkflowRun, target: str) -> None:
    response = operator.post(
        reverse("retry_run", args=[failed_run.pk]), {"mode": "all", "next": target}
    )
    assert response["Location"] == reverse("run", args=[failed_run.pk])


def test_next_leads_back_to_the_list(operator: Client, failed_run: WorkflowRun) -> None:
    back = f"{reverse('runs')}?state=FAILED"
    response = operator.post(
        reverse("retry_run", args=[failed_run.pk]), {"mode": "all", "next": back}
    )
    assert response["Location"] == back
