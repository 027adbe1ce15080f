"""What a home needs before the hub serves it: tables, static files, a first engine, a first user.

Every step may be repeated: it changes only what is missing or out of date.
"""

import hashlib
import secrets
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.db import OperationalError, connection

from engines.models import Engine
from runs.examples import seed_examples

FIRST_USER = "admin"
LOCAL = "local"


def prepare(say: Callable[[str], None]) -> dict[str, Any]:
    """Answers {"password": the new administrator's, or empty}."""
    say("Preparing the database.")
    reach_database(say)
    call_command("migrate", verbosity=0, interactive=False)
    if collect_static():
        say("Collected the static files.")
    call_command("ensure_schedules", verbosity=0)
    make_local_engine()
    for workflow in seed_examples():
        say(f"Posted the example {workflow.title}.")
    password = make_administrator()
    return {"password": password}


def reach_database(say: Callable[[str], None]) -> None:
    """Ends the process, with the reason in few words, where there is no database to prepare."""
    try:
        connection.ensure_connection()
    except OperationalError as error:
        reason = " ".join(str(error).split())
        say(f"The database can't be reached: {reason}")
        if connection.vendor == "postgresql":
            say("Check DATABASE_URL: the server must run, and the database must have been created.")
        raise SystemExit(1) from None


def make_local_engine() -> None:
    """The built-in engine, unless there is one under whatever name."""
    if not Engine.objects.filter(kind=LOCAL).exists():
        Engine.objects.create(name=LOCAL, kind=LOCAL)


def make_administrator() -> str:
    """The random password of a new administrator; empty where there is one already."""
    users = get_user_model().objects
    if users.filter(is_superuser=True).exists() or users.filter(username=FIRST_USER).exists():
        return ""
    password = secrets.token_urlsafe(12)
    users.create_superuser(FIRST_USER, password=password)
    return password


def collect_static() -> bool:
    """Puts hashed, compressed copies under the home; False when those there are up to date."""
    stamp = Path(settings.STATIC_ROOT) / ".fingerprint"
    fingerprint = static_fingerprint()
    if stamp.is_file() and stamp.read_text() == fingerprint:
        return False
    call_command("collectstatic", verbosity=0, interactive=False, clear=True)
    stamp.write_text(fingerprint)
    return True


def static_fingerprint() -> str:
    """Changes with the name, size or time of any static file, and with what hashes them."""
    digest = hashlib.sha256(f"{version('whitenoise')} {version('django')}".encode())
    for finder in get_finders():
        for path, storage in finder.list([]):
            stat = Path(storage.path(path)).stat()
            digest.update(f"\n{path} {stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()
