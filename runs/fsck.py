"""Runs the checks of runs.invariants, and mends what they may mend. Called by `manage.py fsck`."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from runs.invariants import CHECKS, Check


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A check that found something: how many, and the first few. `left`: how many are still there
    after mending, and `remain` the first few of them."""

    check: Check
    number: int
    examples: tuple[str, ...]
    mended: int = 0
    left: int = 0
    remain: tuple[str, ...] = ()


def run_checks(*, fix: bool = False, codes: Iterable[str] = ()) -> Iterator[Broken]:
    """Those that found something, in the order of CHECKS. With `fix`, what may be mended is,
    and then it is looked at again."""
    wanted = set(codes)
    for check in CHECKS:
        if wanted and check.code not in wanted:
            continue
        number, examples = _look(check)
        if not number:
            continue
        if fix and check.mend:
            mended = check.mend()
            left, remain = _look(check)
        else:
            mended, left, remain = 0, number, examples
        yield Broken(
            check=check, number=number, examples=examples, mended=mended, left=left, remain=remain
        )


def _look(check: Check) -> tuple[int, tuple[str, ...]]:
    """(how many break it, the first few)."""
    found = iter(check.find())
    examples = tuple(islice(found, 5))
    return len(examples) + sum(1 for _ in found), examples
