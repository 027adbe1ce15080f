"""Writes docs/reliability.md from the names of the tests: `python -m tests.faults.table`.

A test that proves row 24 is called `test_fault_24_<sentence>`, one for two rows
`test_fault_24_25_<sentence>`, wherever it stands.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.faults.rows import PLACES, ROWS

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/reliability.md"
PREFIX = "test_fault_"
NAME = re.compile(rf"{PREFIX}((?:\d\d_)+)([a-z]\w*)")

HEAD = Path(__file__).with_name("reliability.md")
# Names are in small letters and have no apostrophes.
SPELLED = {"sigterm": "SIGTERM", "sqlite": "SQLite", "mb": "MB", "api": "API"}


@dataclass(frozen=True, slots=True, order=True)
class Test:
    """`rows`: the faults that it provokes; `path` under the root; `line` of its name."""

    path: str
    line: int
    rows: tuple[int, ...]
    sentence: str


def tests() -> list[Test]:
    """Every test whose name begins with the prefix. Raises ValueError for one that names no row."""
    return sorted(found for path in files() for found in tests_in(path))


def files() -> Iterator[Path]:
    for folder in ("tests", "engines"):
        yield from sorted((ROOT / folder).rglob("test_*.py"))


def tests_in(path: Path) -> Iterator[Test]:
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.FunctionDef) or not node.name.startswith(PREFIX):
            continue
        match = NAME.fullmatch(node.name)
        if match is None:
            raise ValueError(f"{path.name}: {node.name} names no row: {PREFIX}24_what_happens")
        rows = tuple(int(number) for number in match[1].split("_") if number)
        where = path.relative_to(ROOT).as_posix()
        yield Test(where, node.lineno, rows, match[2].replace("_", " "))


def page() -> str:
    """The whole text of docs/reliability.md."""
    known = tests()
    proofs = {number: [test for test in known if number in test.rows] for number in ROWS}
    parts = [HEAD.read_text()]
    for place, rows in PLACES.items():
        parts.append(
            f"### {place}\n\n| # | What goes wrong | What the hub promises | Tests |\n|---|---|---|---|"
        )
        parts += [
            f"| [{number}](#{number}) | {row.fault} | {row.promise} | {len(proofs[number]) or 'none'} |"
            for number, row in rows.items()
        ]
        parts.append("")
    parts.append("## Tests\n")
    for number, row in sorted(ROWS.items()):
        parts.append(f'<a id="{number}"></a>**{number}. {row.fault}**\n')
        parts += [
            f"* {sentence(test)} ([{Path(test.path).name}](../{test.path}))"
            for test in proofs[number]
        ]
        parts += [f"* *Not tested:* {row.gap}"] * bool(row.gap)
        parts.append("")
    return "\n".join(parts)


def sentence(test: Test) -> str:
    words = [SPELLED.get(word, word) for word in test.sentence.split()]
    text = " ".join(words).replace(" s ", "'s ")
    return text[0].upper() + text[1:]


def unproved() -> list[int]:
    """Rows without a test that don't say why."""
    proved = {number for test in tests() for number in test.rows}
    return [number for number, row in ROWS.items() if number not in proved and not row.gap]


if __name__ == "__main__":
    PAGE.write_text(page())
