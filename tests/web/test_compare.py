"""The page that compares two runs."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from runs.models import TaskRun, WorkflowRun
from runs.states import RunState, TaskState
from tests.factories import make_engine, make_run, make_workflow

NASTY = "</code><script>alert(1)</script>\u202e\x1b[31m"


class SeesNothing:
    """A permission factory that hides every object."""

    def allow(self, user: Any, action: str, obj: Any) -> bool:
        return True

    def visible(self, user: Any, queryset: Any) -> Any:
        return queryset.none()


def page(client: Client, a: Any, b: Any, status: int = 200) -> str:
    keys = [one.pk if isinstance(one, WorkflowRun) else one for one in (a, b)]
    response = client.get(reverse("compare"), {"a": keys[0], "b": keys[1]})
    assert response.status_code == status
    return str(response.content.decode())


def pair(**kw: Any) -> tuple[WorkflowRun, WorkflowRun]:
    """Of one workflow, completed; `kw` are the second one's own."""
    workflow, engine = make_workflow(), make_engine()
    now = timezone.now()
    same: dict[str, Any] = {"engine": engine, "state": RunState.COMPLETED}
    same |= {"started_at": now, "ended_at": now + timedelta(seconds=5)}
    return make_run(workflow, **same), make_run(workflow, **same | kw)


def test_without_runs_it_asks_for_them(viewer: Client) -> None:
    html = viewer.get(reverse("compare")).content.decode()
    assert 'name="a"' in html
    assert "Give the numbers of two runs" in html


def test_one_run_is_kept_in_the_form(viewer: Client) -> None:
    run = make_run()
    html = page(viewer, "", run)
    assert f'name="b" inputmode="numeric" size="8" value="{run.pk}"' in html


def test_equal_runs_are_told_so(viewer: Client) -> None:
    assert "Everything is the same, all 2 tasks too." in page(viewer, *pair())


def test_only_what_differs_is_shown(viewer: Client) -> None:
    a, b = pair(state=RunState.FAILED, parameters={"depth": 4}, labels={"team": "lab"})
    TaskRun.objects.filter(run=b, name="load").update(state=TaskState.FAILED, error="KeyError: 'x'")
    html = page(viewer, a, b)
    for text in ("depth", "team", "KeyError", "State", f"Run {a.pk}", "1 went the same way"):
        assert text in html
    assert ">extract<" not in html
    assert "Engine" not in html[html.index('id="h-facts"') :]
    task = b.task_runs.get(name="load")
    assert reverse("task", args=[b.pk, task.pk]) in html


def test_runs_of_two_workflows_are_compared_by_the_names_of_their_tasks(viewer: Client) -> None:
    a = make_run(make_workflow({"extract": [], "load": []}, title="one"))
    b = make_run(make_workflow({"extract": []}, title="two"))
    html = page(viewer, a, b)
    assert "They are runs of different workflows" in html
    assert "not in this run" in html


def test_another_version_leads_to_what_changed_in_it(viewer: Client) -> None:
    one = make_workflow(title="etl", version=1, latest=False)
    two = make_workflow(title="etl", version=2)
    assert "tab=versions&amp;diff=1..2" in page(viewer, make_run(one), make_run(two))


@pytest.mark.parametrize("number", ["x", "-1", "1.5", "9" * 30, "\u0661", "999999"])
def test_a_run_that_is_not_there_is_told_beside_the_form(viewer: Client, number: str) -> None:
    html = page(viewer, make_run(), number, status=404)
    assert 'role="alert"' in html
    assert 'name="a"' in html


def test_what_may_not_be_seen_is_not_there(viewer: Client, settings: Any) -> None:
    a, b = pair()
    settings.WORKFLOWHUB_PERMISSION_FACTORY = "tests.web.test_compare.SeesNothing"
    assert f"There is no run {a.pk}" in page(viewer, a, b, status=404)


def test_it_takes_a_log_in_and_only_reads(viewer: Client) -> None:
    assert Client().get(reverse("compare")).status_code == 302
    assert viewer.post(reverse("compare")).status_code == 405


def test_hostile_names_and_values_stay_text(viewer: Client) -> None:
    workflow = make_workflow({NASTY[:-6]: []})
    values = {"parameters": {NASTY: NASTY}, "state": RunState.FAILED, "error": NASTY}
    a, b = make_run(workflow), make_run(workflow, **values)
    TaskRun.objects.filter(run=b).update(error=NASTY, state=TaskState.FAILED)
    html = page(viewer, a, b)
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert "\u202e" not in html
    assert "\x1b" not in html
    assert "\\u202e" in html


def test_a_huge_value_is_cut(viewer: Client) -> None:
    a, b = pair(parameters={f"key{n}": "x" * 10_000 for n in range(300)})
    html = page(viewer, a, b)
    assert len(html) < 200_000
    assert "only the first 200 are listed" in html
