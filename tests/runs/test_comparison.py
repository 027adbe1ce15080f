"""Two runs side by side."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from runs import comparison
from runs.comparison import Comparison, notable
from runs.models import TaskRun, Workflow, WorkflowRun
from runs.states import RunState, TaskState
from tests.factories import make_engine, make_run, make_user, make_workflow

pytestmark = pytest.mark.django_db
NOW = timezone.now()


def ended(workflow: Workflow, seconds: float = 60, **kw: Any) -> WorkflowRun:
    kw.setdefault("state", RunState.COMPLETED)
    return make_run(workflow, started_at=NOW, ended_at=NOW + timedelta(seconds=seconds), **kw)


def compared(a: WorkflowRun, b: WorkflowRun) -> Comparison:
    rows = WorkflowRun.objects.for_list()
    return comparison.compare(rows.get(pk=a.pk), rows.get(pk=b.pk))


def test_equal_runs_are_the_same() -> None:
    workflow, engine = make_workflow(), make_engine()
    states = dict.fromkeys(("extract", "load"), TaskState.COMPLETED)
    a, b = (
        ended(workflow, engine=engine, parameters={"x": 1}, labels={"team": "lab"}, **kw)
        for kw in ({"task_states": states}, {"task_states": states, "seconds": 60.9})
    )
    found = compared(a, b)
    assert found.same
    assert (found.tasks_same, found.not_compared) == (2, ())


def test_what_differs_is_named_with_both_values() -> None:
    one = make_workflow(title="etl", version=1, latest=False)
    two = make_workflow(title="etl", version=2)
    a = ended(one, engine=make_engine(name="here"), parameters={"x": 1}, labels={"s": "1"})
    b = ended(
        two,
        seconds=90,
        engine=make_engine(name="there"),
        state=RunState.FAILED,
        error="KeyError",
        error_task="load",
        attempt=2,
        result={"rows": 3},
        parameters={"x": 2},
        labels={"s": "2"},
    )
    WorkflowRun.objects.filter(pk=b.pk).update(created_by=make_user(username="ada"))
    found = compared(a, b)
    facts = {fact.name: (fact.a, fact.b) for fact in found.facts}
    assert facts == {
        "state": ("COMPLETED", "FAILED"),
        "error": ("", "KeyError"),
        "error_task": ("", "load"),
        "created_by": (None, "ada"),
        "version": (1, 2),
        "engine": ("here", "there"),
        "attempt": (1, 2),
        "duration": (60.0, 90.0),
    }
    assert [one.path for one in found.parameters.rows] == ["x"]
    assert [(one.path, one.old, one.new) for one in found.labels.rows] == [("s", "1", "2")]
    assert found.result and not found.same


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (10.0, 10.9, False),
        (10.0, 11.2, True),
        (100.0, 109.0, False),
        (100.0, 120.0, True),
        (0.0, 1.0, True),
        (None, 5.0, False),
        (None, None, False),
    ],
)
def test_durations_differ_from_a_second_and_a_tenth_on(
    a: float | None, b: float | None, expected: bool
) -> None:
    assert notable(a, b) is notable(b, a) is expected


def set_task(run: WorkflowRun, name: str, **kw: Any) -> None:
    TaskRun.objects.filter(run=run, name=name).update(**kw)


def test_tasks_that_went_another_way_are_listed_the_slower_ones_last() -> None:
    names = ("same", "slow", "state", "error", "result", "both")
    workflow = make_workflow({name: [] for name in names})
    a, b = (ended(workflow, task_states=dict.fromkeys(names, "COMPLETED")) for _ in "ab")
    for run, seconds in ((a, 5), (b, 50)):
        set_task(run, "slow", started_at=NOW, ended_at=NOW + timedelta(seconds=seconds))
        set_task(run, "both", result={"a": 1, "b": [True, None, "ü\u202e"]})
        set_task(run, "result", result={"rows": seconds})
    set_task(b, "state", state=TaskState.FAILED)
    set_task(b, "error", error="KeyError")
    found = compared(a, b)
    assert [(str(task), task.differs) for task in found.tasks] == [
        ("state", ("state",)),
        ("error", ("error",)),
        ("result", ("result",)),
        ("slow", ("duration",)),
    ]
    assert found.tasks_same == 2


def test_a_task_that_one_run_has_not_got_differs() -> None:
    a = ended(make_workflow({"extract": [], "load": []}, title="etl"))
    b = ended(make_workflow({"extract": []}, title="other"))
    found = compared(a, b)
    (task,) = found.tasks
    assert (task.name, task.b, task.differs) == ("load", None, ("state",))
    assert "different workflows" in found.not_compared[0]


def test_mapped_instances_are_compared_one_by_one() -> None:
    workflow = make_workflow({"each": []})
    a, b = ended(workflow), ended(workflow)
    for run, states in ((a, "CC"), (b, "CF")):
        for index, state in enumerate(states):
            word = TaskState.FAILED if state == "F" else TaskState.COMPLETED
            TaskRun.objects.create(run=run, name="each", map_index=index, state=word)
    assert [str(task) for task in compared(a, b).tasks] == ["each[1]"]


def test_hooks_are_no_tasks() -> None:
    workflow = make_workflow()
    a, b = ended(workflow), ended(workflow)
    TaskRun.objects.create(run=a, name="on_failure", kind=TaskRun.Kind.HOOK)
    assert compared(a, b).same


def test_what_cannot_be_compared_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    workflow = make_workflow({f"t{n}": [] for n in range(5)})
    a, b = ended(workflow), make_run(workflow, state=RunState.RUNNING)
    assert any(f"Run {b.pk} hasn't ended" in text for text in compared(a, b).not_compared)
    assert compared(a, a).not_compared[0] == "It is the same run twice."
    monkeypatch.setattr(comparison, "MOST_TASKS", 3)
    found = compared(a, b)
    assert found.more_tasks and found.not_compared[-1].startswith("Only the first 3 tasks")
    assert found.tasks_same + len(found.tasks) <= 3


def test_many_tasks_take_no_more_queries() -> None:
    def asked(number: int) -> int:
        workflow = make_workflow({f"t{n}": [] for n in range(number)})
        a, b = ended(workflow), ended(workflow)
        with CaptureQueriesContext(connection) as captured:
            compared(a, b)
        return len(captured)

    assert asked(30) == asked(2) <= 5
