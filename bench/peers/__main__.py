"""The same work for the hub and for its peers, in turn, on this machine: `make bench-peers`.

    python -m bench.peers [--only words] [--rounds 3]

Each peer is installed into `.engines/` by itself and started for the whole measurement, so that what
the machine does meanwhile befalls all alike. What can't be installed is said and left out.
"""

import argparse
import statistics
import subprocess
import sys
from contextlib import ExitStack

from bench.figures import Figure, keep, shown, table
from bench.peers.airflow_peer import Airflow
from bench.peers.celery_peer import CeleryOnRedis
from bench.peers.hub_peer import Hub
from bench.peers.peer import CantRun, Measured, Peer
from bench.peers.procrastinate_peer import Procrastinate

WIDTHS, LENGTH = (100, 2000), 20


def peers() -> list[Peer]:
    return [
        Hub("PostgreSQL"),
        Hub("SQLite"),
        CeleryOnRedis(observable=False),
        CeleryOnRedis(observable=True),
        Procrastinate(),
        Airflow(tuned=False),
        Airflow(tuned=True),
    ]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def measured(peer: Peer, work: str, number: int) -> Measured | None:
    try:
        found = getattr(peer, work)(number)
    except CantRun as error:
        say(f"{peer.name}: {work} {number} is left out: {error}.")
        return None
    gap = f", gap p50 {statistics.median(found.gaps):.2f} ms" if found.gaps else ""
    say(f"{peer.name}: {work} {number} {found.seconds:.3f} s{gap}")
    assert isinstance(found, Measured)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--only", default="", help="peers whose name has one of these, by commas")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    words = options.only.lower().split(",")
    chosen = [peer for peer in peers() if any(word in peer.name.lower() for word in words)]
    found: dict[tuple[str, str, str], list[float]] = {}
    left_out = []
    with ExitStack() as stack:
        running = []
        for peer in chosen:
            try:
                running.append(stack.enter_context(peer))
            except (CantRun, RuntimeError, subprocess.SubprocessError) as error:
                peer.stop()
                left_out.append(f"LEFT OUT: {peer.name}: {error}.")
                say(left_out[-1])
        for _ in range(options.rounds):
            for peer in running:
                for width in WIDTHS:
                    if one := measured(peer, "parallel", width):
                        work = f"{width:,} parallel no-ops, request → last end"
                        found.setdefault((work, "tasks/s", peer.name), []).append(
                            width / one.seconds
                        )
                if one := measured(peer, "chain", LENGTH):
                    work = f"chain of {LENGTH} no-ops"
                    found.setdefault((work, "gap ms p50", peer.name), []).append(
                        statistics.median(one.gaps)
                    )
                    found.setdefault((work, "request → last end, ms a task", peer.name), []).append(
                        one.seconds * 1000 / LENGTH
                    )
    figures = [
        Figure(work=work, measure=measure, on=name, value=statistics.median(values))
        for (work, measure, name), values in found.items()
    ]
    figures.sort(key=lambda figure: (figure.work, figure.measure))
    print(table(figures))
    print(f"\nMedians of {options.rounds} rounds, all in one run. Where a task runs:")
    for peer in running:
        print(f"* {peer.name}: {peer.isolation}")
    print("\n".join(["", *ratios(figures), *left_out]))
    print(f"\nKept in {keep('peers', figures)}.")


def ratios(figures: list[Figure]) -> list[str]:
    """How the hub stands to each peer: above 1 it is faster."""
    lines = []
    for own in figures:
        if not own.on.startswith("WorkflowHub"):
            continue
        for other in figures:
            if (own.work, own.measure) != (other.work, other.measure) or own.on == other.on:
                continue
            if other.on.startswith("WorkflowHub"):
                continue
            faster = own.value / other.value
            if own.measure != "tasks/s":
                faster = 1 / faster if faster else float("inf")
            lines.append(f"{own.on} / {other.on}: {shown(faster)} × ({own.work}, {own.measure})")
    return lines


if __name__ == "__main__":
    main()
