"""The fake engine itself: its faults are real, repeatable, and it bears many runs."""

import json
import time
from collections.abc import Iterator

import pytest

from engines.base import EngineUnavailable, RunNotFound
from engines.config import clean_config
from engines.http import HttpDoor, request
from engines.testing.fake_http import FakeHttpEngine, Fault
from tests.adapters.remote.adapter import Adapter

CHAIN = {"tasks": [{"name": f"t{n}", "needs": [f"t{n - 1}"] if n else []} for n in range(10)]}


@pytest.fixture
def fake() -> Iterator[FakeHttpEngine]:
    with FakeHttpEngine() as fake:
        yield fake


def adapter_of(fake: FakeHttpEngine, **config: object) -> Adapter:
    values = {"url": fake.url, "submission": fake.engine.submission, **config}
    return Adapter(engine_id=1, name="fake", config=clean_config(Adapter.fields, values))


def faults_met(seed: int) -> list[int]:
    with FakeHttpEngine(seed=seed) as fake:
        fake.rates["GET"] = {Fault.ERROR: 0.3, Fault.NOT_FOUND: 0.3}
        return [request("GET", f"{fake.url}/health").status for _ in range(30)]


def test_the_same_seed_brings_the_same_faults() -> None:
    met = faults_met(1)
    assert met == faults_met(1)
    assert met != faults_met(2)
    assert set(met) == {200, 404, 500}


def test_a_lost_reply_was_done_and_a_dropped_request_was_not(fake: FakeHttpEngine) -> None:
    door = HttpDoor(fake.url)
    for tag, fault in (("lost", Fault.LOSE_REPLY), ("dropped", Fault.DROP)):
        fake.inject(fault, method="POST")
        with pytest.raises(EngineUnavailable):
            door.post("/runs", {"id": tag, "definition": CHAIN})
    assert fake.engine.starts == {"lost": 1}


@pytest.mark.parametrize(
    ("submission", "status", "starts"), [("A", 409, 1), ("B", 200, 2), ("C", 200, 2)]
)
def test_a_second_submit_does_what_its_class_says(
    submission: str, status: int, starts: int
) -> None:
    with FakeHttpEngine(submission=submission) as fake:
        for _ in range(2):
            answer = request("POST", f"{fake.url}/runs", json={"id": "wh-1-1", "definition": CHAIN})
        assert answer.status == status
        assert fake.engine.starts["wh-1-1"] == starts
        assert len(fake.engine.runs) == (2 if submission == "C" else 1)


def test_a_run_that_is_accepted_late_is_not_found_before() -> None:
    with FakeHttpEngine(submission="C", late_accept=0.2) as fake:
        adapter = adapter_of(fake)
        request("POST", f"{fake.url}/runs", json={"id": "wh-1-1", "definition": CHAIN})
        with pytest.raises(RunNotFound):
            adapter.find("wh-1-1")
        time.sleep(0.25)
        assert adapter.find("wh-1-1").external_id != "wh-1-1"


def test_a_run_goes_by_time_to_its_end() -> None:
    with FakeHttpEngine(tick=0.005) as fake:
        adapter = adapter_of(fake)
        fake.engine.submit("wh-1-1", CHAIN)
        until = time.monotonic() + 5
        while adapter.find("wh-1-1").state != "COMPLETED":
            assert time.monotonic() < until
            time.sleep(0.01)


def test_a_wrong_clock_shows_in_its_times(fake: FakeHttpEngine) -> None:
    fake.engine.clock_offset = -7200
    fake.engine.submit("wh-1-1", CHAIN)
    fake.engine.advance()
    started = adapter_of(fake).find("wh-1-1").started_at
    assert started is not None
    assert time.time() - started.timestamp() == pytest.approx(7200, abs=5)


def test_a_shuffled_page_holds_the_same_runs(fake: FakeHttpEngine) -> None:
    ids = [f"wh-{n}-1" for n in range(20)]
    for id in ids:
        fake.engine.submit(id, CHAIN)
    fake.rates["GET"] = {Fault.SHUFFLED: 1.0}
    (page,) = adapter_of(fake).observe(None, ids)
    seen = [snapshot.external_id for snapshot in page.snapshots]
    assert seen != ids
    assert sorted(seen) == sorted(ids)


def test_a_run_that_changes_while_its_list_is_paged_is_not_missed(fake: FakeHttpEngine) -> None:
    for n in range(6):
        fake.engine.submit(f"wh-{n}-1", CHAIN)
    adapter = adapter_of(fake, incremental=True)
    adapter.page_size = 2
    pages = adapter.observe(None, ())
    seen = [snapshot.external_id for snapshot in next(pages).snapshots]
    fake.engine.advance("wh-3-1")
    last = None
    for page in pages:
        seen += [snapshot.external_id for snapshot in page.snapshots]
        last = page.cursor
    assert set(seen) == {f"wh-{n}-1" for n in range(6)}
    (again,) = adapter.observe(last, ())
    assert [snapshot.external_id for snapshot in again.snapshots] == ["wh-3-1"]


def test_unknown_words_and_lost_runs_can_be_had(fake: FakeHttpEngine) -> None:
    fake.engine.submit("wh-1-1", CHAIN)
    adapter = adapter_of(fake)
    fake.inject(Fault.UNKNOWN_WORD)
    assert adapter.find("wh-1-1").state is None
    fake.engine.forget("wh-1-1")
    with pytest.raises(RunNotFound):
        adapter.find("wh-1-1")


def test_requests_are_counted_by_path(fake: FakeHttpEngine) -> None:
    fake.engine.submit("wh-1-1", CHAIN)
    adapter = adapter_of(fake)
    adapter.find("wh-1-1")
    adapter.cancel("wh-1-1")
    list(adapter.observe(None, ["wh-1-1"]))
    assert fake.requests == {"GET /runs/*": 1, "POST /runs/*/cancel": 1, "GET /runs": 1}


def test_nonsense_is_refused_and_the_engine_goes_on(fake: FakeHttpEngine) -> None:
    for body in (b"", b"[]", b"{", b'{"id": "x"}', json.dumps(
        {"id": "x", "definition": {"tasks": [{"name": "a", "needs": ["a"]}]}}
    ).encode()):  # fmt: skip
        assert request("POST", f"{fake.url}/runs", content=body).status == 400
    assert fake.engine.starts == {}
    assert request("GET", f"{fake.url}/nothing").status == 404


def test_ten_thousand_runs_of_ten_tasks_are_observed_in_twenty_requests(
    fake: FakeHttpEngine,
) -> None:
    ids = [f"wh-{n:06}-1" for n in range(10_000)]
    for id in ids:
        fake.engine.submit(id, CHAIN)
    fake.engine.advance()
    adapter = adapter_of(fake)
    before = time.monotonic()
    pages = list(adapter.observe(None, ids))
    assert sum(len(page.snapshots) for page in pages) == 10_000
    assert all(len(snapshot.tasks) == 10 for page in pages for snapshot in page.snapshots)
    assert fake.requests.total() == 20
    assert time.monotonic() - before < 30
