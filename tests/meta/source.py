"""The project's own files, as git knows them, for the tests that guard conventions."""

import ast
import subprocess
from functools import cache
from pathlib import Path

from django.conf import settings

ROOT = Path(settings.BASE_DIR)


@cache
def files() -> tuple[str, ...]:
    """Paths under the root of all that is, or is about to be, in the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return tuple(sorted(name for name in listed.stdout.splitlines() if (ROOT / name).is_file()))


def python(*, tests: bool) -> list[str]:
    """Python files without migrations; with or without those of the tests."""
    return [
        name
        for name in files()
        if name.endswith(".py") and "/migrations/" not in name and (tests or not is_test(name))
    ]


def is_test(name: str) -> bool:
    return name.startswith(("tests/", "bench/", "engines/testing/")) or "/tests/" in name


@cache
def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(text(name), name)
