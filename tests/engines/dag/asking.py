"""Steps that ask for runs, and answers to them."""

from datetime import UTC, datetime

from engines.base import ChildOutcome
from engines.states import RunState
from tests.engines.dag.driving import step

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def child(name, *needs, arguments=None, **more):
    return step(
        name,
        *needs,
        handler="workflow",
        **more,
        **{"with": {"workflow": "Other"} | (arguments or {})},
    )


def asked(adapter, external_id):
    return {request.task: request for request in adapter.find(external_id).requests}


def answer(adapter, external_id, task, state=RunState.COMPLETED, *, map_index=-1, **more):
    key = asked(adapter, external_id)[task, map_index].key
    outcome = ChildOutcome(run_id=12, uuid="u-12", state=state, **more)
    adapter.answer(external_id, key, outcome)
    return key, outcome
