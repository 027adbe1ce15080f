"""Every command of ours says what it is for, and a test names it."""

import re
from pathlib import PurePath

import pytest
from django.core.management import get_commands, load_command_class

from tests.meta import source

OURS = {
    PurePath(name).stem: name
    for name in source.python(tests=False)
    if re.search(r"/management/commands/[a-z]\w*\.py$", name)
}
TESTS = [name for name in source.python(tests=True) if PurePath(name).name.startswith("test_")]


def test_there_are_commands() -> None:
    assert {"up", "down"} <= set(OURS)


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_command_has_a_help_text(name: str) -> None:
    command = load_command_class(get_commands()[name], name)
    assert command.help.strip().endswith(".")


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_command_is_named_by_a_test(name: str) -> None:
    named = re.compile(rf"""["']{name}["']""")
    assert any(
        named.search(source.text(test)) for test in TESTS if test != "tests/meta/test_commands.py"
    ), f"No test calls the command {name}."
