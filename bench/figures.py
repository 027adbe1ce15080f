"""What a benchmark found: figures, their table and their file."""

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

LATEST = Path(__file__).with_name("results") / "latest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """`work`: what was done, a row of the table. `measure`: what was measured of it, with its unit.
    `on`: a column: a database, or a peer."""

    work: str
    measure: str
    on: str
    value: float


def percentile(values: Sequence[float], percent: float) -> float:
    """Of at least one value, by linear interpolation."""
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=1000, method="inclusive")[round(percent * 10) - 1]


def shown(value: float) -> str:
    """Three digits that count."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(figures: Sequence[Figure]) -> str:
    """Markdown: a row for each measure, a column for each database or peer."""
    columns = list(dict.fromkeys(figure.on for figure in figures))
    rows = list(dict.fromkeys((figure.work, figure.measure) for figure in figures))
    values = {(figure.work, figure.measure, figure.on): figure.value for figure in figures}
    lines = [["work", "measure", *columns]]
    for work, measure in rows:
        cells = [values.get((work, measure, column)) for column in columns]
        lines.append([work, measure, *("–" if cell is None else shown(cell) for cell in cells)])
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    aligned = [
        [
            cell.ljust(width) if at < 2 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    ]
    rule = ["-" * width if at < 2 else "-" * (width - 1) + ":" for at, width in enumerate(widths)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [aligned[0], rule, *aligned[1:]])


def keep(name: str, figures: Sequence[Figure]) -> Path:
    """Writes them below `name` into results/latest.json, beside what other benchmarks left there."""
    LATEST.parent.mkdir(exist_ok=True)
    known = json.loads(LATEST.read_text()) if LATEST.exists() else {}
    known[name] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "figures": [asdict(figure) for figure in figures],
    }
    LATEST.write_text(json.dumps(known, indent=1) + "\n")
    return LATEST
