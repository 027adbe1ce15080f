"""The database dies under a hub and comes back."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from django.db import OperationalError, connection

from engines.dag import leases
from engines.dag.models import StepTry, Worker
from engines.states import RunState
from runs import actions
from runs.models import WorkflowRun
from runs.policy import Actor
from runs.reconciler import handle, intents
from tests.database import EmbeddedPostgreSQL
from tests.e2e.hubs import ask, up
from tests.e2e.processes import eventually
from tests.engines.dag.driving import execution, step, step_row, submit
from tests.engines.dag.workers import WorkerProcess, wait_for_end
from tests.factories import make_engine, make_token
from tests.faults.chains import all_end, alone, chain, ended_once, start
from tests.faults.chance import chance, scaled
from tests.faults.own import OwnPostgreSQL
from tests.faults.proxy import Proxy
from tests.reconciler.conftest import Hub

pytestmark = pytest.mark.faults

# As in production, whatever the other tests use.
DEFAULTS = {
    "WORKFLOWHUB_LEASE": "10",
    "WORKFLOWHUB_HEARTBEAT": "5",
    "WORKFLOWHUB_WORKER_LOST_AFTER": "13",
    "WORKFLOWHUB_POLL": "10",
    "WORKFLOWHUB_ACTIVE_POLL": "1",
}
RECOVERED = 5.0  # seconds


def test_fault_06_26_a_hub_whose_database_dies_again_and_again_recovers_by_itself(
    postgresql: OwnPostgreSQL,
    own_database: str,
    tmp_path: Path,
    settings: Any,
    record_property: Any,
) -> None:
    settings.WORKFLOWHUB_LEASE = float(DEFAULTS["WORKFLOWHUB_LEASE"])  # for fsck
    make_engine("local", name="local")
    token = make_token()
    rng, times = chance("database"), []
    for n in range(2):
        start(chain(tmp_path, f"run{n}", steps=8, seconds=0.5))
    with up(tmp_path, own_database, "--only", "web,sync,worker", "--port", "0", **DEFAULTS) as hub:
        url = hub.url
        eventually(lambda: len(list(tmp_path.glob("*-1"))) == 2, what="the runs go on")
        for at in range(scaled(3)):
            [postgresql.server.stop_at_once, postgresql.server.kill][at % 2]()
            is_unavailable(url, token)
            time.sleep(rng.uniform(0, 3))
            connection.close()  # this process's own, which nobody else mends
            postgresql.server.start()
            times.append(recovers(url, token, tmp_path, at))
        all_end()
        shown = ", ".join(f"{answered:.2f}/{done:.2f}" for answered, done in times)
        record_property(
            "figure", f"Database back, seconds until the API answers/a run is done: {shown}"
        )
        assert "Starting it again" not in hub.said, hub.said
        assert hub.process.poll() is None
    ended_once(tmp_path)
    assert StepTry.objects.count() == 0, "A step was tried twice though its worker lived."


def is_unavailable(url: str, token: str) -> None:
    for path in ("/api/v1/health", "/api/v1/health/ready", "/api/v1/workflow-runs"):
        answer = ask(url, path, authorization=f"Bearer {token}")
        assert answer and answer.status == 503, (path, answer)
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) <= RECOVERED
        assert "database" in answer.json["detail"]
    page = ask(url, "/runs/", cookie=f"sessionid={'x' * 32}")
    live = ask(url, "/api/v1/health/live")
    assert page and live
    assert (page.status, live.status) == (503, 200)
    assert int(page.headers["retry-after"]) <= RECOVERED


def recovers(url: str, token: str, folder: Path, number: int) -> tuple[float, float]:
    """All of it, in time: seconds until the API answers, and until a run that is started ends."""
    began = time.monotonic()

    def answers() -> bool:
        answer = ask(url, "/api/v1/health", authorization=f"Bearer {token}")
        return bool(answer and answer.status == 200)

    eventually(answers, seconds=RECOVERED, what="the API answers again")
    answered = time.monotonic() - began
    run = start(chain(folder, f"again{number}", steps=1, seconds=0))
    eventually(
        lambda: WorkflowRun.objects.get(pk=run.pk).state == RunState.COMPLETED,
        seconds=30,
        what="a run that was started after it is done",
    )
    return answered, time.monotonic() - began


class Waiting:
    """A worker of the own database, with one step that has been taken and goes on for a while."""

    def __init__(self, url: str, home: Path, *, seconds: float, **settings: str) -> None:
        self.url, self.home, self.settings = url, home, settings
        self.spool = home / "spool"
        self.lock = home / "step"
        self.workers: list[WorkerProcess] = []
        self.start()
        argv = alone(str(self.lock), seconds)
        self.adapter, self.run = submit(step("a", handler="shell", **{"with": {"argv": argv}}))
        eventually(self.lock.exists, what="the step runs")

    def start(self) -> WorkerProcess:
        home = {"WORKFLOWHUB_HOME": str(self.home)}
        self.workers.append(WorkerProcess(self.url, "--concurrency", "1", **home, **self.settings))
        return self.workers[-1]

    def ended_once(self) -> None:
        """The step ended with its first try, and only once."""
        assert wait_for_end(self.run, 30).state == RunState.COMPLETED
        assert (step_row(self.run, "a").try_number, StepTry.objects.count()) == (1, 0)
        assert self.lock.read_text() == "x\n"
        assert not self.lock.with_suffix(".twice").exists()
        eventually(lambda: not list(self.spool.glob("*")), what="the spool is empty")

    def outlast(self, server: EmbeddedPostgreSQL) -> None:
        """The database is away until the step has ended, and its result is on disk."""
        server.stop_at_once()
        connection.close()
        eventually(lambda: list(self.spool.glob("*.json")), what="the result is spooled")


@pytest.fixture
def waiting(own_database: str, tmp_path: Path) -> Iterator[Callable[..., Waiting]]:
    made: list[Waiting] = []

    def make(**options: Any) -> Waiting:
        made.append(Waiting(own_database, tmp_path, **options))
        return made[-1]

    yield make
    for one in made:
        for worker in one.workers:
            worker.end()


def test_fault_26_a_result_waits_on_disk_until_the_database_is_back(
    postgresql: OwnPostgreSQL, waiting: Callable[..., Waiting]
) -> None:
    one = waiting(seconds=0.5)
    one.outlast(postgresql.server)
    postgresql.server.start()
    one.ended_once()


def test_fault_26_a_result_on_disk_outlives_its_worker(
    postgresql: OwnPostgreSQL, waiting: Callable[..., Waiting]
) -> None:
    one = waiting(seconds=0.5)
    one.outlast(postgresql.server)
    one.workers[0].kill()
    second = one.start()  # before the database is there
    postgresql.server.start()
    one.ended_once()
    assert second.process.poll() is None


def test_fault_26_34_a_worker_that_is_told_to_end_while_the_database_is_away_keeps_its_result(
    postgresql: OwnPostgreSQL, waiting: Callable[..., Waiting]
) -> None:
    one = waiting(seconds=0.5)
    one.outlast(postgresql.server)
    assert one.workers[0].stop(20) == 0
    postgresql.server.start()
    one.start()
    one.ended_once()


def test_fault_06_25_nobody_is_declared_lost_for_a_silence_in_which_nobody_could_be_heard(
    postgresql: OwnPostgreSQL, waiting: Callable[..., Waiting]
) -> None:
    one = waiting(seconds=4, WORKFLOWHUB_HEARTBEAT="0.4", WORKFLOWHUB_WORKER_LOST_AFTER="1.5")
    # Its place is another machine, where nobody can see that it lives.
    Worker.objects.update(place="elsewhere")
    postgresql.server.stop_at_once()
    connection.close()
    time.sleep(2.5)
    postgresql.server.start()
    while not execution(one.run).ended_at:
        assert leases.recover() == 0
        time.sleep(0.05)
    one.ended_once()


@pytest.fixture
def proxy(postgresql: OwnPostgreSQL) -> Iterator[Proxy]:
    with TemporaryDirectory() as folder:  # a short name: sockets have no long ones
        made = Proxy(Path(folder), postgresql.folder)
        yield made
        made.close()


def test_fault_07_a_hub_whose_commits_are_never_answered_starts_each_run_once(
    postgresql: OwnPostgreSQL, own_database: str, proxy: Proxy, tmp_path: Path, settings: Any
) -> None:
    """Over a proxy that loses the answers of many transactions of every process."""
    settings.WORKFLOWHUB_LEASE = float(DEFAULTS["WORKFLOWHUB_LEASE"])  # for fsck
    make_engine("local", name="local")
    token, rng = make_token(), chance("proxy")
    workflow, _ = actions.post_workflow(
        Actor(), definition=chain(tmp_path, "flow", steps=2, seconds=0)
    )
    connection.close()
    by_proxy = own_database.replace(postgresql.folder, proxy.folder)
    runs = scaled(10)
    with up(tmp_path, by_proxy, "--only", "web,sync,worker", "--port", "0", **DEFAULTS) as hub:
        url = hub.url
        for number in range(runs):
            proxy.lose_answers = rng.randint(1, 4)
            body, headers = {"workflow": workflow.pk}, {"authorization": f"Bearer {token}"}

            def posted(
                key: str = f"key-{number}", body: Any = body, headers: Any = headers
            ) -> bool:
                answer = ask(
                    url, "/api/v1/workflow-runs", body=body, idempotency_key=key, **headers
                )
                assert answer and answer.status in {201, 409, 503}, answer
                return answer.status == 201

            eventually(posted, what="the run is taken")
        all_end()
        assert proxy.lost >= runs
    assert WorkflowRun.objects.count() == runs
    ended_once(tmp_path)


def committed_unheard(write: Callable[..., Any]) -> Callable[..., Any]:
    def unheard(changes: Any, fence: Any) -> Any:
        written = write(changes, fence)
        if changes:
            raise OperationalError("the server is gone")
        return written

    return unheard


def never_committed(write: Callable[..., Any]) -> Callable[..., Any]:
    def away(done: Any, fence: Any) -> Any:
        raise OperationalError("the server is gone")

    return away


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("module", "name", "fault"),
    [(intents, "write", committed_unheard), (handle, "write_outcomes", never_committed)],
)
def test_fault_06_12_a_run_in_hand_when_the_database_went_away_is_not_blamed_for_it(
    module: Any,
    name: str,
    fault: Callable[[Callable[..., Any]], Any],
    hub: Hub,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = hub.start()
    for _ in range(3):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, fault(getattr(module, name)))
            hub.make_due()
            with suppress(OperationalError):
                hub.sync()
    hub.make_due()
    hub.sync()
    run = hub.seen(run)
    assert (run.state, run.in_hand, run.kills, run.flags) == (RunState.SCHEDULED, False, 0, {})
    assert set(hub.fake.engine.starts.values()) == {1}
