"""The tables of the states, written out: whoever changes one says so here too."""

import pytest

from runs import states
from runs.states import RunState as R
from runs.states import TaskState as T
from runs.states import Wanted

FORWARD = {
    R.PENDING: {R.SCHEDULED, R.RUNNING, R.COMPLETED, R.FAILED, R.CANCELED},
    R.SCHEDULED: {R.RUNNING, R.COMPLETED, R.FAILED, R.CANCELED},
    R.RUNNING: {R.COMPLETED, R.FAILED, R.CANCELED},
}


@pytest.mark.parametrize("old", R)
@pytest.mark.parametrize("new", R)
def test_a_run_only_moves_forward(old, new):
    assert states.may_move(old, new) is (new in FORWARD.get(old, set()))


def test_an_end_is_an_end():
    assert set(states.FINAL_RUN_STATES) == {R.COMPLETED, R.FAILED, R.CANCELED}
    assert set(states.ACTIVE_RUN_STATES) == {R.PENDING, R.SCHEDULED, R.RUNNING}
    assert set(states.FINAL_TASK_STATES) == {
        T.COMPLETED,
        T.FAILED,
        T.CANCELED,
        T.SKIPPED,
        T.UPSTREAM_FAILED,
    }


@pytest.mark.parametrize(
    "state, rank",
    [
        (R.PENDING, 0),
        (R.SCHEDULED, 1),
        (R.RUNNING, 2),
        *((end, 3) for end in sorted(FORWARD[R.RUNNING])),
    ],
)
def test_the_rank_of_a_run_is(state, rank):
    assert states.run_rank(state) == rank


@pytest.mark.parametrize(
    "state, rank",
    [
        (T.PENDING, 0),
        (T.SCHEDULED, 1),
        (T.RUNNING, 2),
        (T.RETRYING, 3),
        (T.COMPLETED, 4),
        (T.FAILED, 4),
        (T.CANCELED, 4),
        (T.SKIPPED, 4),
        (T.UPSTREAM_FAILED, 4),
    ],
)
def test_a_task_is_ordered_by_attempt_then_try_then_rank(state, rank):
    assert states.task_order(2, 5, state) == (2, 5, rank)


def test_every_state_has_a_tone_and_no_other_word_has():
    assert set(states.TONES) == set(R) | set(T)


@pytest.mark.parametrize(
    "state, wanted, shown",
    [
        (R.PENDING, Wanted.HOLD, "Held"),
        (R.RUNNING, Wanted.HOLD, R.RUNNING.label),
        (R.PENDING, Wanted.RUN, R.PENDING.label),
        (R.PENDING, Wanted.CANCEL, "Canceling"),
        (R.RUNNING, Wanted.CANCEL, "Canceling"),
        (R.CANCELED, Wanted.CANCEL, R.CANCELED.label),
        (R.COMPLETED, Wanted.CANCEL, R.COMPLETED.label),
        (R.FAILED, Wanted.RUN, R.FAILED.label),
    ],
)
def test_people_see(state, wanted, shown):
    assert states.shown_state(state, wanted) == shown
