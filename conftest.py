"""Sets up every test run: environment first, then Django, on the database that was asked for."""

import os
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.conf import settings

from tests import environment
from tests.faults import chance

if settings.configured and environment.Environment.made is None:
    raise pytest.UsageError(
        "Unset DJANGO_SETTINGS_MODULE: the tests load the settings themselves, with a home of "
        "their own."
    )
_environment = environment.prepare()

import django  # noqa: E402

django.setup()

from django.db import connection  # noqa: E402

GOODBYE = 10  # seconds for what a test has ended to leave the database

TOUCHES_DATABASE = {"db", "transactional_db", "live_server", "database_url", "postgresql"}


def pytest_configure(config: pytest.Config) -> None:
    # Hashing a password properly costs a quarter of a second, and hundreds of tests log in.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    # Every test client makes the middleware anew, and WhiteNoise would list all static files for it.
    settings.WHITENOISE_AUTOREFRESH = True
    if getattr(config.option, "numprocesses", None):
        # This process only hands out tests. Its workers must not load the settings before
        # this file has given each a home of its own.
        del os.environ["DJANGO_SETTINGS_MODULE"]


def pytest_unconfigure() -> None:
    _environment.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if "faults" in (terminalreporter.config.option.markexpr or "").replace("not faults", ""):
        terminalreporter.write_line(f"{chance.SEED}={chance.seed()} repeats these faults.")
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            if name == "figure":
                terminalreporter.write_line(f"  {value}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is long comes first. On the second database only what touches a database is run again."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
    if os.environ.get("TEST_DATABASE") != "postgresql":
        return
    chosen = [item for item in items if _touches_database(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(chosen)])
    items[:] = chosen


def _touches_database(item: pytest.Item) -> bool:
    return (
        item.get_closest_marker("django_db") is not None
        or not TOUCHES_DATABASE.isdisjoint(getattr(item, "fixturenames", ()))
        or hasattr(getattr(item, "cls", None), "databases")
    )


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None,
) -> Iterator[None]:
    """SQLite: a file, since the processes that tests start open it as well."""
    database = settings.DATABASES["default"]
    if database["ENGINE"].endswith("sqlite3"):
        database.setdefault("TEST", {})["NAME"] = str(_environment.home / "test.sqlite3")
    yield


@pytest.fixture
def database_url(transactional_db: None) -> str:
    """DATABASE_URL of the running test database, for the processes that a test starts."""
    return environment.database_url()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """A thread or process that still has the database open would fail some later test, far from the
    cause: here the test that left it is named."""
    database = dict(connection.settings_dict)  # after the last test it is another one
    yield
    if connection.vendor == "sqlite" or not _commits(item):
        return
    end = time.monotonic() + GOODBYE
    while (others := _others_with(database)) and time.monotonic() < end:
        time.sleep(0.05)
    if others:
        pytest.fail(f"The test left the database open: {others}", pytrace=False)


def _commits(item: pytest.Item) -> bool:
    marker = item.get_closest_marker("django_db")
    return "transactional_db" in getattr(item, "fixturenames", ()) or (
        marker is not None and bool(marker.kwargs.get("transaction"))
    )


def _others_with(database: dict[str, Any]) -> list[tuple[Any, ...]]:
    own = connection.connection
    pid = own.info.backend_pid if own is not None and not own.closed else 0
    with psycopg.connect(
        dbname="postgres",
        user=database["USER"],
        password=database["PASSWORD"] or None,
        host=database["HOST"],
        port=database["PORT"] or None,
        autocommit=True,
    ) as server:
        others: list[tuple[Any, ...]] = server.execute(
            "SELECT pid, application_name, state, query FROM pg_stat_activity "
            "WHERE datname = %s AND pid <> %s AND backend_type = 'client backend'",
            [database["NAME"], pid],
        ).fetchall()
    return others
