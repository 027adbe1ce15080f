"""The contract, with the engine's tables and a worker that runs each step in this process."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from django.db import OperationalError, connection

from engines.adapters.local.adapter import Adapter
from engines.base import EngineAdapter, WorkflowSpec
from engines.dag import observing
from engines.dag.context import step_folder
from engines.dag.held import Taker
from engines.dag.leases import register
from engines.dag.logs import append
from engines.dag.models import Execution, Step, Worker
from engines.dag.outcome import Outcome, Taken
from engines.dag.turns import turn
from engines.logfile import format_line
from engines.models import Engine
from engines.states import TaskState
from engines.testing.contract import EngineContract

DEFINITION = {
    "title": "Fetch and align",
    "steps": [
        {"name": "fetch", "handler": "input"},
        {"name": "align", "handler": "input", "needs": ["fetch"]},
    ],
}
ASKING = {
    "title": "Ask",
    "steps": [
        {
            "name": "ask",
            "handler": "workflow",
            "with": {"workflow": "Other", "parameters": {"n": 1}},
        }
    ],
}


@pytest.mark.django_db(transaction=True)
class TestLocal(EngineContract):
    cannot: ClassVar[Mapping[str, str]] = {
        "test_bad_credentials_are_rejected_not_unavailable": "It needs no credentials.",
        "test_secrets_never_appear_in_errors_or_repr": "It has no secrets.",
    }
    most_requests = 10

    @pytest.fixture(autouse=True)
    def engine(
        self, gap: None, transactional_db: None, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[None]:
        self.monkeypatch = monkeypatch
        self.row = Engine.objects.create(name="local", kind="local")
        self.taker = Taker(register(1).pk, "here")
        self.taken: dict[str, Taken] = {}
        self.statements = 0
        with connection.execute_wrapper(self._count):
            yield

    @pytest.fixture
    def adapter(self, engine: None) -> EngineAdapter:
        return self.make_adapter()

    def _count(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        self.statements += 1
        return execute(sql, params, many, context)

    def make_adapter(self) -> EngineAdapter:
        return Adapter(engine_id=self.row.pk, name="local", config={})

    def make_workflow(self) -> WorkflowSpec:
        return WorkflowSpec(
            id=1,
            title="Fetch and align",
            version=1,
            format="workflowhub",
            definition=json.dumps(DEFINITION),
        )

    def make_asking_workflow(self) -> WorkflowSpec:
        return replace(self.make_workflow(), definition=json.dumps(ASKING))

    def start(self, run_id: str) -> None:
        (taken,) = turn(self.taker).taken
        assert taken.plan.external_id == run_id
        append(taken.log, (format_line("one", "out") + format_line("two", "err")).encode())
        self.taken[run_id] = taken

    def finish(self, run_id: str) -> None:
        while not Execution.objects.filter(external_id=run_id, ended_at__isnull=False).exists():
            if run_id not in self.taken:
                self.start(run_id)
            taken = self.taken.pop(run_id)
            stop = Step.objects.get(pk=taken.step_id).stop
            append(taken.log, format_line("three", "out").encode())
            self._end(taken, TaskState.CANCELED if stop else TaskState.COMPLETED, stop)

    def fail(self, run_id: str) -> None:
        self.start(run_id)
        self._end(self.taken.pop(run_id), TaskState.FAILED, "")

    def _end(self, taken: Taken, state: TaskState, reason: str) -> None:
        outcome = Outcome(
            execution_id=taken.plan.id,
            step_id=taken.step_id,
            token=taken.token,
            name=taken.spec.name,
            map_index=taken.map_index,
            state=state,
            result="{}" if state == TaskState.COMPLETED else None,
            reason=reason,
            error="It went wrong." if state == TaskState.FAILED else "",
            log=taken.log,
            stopped=bool(reason),
        )
        assert turn(self.taker, [outcome], want=0)[:2] == ([], [])

    def times_started(self, run_id: str) -> int:
        return Execution.objects.filter(external_id=run_id).count()

    def lose_next_reply(self) -> None:
        original = observing.find

        def lose(external_id: str) -> Any:
            self.monkeypatch.setattr(observing, "find", original)
            raise OperationalError("The server closed the connection.")

        self.monkeypatch.setattr(observing, "find", lose)

    def break_engine(self) -> None:
        self._break(lambda sql: "dag_" in sql or "clock" in sql)

    def leave_file(self, run_id: str, task: str, path: str, data: bytes) -> None:
        file = step_folder(run_id, task, -1) / path
        file.parent.mkdir(parents=True)
        file.write_bytes(data)

    def misspell(self, run_id: str) -> None:
        Execution.objects.filter(external_id=run_id).update(state="PONDERING")

    def break_second_page(self, adapter: EngineAdapter) -> None:
        adapter.page_size = 2
        seen: list[str] = []

        def later(sql: str) -> bool:
            if 'FROM "dag_execution"' in sql and "LIMIT" not in sql:
                seen.append(sql)
            return len(seen) > 2

        self._break(later)

    def _break(self, when: Any) -> None:
        def fail(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            if when(sql):
                raise OperationalError("The server closed the connection.")
            return execute(sql, params, many, context)

        self.wrapper = connection.execute_wrappers
        self.wrapper.append(fail)
        self.broken = fail

    @pytest.fixture(autouse=True)
    def mend_after(self, engine: None) -> Iterator[None]:
        yield
        if getattr(self, "broken", None) in connection.execute_wrappers:
            self.mend()

    def mend(self) -> None:
        connection.execute_wrappers.remove(self.broken)

    def make_stranger(self) -> EngineAdapter:
        return self.make_adapter()

    def secrets(self) -> Sequence[str]:
        return []

    def requests_made(self) -> int:
        return self.statements

    def test_it_is_unfit_and_says_why_when_no_worker_lives(self, adapter: EngineAdapter) -> None:
        Worker.objects.all().delete()
        health = adapter.health()
        assert not health.ok
        assert health.message == "No worker is running: start one with manage.py worker."
