"""The page of one run."""

import json
import re
import shlex
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from engines.adapters.local.adapter import Adapter
from runs.models import TaskRun, WorkflowRun
from runs.states import Reason, RunState, Wanted
from runs.web.pages.run import TABS
from tests.factories import make_engine, make_run, make_workflow
from tests.web.conftest import write_log


def page(client: Client, run: WorkflowRun, query: str = "") -> str:
    response = client.get(f"{reverse('run', args=[run.pk])}?{query}")
    assert response.status_code == 200
    return str(response.content.decode())


def test_a_failed_run_says_why_first(admin: Client, failed_run: WorkflowRun) -> None:
    task = failed_run.task_runs.get(name="transform")
    lines = [f"line {n}" for n in range(1, 101)] + ["KeyError: 'minus'", "the try ended"]
    write_log(task, lines)
    html = page(admin, failed_run)
    assert html.index("Why it failed") < html.index('class="tabs"')
    assert 'class="l hit"' in html
    assert "line 100" in html
    assert "line 60" not in html
    assert f"?mode=task&amp;task={task.pk}&amp;downstream=1" in html


def test_the_error_line_is_found_when_the_run_names_its_task_before_it(
    admin: Client, failed_run: WorkflowRun
) -> None:
    task = failed_run.task_runs.get(name="transform")
    TaskRun.objects.filter(pk=task.pk).update(error="sh ended with exit code 3.")
    WorkflowRun.objects.update(error="transform: sh ended with exit code 3.")
    write_log(task, ["going down", "sh ended with exit code 3."])
    assert 'class="l hit"' in page(admin, failed_run)
    assert "transform: transform:" not in admin.get(reverse("runs")).content.decode()


def test_the_cascade_is_not_taken_for_the_cause(admin: Client, failed_run: WorkflowRun) -> None:
    response = admin.get(reverse("run", args=[failed_run.pk]))
    assert response.context["root"].name == "transform"
    assert "Upstream failed" in response.content.decode()


@pytest.mark.parametrize("tab", [*TABS, "nonsense", ""])
def test_every_part_has_an_address(admin: Client, failed_run: WorkflowRun, tab: str) -> None:
    assert 'aria-current="page"' in page(admin, failed_run, f"tab={tab}")


def test_the_graph_shows_states_and_leads_to_tasks(admin: Client, failed_run: WorkflowRun) -> None:
    html = page(admin, failed_run, "tab=graph")
    task = failed_run.task_runs.get(name="transform")
    assert "node t-bad" in html
    assert f'href="{reverse("task", args=[failed_run.pk, task.pk])}"' in html


def test_an_active_run_polls_and_a_final_one_rests(admin: Client, failed_run: WorkflowRun) -> None:
    assert "hx-trigger" not in page(admin, failed_run)
    active = make_run(engine=make_engine(), state=RunState.RUNNING)
    assert 'hx-trigger="every 1s"' in page(admin, active)


def test_the_poll_that_sees_the_end_stops_polling(admin: Client) -> None:
    run = make_run(engine=make_engine(), state=RunState.RUNNING)
    url = reverse("run", args=[run.pk])
    token = admin.get(url).context["token"]
    headers = {"HX-Request": "true"}
    assert admin.get(f"{url}?v={token}", headers=headers).status_code == 204
    WorkflowRun.objects.filter(pk=run.pk).update(state=RunState.COMPLETED, version=9)
    last = admin.get(f"{url}?v={token}", headers=headers).content.decode()
    assert last.lstrip().startswith('<div id="live"')
    assert "hx-trigger" not in last
    assert "Completed" in last


def test_a_poll_of_a_tab_keeps_the_tab(admin: Client) -> None:
    run = make_run(engine=make_engine(), state=RunState.RUNNING)
    html = page(admin, run, "tab=events")
    assert "?tab=events&amp;v=" in html


def test_progress_and_message_of_a_running_task_show(admin: Client) -> None:
    run = make_run(
        make_workflow({"a": []}),
        engine=make_engine(),
        state=RunState.RUNNING,
        task_states={"a": "RUNNING"},
    )
    TaskRun.objects.filter(run=run).update(progress=0.42, message="block 42 of 100")
    html = page(admin, run)
    assert "42 %" in html
    assert "block 42 of 100" in html


@pytest.mark.parametrize(
    ("state", "wanted", "word"),
    [
        (RunState.RUNNING, Wanted.CANCEL, "Canceling"),
        (RunState.PENDING, Wanted.HOLD, "Held"),
        (RunState.SCHEDULED, Wanted.RUN, "Scheduled"),
    ],
)
def test_the_word_is_the_one_that_people_use(
    admin: Client, state: str, wanted: str, word: str
) -> None:
    run = make_run(engine=make_engine(), state=state, wanted=wanted)
    assert f"<span>{word}</span>" in page(admin, run)


def test_what_the_engine_cannot_do_is_disabled_with_the_reason(
    admin: Client, failed_run: WorkflowRun
) -> None:
    assert failed_run.engine is not None
    failed_run.engine.capabilities["retry_task"] = "It only knows whole runs."
    failed_run.engine.capabilities["retry_failed"] = "It only knows whole runs."
    failed_run.engine.save()
    html = page(admin, failed_run)
    assert f"{failed_run.engine.name}: It only knows whole runs." in html
    assert 'mode=task"' not in html


def test_what_the_role_may_not_do_is_disabled_with_the_reason(
    viewer: Client, failed_run: WorkflowRun
) -> None:
    html = page(viewer, failed_run)
    assert "The role viewer may not retry runs." in html
    assert "data-dialog" not in html


def test_a_run_without_engine_says_what_to_do(admin: Client) -> None:
    run = make_run()
    assert "No enabled engine takes the format workflowhub" in page(admin, run)


def test_more_tasks_take_no_more_queries(admin: Client) -> None:
    def asked(number: int) -> int:
        run = make_run(
            make_workflow({f"t{n}": [] for n in range(number)}),
            engine=make_engine(),
            state=RunState.RUNNING,
        )
        with CaptureQueriesContext(connection) as captured:
            page(admin, run)
        return len(captured)

    assert asked(50) == asked(5) <= 10


def test_an_unchanged_poll_asks_for_one_row(
    admin: Client, django_assert_max_num_queries: Callable[..., object]
) -> None:
    run = make_run(engine=make_engine(), state=RunState.RUNNING)
    url = reverse("run", args=[run.pk])
    token = admin.get(url).context["token"]
    with django_assert_max_num_queries(4):  # session, user, role, the run
        admin.get(f"{url}?v={token}", headers={"HX-Request": "true"})


def test_a_run_says_until_when_it_may_go_on_and_why_it_is_stopped(admin: Client) -> None:
    soon = timezone.now() + timedelta(minutes=90)
    run = make_run(engine=make_engine(), state=RunState.RUNNING, deadline_at=soon)
    assert "May run until" in page(admin, run)
    WorkflowRun.objects.update(wanted=Wanted.CANCEL, reason=Reason.TIMEOUT)
    html = page(admin, run)
    assert "Canceling" in html
    assert "Ran out of time" in html


def failed_after(before: WorkflowRun, **kw: Any) -> WorkflowRun:
    kw.setdefault("engine", before.engine)
    return make_run(
        before.workflow, state=RunState.FAILED, error="KeyError", fingerprint="f" * 64, **kw
    )


def test_a_failure_tells_what_changed_since_the_last_success(admin: Client) -> None:
    engine = make_engine(name="airflow-prod")
    old = make_workflow(title="etl", version=1, latest=False)
    new = make_workflow(title="etl", version=2)
    before = make_run(old, engine=engine, state=RunState.COMPLETED, parameters={"depth": 3})
    run = make_run(
        new, engine=make_engine(name="here"), state=RunState.FAILED, error="KeyError",
        parameters={"depth": 4, "more": [1]}, labels={"team": "lab"},
    )  # fmt: skip
    html = page(admin, run)
    card = html[html.index("Since the last success") : html.index("Others like it")]
    assert reverse("run", args=[before.pk]) in card
    assert "v1" in card and "v2" in card and "tab=versions&amp;diff=1..2" in card
    assert "airflow-prod" in card and "here" in card
    assert "depth" in card and "more" in card and "team" in card
    assert f"?a={before.pk}&amp;b={run.pk}" in card


def test_nothing_changed_is_said(admin: Client) -> None:
    before = make_run(engine=make_engine(), state=RunState.COMPLETED)
    html = page(admin, failed_after(before))
    assert "Version, engine, attempt, parameters and labels are the same." in html


def test_without_a_success_that_is_said(admin: Client, failed_run: WorkflowRun) -> None:
    assert "before this one has completed." in page(admin, failed_run)


def test_other_failures_of_its_kind_lead_to_the_list(admin: Client) -> None:
    first = make_run(engine=make_engine(), state=RunState.COMPLETED)
    failed_after(first, ended_at=timezone.now())
    alone = page(admin, WorkflowRun.objects.get(state=RunState.FAILED))
    assert "No other open failure is like this one." in alone
    html = page(admin, failed_after(first, ended_at=timezone.now()))
    assert "1 other open failure</a>" in html
    assert f"?state=FAILED&amp;fingerprint={'f' * 64}" in html


def test_the_error_leads_to_its_line_in_the_whole_log(
    admin: Client, failed_run: WorkflowRun
) -> None:
    task = failed_run.task_runs.get(name="transform")
    one = write_log(task, [f"line {n}" for n in range(1, 701)] + ["KeyError: 'minus'", "ended"])
    html = page(admin, failed_run)
    link = f"{reverse('logs', args=[failed_run.pk])}?task={task.pk}&amp;try={one.pk}#L701"
    assert link in html
    whole = admin.get(link.replace("&amp;", "&")).content.decode()
    assert 'id="L701"' in whole


def test_a_line_of_a_megabyte_is_cut_on_the_card(admin: Client, failed_run: WorkflowRun) -> None:
    write_log(failed_run.task_runs.get(name="transform"), ["x" * 1_000_000, "KeyError: 'minus'"])
    assert len(page(admin, failed_run)) < 60_000


def test_parameters_are_compared_with_the_run_before_or_the_last_success(admin: Client) -> None:
    workflow, engine = make_workflow(), make_engine()
    made = {"engine": engine, "state": RunState.COMPLETED}
    first = make_run(workflow, parameters={"depth": 1}, **made)
    second = make_run(workflow, parameters={"depth": 2}, **made)
    run = make_run(workflow, previous=first, parameters={"depth": 3}, **made)
    html = page(admin, run, "tab=parameters")
    assert f"#{first.pk}, the run that it repeats" in html
    assert f"#{second.pk}, the last success before it" in html
    assert re.search(r">1</td>.*→</span> 3</td>", html)
    assert re.search(r">2</td>.*→</span> 3</td>", page(admin, run, "tab=parameters&with=success"))
    assert re.search(r">1</td>.*→</span> 3</td>", page(admin, run, "tab=parameters&with=nonsense"))


def test_parameters_of_a_first_run_have_nothing_to_be_compared_with(admin: Client) -> None:
    html = page(admin, make_run(parameters={"depth": 1}), "tab=parameters")
    assert "There is no earlier run" in html
    assert "&quot;depth&quot;: 1" in html


def test_the_engines_own_page_is_linked_where_it_has_one(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(engine=make_engine(), state=RunState.RUNNING, external_id="wh-1")
    assert "its own page" not in page(admin, run)
    links = {
        "https://ada:secret@engine.example/runs/wh-1": True,
        "javascript:alert(1)": False,
        "https://[": False,
    }
    for address, shown in links.items():
        monkeypatch.setattr(Adapter, "link", lambda self, key, address=address: address)
        html = page(admin, run)
        assert ('href="https://engine.example/runs/wh-1"' in html) is shown
        assert "ada:" not in html and "javascript:" not in html


def test_a_run_is_started_again_by_a_command_to_copy(admin: Client) -> None:
    nasty = "it's </pre><script>alert(1)</script>\u202e $(id) `id`"
    engine = make_engine(name="here")
    run = make_run(
        make_workflow(title="etl"), engine=engine, parameters={"x": nasty}, labels={"team": "lab"}
    )
    html = page(admin, run, "tab=raw")
    found = re.search(r'id="curl-text"[^>]*>(.*?)</pre>', html, re.DOTALL)
    assert found
    words = shlex.split(unescape(found[1]).replace("\\\n", " "))
    assert words[:4] == ["curl", "-sS", "-X", "POST"]
    assert words[4].endswith("/api/v1/workflow-runs")
    assert json.loads(words[-1]) == {
        "workflow": {"title": "etl", "version": 1},
        "parameters": {"x": nasty},
        "labels": {"team": "lab"},
        "engine": "here",
    }
    assert "\u202e" not in found[1]


def test_a_command_with_too_many_values_takes_them_from_the_run(admin: Client) -> None:
    run = make_run(parameters={"x": "y" * 60_000})
    assert f"/api/v1/workflow-runs/{run.pk}/rerun" in page(admin, run, "tab=raw")


def test_hostile_parameters_and_errors_stay_text(admin: Client) -> None:
    nasty = "</pre><script>alert(1)</script>\u202e\x1b[31m"
    before = make_run(engine=make_engine(), state=RunState.COMPLETED, parameters={nasty: 1})
    run = failed_after(before, parameters={nasty: nasty})
    WorkflowRun.objects.filter(pk=run.pk).update(error=nasty)
    html = page(admin, run) + page(admin, run, "tab=parameters") + page(admin, run, "tab=raw")
    assert "<script>alert" not in html
    assert "\u202e" not in html and "\x1b" not in html
