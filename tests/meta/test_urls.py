"""Every URL of the hub refuses strangers, but the few that are for them."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, resolve, reverse

# By name, never by path: a path can be written in many ways.
FOR_STRANGERS = {"login", "admin:login", "api-live"}
SAMPLES = ("1", "x", "x/y", "12345678-1234-5678-1234-567812345678")
METHODS = ("get", "post", "put", "patch", "delete", "head")


def walk(resolver: Any = None, prefix: str = "", names: str = "") -> Iterator[tuple[str, str]]:
    """(name, a path that it matches) of every view."""
    for entry in (resolver or get_resolver()).url_patterns:
        part = prefix + sample(entry.pattern)
        if isinstance(entry, URLResolver):
            space = f"{names}{entry.namespace}:" if entry.namespace else names
            yield from walk(entry, part, space)
        elif isinstance(entry, URLPattern):
            yield f"{names}{entry.name or part}", part


def sample(pattern: Any) -> str:
    """A text that a pattern matches: its parameters replaced by values that their converters take."""
    if hasattr(pattern, "_route"):
        text = str(pattern._route)
        for name, converter in pattern.converters.items():
            value = next(item for item in SAMPLES if re.fullmatch(converter.regex, item))
            text = re.sub(rf"<(\w+:)?{name}>", value, text)
        return text
    text = re.sub(r"\(\?P<\w+>([^|)]*)[^)]*\)", r"\1", pattern._regex)
    return text.replace(".*", "nothing-here").strip("^$")


VIEWS = dict(walk())


def test_the_walk_finds_every_view_at_its_path() -> None:
    assert len(VIEWS) > 60
    for name, path in VIEWS.items():
        match = resolve(f"/{path}")
        assert match.view_name in {name, None} or match.url_name is None, name


def test_there_are_no_doors_for_strangers_that_are_not_there() -> None:
    assert set(VIEWS) >= FOR_STRANGERS


@pytest.mark.django_db
@pytest.mark.parametrize("name", sorted(set(VIEWS) - FOR_STRANGERS))
def test_a_stranger_is_refused(name: str) -> None:
    login = {reverse(settings.LOGIN_URL), reverse("admin:login")}
    client = Client()
    for method in METHODS:
        answer = getattr(client, method)(f"/{VIEWS[name]}")
        if answer.status_code in {301, 302}:
            assert urlsplit(answer["Location"]).path in login, (method, answer["Location"])
        else:
            assert answer.status_code in {401, 403, 405}, (method, answer.status_code)
            assert not (answer.status_code == 405 and method == "get")
