"""The steps that a child has taken together, because its last ones were short: in one transaction
instead of one each. Those that haven't begun wait in a pipe. Whoever reads a step from it, the child to
run it or the parent to give it back, is the only one who does. The outcomes that aren't in the
database yet are in a file (engines.dag.spool).
"""

import os
import struct
from collections.abc import Sequence
from contextlib import suppress

from engines.dag.outcome import Outcome

MOST = 16  # steps
SHORT_SECONDS = 0.005  # of one step, on the average of a batch
LONG_SECONDS = 0.02  # of one step: whoever meets one takes single steps again
_TRY = struct.Struct("qq")


class Size:
    """How many steps a child should take together: more and more while they are short, one as soon
    as one was not."""

    def __init__(self) -> None:
        self.want = 1

    def learn(self, outcomes: Sequence[Outcome]) -> None:
        longest = max(outcome.seconds for outcome in outcomes)
        if longest > LONG_SECONDS or not all(outcome.plain for outcome in outcomes):
            self.want = 1
        elif sum(outcome.seconds for outcome in outcomes) <= SHORT_SECONDS * len(outcomes):
            self.want = min(self.want * 2, MOST)


class Waiting:
    """The pipe of one child."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)

    def put(self, tries: Sequence[tuple[int, int]]) -> None:
        """(step, token) of those that wait."""
        os.write(self.writer, b"".join(_TRY.pack(*each) for each in tries))

    def next(self) -> tuple[int, int] | None:
        """The one that is to begin; None if the parent has given them back."""
        return next(iter(self._read(1)), None)

    def withdraw(self) -> list[tuple[int, int]]:
        """All that haven't begun: nobody else begins them now."""
        return self._read(MOST)

    def close(self) -> None:
        os.close(self.reader)
        os.close(self.writer)

    def _read(self, count: int) -> list[tuple[int, int]]:
        with suppress(BlockingIOError):
            return list(_TRY.iter_unpack(os.read(self.reader, count * _TRY.size)))
        return []
