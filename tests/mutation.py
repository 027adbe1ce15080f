"""Says which share of the mutants of `make mutation` the tests noticed, and which they didn't.

Exit code 1 below 95 %. A mutant is killed when a test fails, breaks or takes far too long.
"""
# ruff: noqa: T201  it prints its answer

import subprocess
import sys
from collections import Counter

LEAST = 0.95
KILLED = {"killed", "timeout", "suspicious", "segfault", "caught by type check"}


def main() -> int:
    answer = subprocess.run(
        [sys.executable, "-m", "mutmut", "results", "--all", "true"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    ends: Counter[str] = Counter()
    left = []
    for line in answer.splitlines():
        name, _, end = line.strip().rpartition(": ")
        ends[end] += 1
        if end not in KILLED:
            left.append(f"{end}: {name}")
    total = sum(ends.values())
    killed = sum(number for end, number in ends.items() if end in KILLED)
    print("\n".join(left))
    print(
        f"{killed} of {total} mutants killed: {killed / max(total, 1):.1%} (at least {LEAST:.0%})"
    )
    return int(not total or killed / total < LEAST)


if __name__ == "__main__":
    sys.exit(main())
