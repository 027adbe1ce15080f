"""Every setting is documented, with the default that it really has."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.meta import source
from workflowhub import env

READERS = {name for name in dir(env) if callable(getattr(env, name))}
ELSEWHERE = {"WORKFLOWHUB_ADAPTER_PACKAGES": ""}  # read before the settings are: discovery.py


def read_in_settings() -> Iterator[tuple[str, object]]:
    """(variable, its default where that is a plain value, else None)."""
    tree = source.tree("workflowhub/settings.py")
    computed = {
        node.values[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or)
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "env"
            and node.func.attr in READERS - {"key_file"}
        ):
            name, *rest = node.args
            default = {"flag": False, "text": "", "words": "", "url": ""}.get(node.func.attr)
            if node in computed:
                default = None
            elif rest:
                default = rest[0].value if isinstance(rest[0], ast.Constant) else None
            yield ast.literal_eval(name), default


SETTINGS = dict(read_in_settings()) | ELSEWHERE


def rows(document: str) -> dict[str, list[str]]:
    """Variable -> the other cells of its row in a Markdown table."""
    return {
        found[1]: [found[2].strip(), found[3].strip()]
        for line in source.text(document).splitlines()
        if (found := re.match(r"\| `([A-Z_]+)` \|([^|]*)\|([^|]*)\|$", line))
    }


def test_the_settings_are_found() -> None:
    assert SETTINGS["WORKFLOWHUB_LEASE"] == 10
    assert "DATABASE_URL" in SETTINGS
    assert len(SETTINGS) > 40


@pytest.mark.parametrize("document", ["docs/settings.md", "README.md"])
def test_every_setting_is_listed_and_nothing_else(document: str) -> None:
    assert set(rows(document)) == set(SETTINGS)


@pytest.mark.parametrize("document", ["docs/settings.md", "README.md"])
def test_the_defaults_in_the_table_are_the_real_ones(document: str) -> None:
    wrong = {
        name: (cells[0], SETTINGS[name])
        for name, cells in rows(document).items()
        if name in SETTINGS and SETTINGS[name] is not None and cells[0] != shown(SETTINGS[name])
    }
    assert wrong == {}


def shown(default: object) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    return f"`{default}`" if default != "" else "–"
