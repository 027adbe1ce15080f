"""Reads settings from the environment and refuses nonsense with the name of the variable."""

import contextlib
import os
import tempfile
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

TRUE_WORDS = {"1", "true", "yes", "on"}
FALSE_WORDS = {"0", "false", "no", "off", ""}


def text(name: str, default: str = "") -> str:
    return os.environ.get(name, default).strip()


def words(name: str, default: str = "") -> list[str]:
    """A comma-separated list."""
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def flag(name: str, default: bool = False) -> bool:
    value = os.environ.get(name)
    if value is None:
        return default
    if value.strip().lower() in TRUE_WORDS:
        return True
    if value.strip().lower() in FALSE_WORDS:
        return False
    raise ImproperlyConfigured(f"{name} is {value!r}: say true or false.")


def number(name: str, default: float, *, least: float = 0, most: float = 10**9) -> float:
    value = text(name, str(default))
    try:
        result = float(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} is {value!r}: that is not a number.") from None
    if not least <= result <= most:
        raise ImproperlyConfigured(f"{name} is {value}: it must be from {least:g} to {most:g}.")
    return result


def integer(name: str, default: int, *, least: int = 0, most: int = 10**9) -> int:
    result = number(name, default, least=least, most=most)
    if result != int(result):
        raise ImproperlyConfigured(f"{name} is {result}: it must be a whole number.")
    return int(result)


def seconds(name: str, default: float, *, least: float = 0.01) -> float:
    return number(name, default, least=least)


def days(name: str, default: float) -> timedelta:
    return timedelta(days=number(name, default))


def folder(name: str, default: Path) -> Path:
    return Path(text(name, str(default))).expanduser().resolve()


def home(name: str, default: Path) -> Path:
    """A folder of our own, made with mode 0700 where it isn't there."""
    path = folder(name, default)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        problem = "" if os.access(path, os.W_OK | os.X_OK) else "it may not be written to"
    except FileExistsError:
        problem = "that is a file"
    except OSError as error:
        problem = f"it can't be made ({error.strerror})"
    if problem:
        raise ImproperlyConfigured(
            f"{name} is {path}: {problem}. Give a folder that this user may write to."
        )
    return path


def database(name: str, default: str) -> dict[str, Any]:
    """Django's description of the database of a URL: SQLite or PostgreSQL."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of what is refused below
            found: dict[str, Any] = environ.Env.db_url_config(text(name) or default)
    except (ValueError, ImproperlyConfigured):
        found = {}
    if not found.get("ENGINE", "").endswith((".sqlite3", ".postgresql")):
        # The value may hold a password, so it isn't repeated.
        raise ImproperlyConfigured(
            f"{name} is not the address of a PostgreSQL or SQLite database: give one like "
            "postgres://user:password@host:5432/name, or leave it out for SQLite in the home."
        )
    return found


def url(name: str, default: str = "") -> str:
    value = text(name, default).rstrip("/")
    if value and (urlsplit(value).scheme not in {"http", "https"} or not urlsplit(value).netloc):
        raise ImproperlyConfigured(f"{name} is {value!r}: give a URL such as https://hub.example.")
    return value


def choice(name: str, default: str, allowed: set[str]) -> str:
    value = text(name, default)
    if value not in allowed:
        one_of = ", ".join(sorted(allowed))
        raise ImproperlyConfigured(f"{name} is {value!r}: choose from {one_of}.")
    return value


def key_file(path: Path, make: Callable[[], str]) -> str:
    """The key kept in `path`, made on first use with mode 0600.

    Safe when two processes start at once: the file appears whole, and the first one made stays.
    """
    if not path.exists():
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        with os.fdopen(handle, "w") as file:
            file.write(make())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        os.unlink(draft)
    return path.read_text().strip()
