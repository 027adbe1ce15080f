"""The contract, for each way in which a remote engine takes a second submit, retries and is
observed.
"""

import json
from collections.abc import Iterator, Sequence
from typing import ClassVar

import pytest

from engines.base import EngineAdapter, WorkflowSpec
from engines.config import clean_config
from engines.testing.contract import EngineContract
from engines.testing.fake_http import FakeHttpEngine, Fault
from tests.adapters.remote.adapter import Adapter

TOKEN = "token-8f3c1d77"
WRONG_TOKEN = "wrong-5b0e92aa"
DEFINITION = {
    "title": "Fetch and align",
    "tasks": [
        {"name": "fetch"},
        {"name": "align", "needs": ["fetch"]},
        {"name": "report", "needs": ["align"]},
    ],
}


class RemoteContract(EngineContract):
    submission: ClassVar[str]
    in_place = False
    incremental = False
    fake: FakeHttpEngine

    @pytest.fixture(autouse=True)
    def engine(self, gap: None) -> Iterator[None]:
        with FakeHttpEngine(token=TOKEN, submission=self.submission) as self.fake:
            yield

    @pytest.fixture
    def adapter(self, engine: None) -> EngineAdapter:
        return self.make_adapter()

    def make_adapter(self, token: str = TOKEN) -> EngineAdapter:
        values = {
            "url": self.fake.url,
            "token": token,
            "submission": self.submission,
            "in_place": self.in_place,
            "incremental": self.incremental,
        }
        return Adapter(engine_id=1, name="fake", config=clean_config(Adapter.fields, values))

    def make_workflow(self) -> WorkflowSpec:
        return WorkflowSpec(
            id=1,
            title="Fetch and align",
            version=1,
            format="remote-json",
            definition=json.dumps(DEFINITION),
        )

    def start(self, run_id: str) -> None:
        self.fake.engine.advance(run_id)

    def finish(self, run_id: str) -> None:
        self.fake.engine.finish(run_id)

    def fail(self, run_id: str) -> None:
        self.fake.engine.fail(run_id, "fetch")

    def times_started(self, run_id: str) -> int:
        tag = self.fake.engine.runs[run_id].tag
        counts = self.fake.engine.starts
        return sum(count for key, count in counts.items() if key.partition("#")[0] == tag)

    def lose_next_reply(self) -> None:
        self.fake.inject(Fault.LOSE_REPLY, method="POST")

    def break_engine(self) -> None:
        self.fake.down = True

    def misspell(self, run_id: str) -> None:
        self.fake.engine.misspell(run_id)

    def break_second_page(self, adapter: EngineAdapter) -> None:
        adapter.page_size = 2
        self.fake.inject(Fault.ERROR, method="GET", path="/runs?", times=3, after=1)

    def mend(self) -> None:
        self.fake.clear()

    def make_stranger(self) -> EngineAdapter:
        return self.make_adapter(WRONG_TOKEN)

    def secrets(self) -> Sequence[str]:
        return [TOKEN, WRONG_TOKEN]

    def requests_made(self) -> int:
        return self.fake.requests.total()


class TestDeduplicates(RemoteContract):
    submission = "A"


class TestDeduplicatesInPlace(RemoteContract):
    submission = "A"
    in_place = True


class TestTakesOurId(RemoteContract):
    submission = "B"


class TestTakesOurIdInPlace(RemoteContract):
    submission = "B"
    in_place = True


class TestTagOnly(RemoteContract):
    submission = "C"


class TestTagOnlyInPlace(RemoteContract):
    submission = "C"
    in_place = True


class TestListsChanges(RemoteContract):
    submission = "A"
    incremental = True
