"""What the tests of faults share."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from tests.engines.dag.conftest import start_worker
from tests.faults.nursery import Nursery
from tests.faults.own import OwnPostgreSQL
from tests.reconciler.conftest import hub, make_hub, start_loop, sweep_of

__all__ = ["hub", "make_hub", "start_loop", "start_worker", "sweep_of"]


@pytest.fixture(scope="session")
def nurseries() -> Iterator[dict[str, Nursery]]:
    """One for each database, made by the first test that wants it."""
    made: dict[str, Nursery] = {}
    yield made
    for one in made.values():
        one.close()


@pytest.fixture
def nursery(database_url: str, nurseries: dict[str, Nursery]) -> Iterator[Nursery]:
    """Forks processes on the test's database; none of them outlives the test."""
    if database_url not in nurseries:
        output = Path(os.environ["WORKFLOWHUB_HOME"]) / "nursery.log"
        nurseries[database_url] = Nursery(database_url, output)
    yield nurseries[database_url]
    nurseries[database_url].clear()
    connection.close()


@pytest.fixture(scope="session")
def own_postgresql(django_db_blocker: Any) -> Iterator[OwnPostgreSQL]:
    """One server for all tests of this process that kill it."""
    with django_db_blocker.unblock():
        own = OwnPostgreSQL()
    yield own
    own.server.stop()


@pytest.fixture
def postgresql(request: pytest.FixtureRequest) -> Iterator[OwnPostgreSQL]:
    """A server that may be killed; it runs at the beginning of every test."""
    if os.environ.get("TEST_DATABASE") != "postgresql":
        pytest.skip("It needs a database server that can be killed: PostgreSQL.")
    own: OwnPostgreSQL = request.getfixturevalue("own_postgresql")
    own.server.start()
    yield own


@pytest.fixture
def own_database(postgresql: OwnPostgreSQL, django_db_blocker: Any) -> Iterator[str]:
    """DATABASE_URL of a new database on that server; Django works on it in this process, too."""
    with django_db_blocker.unblock():
        name = postgresql.new_database()
        with postgresql.connected(name) as url:
            yield url
        postgresql.server.start()
        postgresql.drop(name)
