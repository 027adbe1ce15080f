"""Query parameters that are no filter, read strictly: a wrong one is 400 with its name."""

from datetime import datetime

from django.utils.dateparse import parse_datetime
from rest_framework.request import Request

from runs.api.errors import Problem


def whole(request: Request, name: str, default: int, least: int, most: int) -> int:
    """A whole number from `least` to `most`."""
    given = request.query_params.get(name)
    if given is None:
        return default
    if not given.isascii() or not given.isdigit() or not least <= int(given[:20]) <= most:
        raise bad_query(name, f"must be a whole number from {least} to {most}.")
    return int(given)


def number(request: Request, name: str, default: float, least: float, most: float) -> float:
    """A number from `least` to `most`."""
    given = request.query_params.get(name)
    if given is None:
        return default
    try:
        value = float(given)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise bad_query(name, f"must be a number from {least:g} to {most:g}.")
    return value


def flag(request: Request, name: str) -> bool:
    """true or false; false where it is left out."""
    given = request.query_params.get(name, "false")
    if given not in {"true", "false"}:
        raise bad_query(name, "must be true or false.")
    return given == "true"


def moment(request: Request, name: str) -> datetime | None:
    """A time with its offset."""
    given = request.query_params.get(name)
    if given is None:
        return None
    try:
        found = parse_datetime(given)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise bad_query(name, "must be a time such as 2026-01-31T12:00:00Z.")
    return found


def text(request: Request, name: str, most: int) -> str:
    """A text of up to `most` characters; empty where it is left out."""
    given = request.query_params.get(name, "")
    if len(given) > most or "\x00" in given:
        raise bad_query(name, f"must be a text of at most {most} characters.")
    return given


def bad_query(name: str, problem: str) -> Problem:
    return Problem(400, "invalid", f"{name} {problem}", errors={name: problem})
