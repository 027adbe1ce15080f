"""Nonsense in the environment stops the start with the name of the variable."""

import stat
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from workflowhub import env


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> object:
    return lambda value: monkeypatch.setenv("X", value)


@pytest.mark.parametrize(
    ("value", "expected"), [("on", True), ("TRUE", True), ("0", False), ("", False)]
)
def test_a_switch_takes_the_usual_words(given: object, value: str, expected: bool) -> None:
    given(value)
    assert env.flag("X") is expected


def test_what_is_not_set_has_its_default() -> None:
    assert env.flag("X", True) is True
    assert env.seconds("X", 2) == 2
    assert env.words("X") == []


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (lambda: env.flag("X"), "perhaps"),
        (lambda: env.number("X", 1), "many"),
        (lambda: env.number("X", 1), "nan"),
        (lambda: env.integer("X", 1), "1.5"),
        (lambda: env.integer("X", 1, least=1), "0"),
        (lambda: env.seconds("X", 1), "-1"),
        (lambda: env.url("X"), "hub.example.org"),
        (lambda: env.choice("X", "a", {"a", "b"}), "c"),
    ],
)
def test_nonsense_is_refused_by_name(given: object, read: object, value: str) -> None:
    given(value)
    with pytest.raises(ImproperlyConfigured, match="^X is "):
        read()


def test_lists_are_separated_by_commas(given: object) -> None:
    given(" a, b ,,c")
    assert env.words("X") == ["a", "b", "c"]


def test_days_may_have_fractions(given: object) -> None:
    given("0.5")
    assert env.days("X", 30) == timedelta(hours=12)


def test_an_address_loses_its_last_slash(given: object) -> None:
    given("https://hub.example.org/")
    assert env.url("X") == "https://hub.example.org"


def test_a_key_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "key"
    first = env.key_file(path, lambda: "one")
    assert env.key_file(path, lambda: "two") == first == "one"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [found.name for found in tmp_path.iterdir()] == ["key"]


def test_processes_that_start_at_once_agree_on_the_key(tmp_path: Path) -> None:
    barrier, seen = threading.Barrier(8), []

    def start(name: str) -> None:
        def make() -> str:
            barrier.wait(5)  # all of them found no file
            return name

        seen.append(env.key_file(tmp_path / "key", make))

    threads = [threading.Thread(target=start, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 8
    assert len(set(seen)) == 1


def test_a_home_is_made_for_its_owner_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("X", str(tmp_path / "a" / "b"))
    assert env.home("X", tmp_path).stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("name", "said"), [("file", "that is a file"), ("file/x", "can't be made")]
)
def test_a_home_that_can_not_be_is_named(monkeypatch, tmp_path, name, said):
    (tmp_path / "file").touch()
    monkeypatch.setenv("X", str(tmp_path / name))
    with pytest.raises(ImproperlyConfigured, match=f"^X is .*{said}.*may write to"):
        env.home("X", tmp_path)


@pytest.mark.parametrize("url", ["nonsense", "mysql://u:hush@h/n", "postgres://u:hush@h:port/n"])
def test_only_addresses_of_databases_that_are_supported_are_taken(monkeypatch, url):
    monkeypatch.setenv("X", url)
    with pytest.raises(ImproperlyConfigured, match="^X is not the address") as caught:
        env.database("X", "")
    assert "hush" not in str(caught.value)


def test_a_database_may_be_postgresql_and_is_sqlite_when_left_out(monkeypatch):
    monkeypatch.delenv("X", raising=False)
    assert env.database("X", "sqlite:////a/b")["NAME"] == "/a/b"
    monkeypatch.setenv("X", "postgres://u:p@h:1/n")
    assert env.database("X", "")["PORT"] == 1
