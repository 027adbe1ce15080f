"""What the tests run on: a home of their own, short leases, and SQLite or PostgreSQL.

`conftest.py` calls `prepare` before the settings are loaded. TEST_DATABASE says which database:
`sqlite` (a file, because the processes that tests start open it too) or `postgresql` (the server at
TEST_DATABASE_URL, else an embedded one). Without it DATABASE_URL is obeyed, and else it is SQLite.
"""

import os
import shutil
import tempfile
from pathlib import Path
from urllib.parse import quote

from django.db import connection

from tests.database import EmbeddedPostgreSQL
from tests.faults import chance

SHORT = {
    "WORKFLOWHUB_LEASE": "2",
    "WORKFLOWHUB_HEARTBEAT": "0.3",
    "WORKFLOWHUB_WORKER_LOST_AFTER": "1",
    "WORKFLOWHUB_KILL_GRACE": "0.5",
    "WORKFLOWHUB_POLL": "0.5",
    "WORKFLOWHUB_ACTIVE_POLL": "0.1",
}
FIXED = {
    "DJANGO_SETTINGS_MODULE": "workflowhub.settings",
    "WORKFLOWHUB_ADAPTER_PACKAGES": "tests.adapters",
    "WORKFLOWHUB_HTTP_ALLOW": "127.0.0.0/8",
    "WORKFLOWHUB_LOG_LEVEL": "WARNING",
}


class Environment:
    """The environment of one pytest process; `close` takes away whatever it made."""

    # A process loads the settings once: where it runs the tests again (mutation testing), it does so
    # in the same home.
    made: "Environment | None" = None

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="workflowhub-tests-"))
        self.server: EmbeddedPostgreSQL | None = None

    def close(self) -> None:
        if self.server is not None:
            self.server.stop()
        shutil.rmtree(self.home, ignore_errors=True)


def prepare() -> Environment:
    """Sets the variables that the settings read, for this process and those that it starts.

    A worker of pytest-xdist inherits the database of the process that started it, and gets a home
    of its own.
    """
    if Environment.made is not None:
        Environment.made.home.mkdir(exist_ok=True)
        return Environment.made
    for name in [name for name in os.environ if name.startswith("WORKFLOWHUB_")]:
        if name not in (chance.SEED, chance.SCALE):
            del os.environ[name]
    chance.draw()
    environment = Environment.made = Environment()
    os.environ.update(SHORT | FIXED)
    os.environ["WORKFLOWHUB_HOME"] = str(environment.home)
    if "PYTEST_XDIST_WORKER" not in os.environ:
        _choose_database(environment)
    if os.environ["DATABASE_URL"].startswith("sqlite"):
        os.environ["DATABASE_URL"] = f"sqlite:///{environment.home / 'hub.sqlite3'}"
    return environment


def _choose_database(environment: Environment) -> None:
    wanted = os.environ.get("TEST_DATABASE", "")
    if wanted == "postgresql":
        url = os.environ.get("TEST_DATABASE_URL", "")
        if not url:
            environment.server = EmbeddedPostgreSQL()
            url = environment.server.url
        os.environ["DATABASE_URL"] = url
    elif wanted == "sqlite" or (not wanted and not os.environ.get("DATABASE_URL")):
        os.environ["DATABASE_URL"] = "sqlite:///"
    elif wanted:
        raise ValueError(f"TEST_DATABASE is {wanted!r}: say sqlite or postgresql.")


def database_url() -> str:
    """DATABASE_URL of the database that this process is connected to."""
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{database['NAME']}"
    who = quote(database["USER"]) + (f":{quote(database['PASSWORD'])}" * bool(database["PASSWORD"]))
    where = database["HOST"]  # a folder, /…, holds the server's socket
    if not where.startswith("/"):
        where += f":{database['PORT'] or 5432}"
    else:
        where = f"/{where}"
    return f"postgres://{who}@{where}/{database['NAME']}"
