"""The test suite's own ground: which database, which home, nothing left behind."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection

from tests.database import EmbeddedPostgreSQL
from tests.environment import SHORT

ROOT = Path(settings.BASE_DIR)


def test_the_home_is_not_the_developers_own() -> None:
    assert settings.WORKFLOWHUB_HOME != ROOT / ".hub"
    assert settings.WORKFLOWHUB_HOME.name.startswith("workflowhub-tests-")


def test_leases_are_short() -> None:
    assert float(SHORT["WORKFLOWHUB_LEASE"]) == settings.WORKFLOWHUB_LEASE


def test_a_process_that_a_test_starts_sees_what_the_test_wrote(database_url: str) -> None:
    get_user_model().objects.create_user("ada")
    code = (
        "import django; django.setup()\n"
        "from django.contrib.auth.models import User\n"
        "print(User.objects.get().username)"
    )
    seen = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ
        | {"DATABASE_URL": database_url, "DJANGO_SETTINGS_MODULE": "workflowhub.settings"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert seen.stdout.strip() == "ada", seen.stderr


@pytest.mark.django_db
def test_the_database_is_the_one_that_was_asked_for() -> None:
    wanted = os.environ.get("TEST_DATABASE")
    if wanted:
        assert connection.vendor == wanted


def test_an_embedded_server_is_gone_after_its_owner_was_killed() -> None:
    code = (
        "from tests.database import EmbeddedPostgreSQL\n"
        "import os, signal\n"
        "print(EmbeddedPostgreSQL().url, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        # The keeper inherits nothing of this pipe, so reading ends when the owner has ended.
        folder = Path(owner.stdout.read().partition("@/")[2].strip()).parent
    assert folder.name == "data"
    for _ in range(100):
        if not folder.exists():
            break
        time.sleep(0.1)
    assert not folder.exists()


def test_an_embedded_server_stops_on_request() -> None:
    server = EmbeddedPostgreSQL()
    folder = Path(server.url.partition("@/")[2]).parent
    assert (folder / "postmaster.pid").exists()
    server.stop()
    assert not folder.exists()
