"""A run's way from PENDING to its end at an engine behind HTTP."""

import pytest

from runs.models import RunEvent, TaskTry
from runs.states import RunState, TaskState


@pytest.mark.parametrize("submission", ["A", "B", "C"])
@pytest.mark.parametrize("incremental", [False, True])
def test_a_run_is_sent_watched_and_seen_ended(make_hub, submission, incremental):
    hub = make_hub(submission=submission, incremental=incremental)
    run = hub.start()
    assert run.state == RunState.PENDING
    hub.sync()
    run = hub.seen(run)
    assert run.state == RunState.SCHEDULED
    assert run.scheduled_at is not None
    hub.fake.engine.advance()
    hub.sync()
    run = hub.seen(run)
    assert run.state == RunState.RUNNING
    assert run.task_runs.get(name="a").state == TaskState.RUNNING
    hub.fake.engine.finish()
    hub.sync()
    run = hub.seen(run)
    assert run.state == RunState.COMPLETED
    assert run.ended_at >= run.started_at >= run.scheduled_at >= run.created_at
    assert [task.state for task in run.task_runs.all()] == [TaskState.COMPLETED] * 2
    assert TaskTry.objects.filter(task_run__run=run, state=TaskState.COMPLETED).count() == 2
    assert run.next_check_at is None and not run.in_hand
    events = list(RunEvent.objects.filter(run=run).order_by("seq"))
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [event.new for event in events if event.task_run is None and event.new] == [
        "PENDING",
        "SCHEDULED",
        "RUNNING",
        "COMPLETED",
    ]
    assert list(hub.fake.engine.starts.values()) == [1]
