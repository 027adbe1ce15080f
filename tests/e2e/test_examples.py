"""What a new hub has to show really runs there, at whatever port it serves."""

from pathlib import Path

import pytest

from runs import actions
from runs.models import Workflow
from runs.policy import Actor
from runs.states import RunState
from tests.e2e.hubs import is_up, up
from tests.e2e.processes import eventually


@pytest.mark.faults
def test_the_hub_looks_at_its_own_health_wherever_it_is(database_url: str, tmp_path: Path) -> None:
    for _ in range(2):  # the second time at another port
        with up(tmp_path, database_url, WORKFLOWHUB_EXAMPLES="true") as hub:
            eventually(lambda hub=hub: is_up(hub.url), seconds=60, what="the hub answers")
            workflow = Workflow.objects.get(title="hub-health")
            run = actions.start_run(Actor(), workflow)

            def ended(run=run) -> bool:
                run.refresh_from_db()
                return run.final

            eventually(ended, what="the run ends")
            assert run.state == RunState.COMPLETED, run.error
            assert run.result["report"] == (
                f"{hub.url}/api/v1/health/live answered 200: it is alive."
            )
