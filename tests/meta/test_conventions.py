"""The house style that no linter knows."""

import ast
import re
from pathlib import PurePath

import pytest

from runs.states import RunState, TaskState
from tests.meta import source

MOST_LINES = 350
# A file may be longer where it still holds one noun: say which.
LONGER: dict[str, str] = {
    "engines/base.py": "the contract of an engine, mostly docstrings that promise something",
    "tests/admin/test_deeds.py": "every deed of the admin: done, refused, raced",
    "tests/engines/dag/test_advance.py": "one behaviour, how a graph goes on, case by case",
    "tests/engines/dag/test_worker.py": "one process, with everything that can happen to it",
    "tests/engines/test_http.py": "one door, a fault a test",
    "tests/management/test_backup.py": "one file, and everything that may be wrong with it",
    "tests/reconciler/test_sweep.py": "one sweep, with everything that it may meet",
}
TOP_LEVEL = {
    ".ci",
    ".gitignore",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "bench",
    "conftest.py",
    "docs",
    "engines",
    "examples",
    "manage.py",
    "pyproject.toml",
    "requirements-dev.txt",
    "requirements.txt",
    "runs",
    "sdk",
    "static",
    "templates",
    "tests",
    "workflowhub",
}
STATE_WORDS = set(RunState.values) | set(TaskState.values)
WRITTEN_BY_HAND = (".py", ".html", ".css", ".js", ".sh")


def test_the_top_level_holds_only_what_is_known() -> None:
    assert {name.split("/")[0] for name in source.files()} <= TOP_LEVEL


def test_no_file_has_grown_past_its_noun() -> None:
    too_long = {
        name: lines
        for name in source.files()
        if name.endswith(WRITTEN_BY_HAND)
        and "/migrations/" not in name
        and not name.startswith("static/vendor/")
        and name not in LONGER
        and (lines := len(source.text(name).splitlines())) > MOST_LINES
    }
    assert not too_long, "Split these by noun, or say in LONGER what one noun they hold."


def test_the_list_of_longer_files_names_files_that_are_longer() -> None:
    assert set(LONGER) <= set(source.files())
    short = [name for name in LONGER if len(source.text(name).splitlines()) <= MOST_LINES]
    assert not short, "Take these from LONGER: they need no leave any more."


def test_no_module_is_called_after_nothing() -> None:
    banned = {"utils", "util", "helpers", "helper", "common", "misc", "tools"}
    assert [name for name in source.files() if PurePath(name).stem in banned] == []


def test_states_are_spelled_in_states_modules_only() -> None:
    spelled = [
        f"{name}:{node.lineno}: {node.value!r}"
        for name in source.python(tests=False)
        if PurePath(name).name != "states.py"
        for node in ast.walk(source.tree(name))
        if isinstance(node, ast.Constant) and node.value in STATE_WORDS
    ]
    assert not spelled, "Take the words from engines.states or runs.states."


def test_nothing_prints_but_commands_and_steps() -> None:
    printing = [
        f"{name}:{node.lineno}"
        for name in source.python(tests=False)
        if "/management/commands/" not in name
        and not name.startswith("examples/")
        and name != "engines/dag/context.py"  # what a step prints is its log
        for node in ast.walk(source.tree(name))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert printing == []


def test_imports_are_absolute() -> None:
    relative = [
        f"{name}:{node.lineno}"
        for name in source.python(tests=True)
        for node in ast.walk(source.tree(name))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


def test_migrations_say_what_they_do() -> None:
    unnamed = [
        name
        for name in source.files()
        if "/migrations/" in name and re.search(r"/\d{4}_(auto|alter_.*_and_more)", name)
    ]
    assert unnamed == []


@pytest.mark.parametrize("word", ["mark_safe", "|safe", "autoescape off"])
def test_nothing_escapes_the_escaping(word: str) -> None:
    assert [
        name
        for name in source.files()
        if name.endswith((".py", ".html"))
        and not source.is_test(name)
        and word in source.text(name)
    ] == []
