"""Measures the hub on SQLite and on PostgreSQL and prints one table: `make bench`.

    python -m bench [--only steps,starts,idle,tick,reach,first] [--database SQLite|PostgreSQL]

Nothing is compared with a limit here: machines differ, and so do their days. What counts are the
ratios within one table.
"""

import argparse
import sys
from collections.abc import Iterator

from bench import first_run, idle, reach, starts, steps, tick
from bench.figures import Figure, keep, table
from bench.hub import DATABASES, up

OF_A_HUB = {"steps": steps.measure, "starts": starts.measure, "idle": idle.measure}
BY_THEMSELVES = {"tick": tick.measure, "reach": reach.measure, "first": first_run.measure}


def figures(kind: str, names: list[str]) -> Iterator[Figure]:
    of_a_hub = [OF_A_HUB[name] for name in names if name in OF_A_HUB]
    if of_a_hub:
        with up(kind) as hub:
            for measure in of_a_hub:
                yield from measure(hub, kind)
    for name in names:
        if name in BY_THEMSELVES:
            yield from BY_THEMSELVES[name](kind)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    known = [*OF_A_HUB, *BY_THEMSELVES]
    parser.add_argument("--only", default=",".join(known), metavar="NAMES")
    parser.add_argument("--database", choices=DATABASES, action="append")
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := set(names) - set(known):
        parser.error(f"{', '.join(sorted(unknown))}: there are {', '.join(known)}.")
    found: list[Figure] = []
    for kind in options.database or DATABASES:
        for figure in figures(kind, names):
            found.append(figure)
            print(f"{kind}: {figure.work}: {figure.measure} {figure.value:.3g}", file=sys.stderr)
    print(table(found))
    print(f"\nKept in {keep('hub', found)}.")


if __name__ == "__main__":
    main()
