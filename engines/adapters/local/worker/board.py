"""Memory that a worker shares with its children: what each is running, and what it should stop. No
message is sent when a step starts or ends, so a chain of short steps wakes nobody."""

import mmap
import struct
from enum import IntEnum

_SLOT = struct.Struct("qqdqqqqqq")


class StopCode(IntEnum):
    """Why the parent stops a child's step."""

    NONE = 0
    CANCELED = 1
    TIMEOUT = 2
    SIBLING = 3
    DRAIN = 4
    RUN_TIMEOUT = 5
    ARTIFACTS = 6


class Slot:
    """One child's part. Times are `time.monotonic` seconds, the same in all processes.

    The child writes `token` (0: it runs no step) and `deadline` (0: no limit); the parent writes
    `stop_token` and `stop_code`: a stop counts for the try with that token only.
    """

    __slots__ = ("_memory", "_offset")

    def __init__(self, memory: mmap.mmap, index: int) -> None:
        self._memory = memory
        self._offset = index * _SLOT.size

    def _get(self, at: int, form: str = "q") -> float:
        value: float = struct.unpack_from(form, self._memory, self._offset + 8 * at)[0]
        return value

    def _set(self, at: int, value: float, form: str = "q") -> None:
        struct.pack_into(form, self._memory, self._offset + 8 * at, value)

    @property
    def step_id(self) -> int:
        return int(self._get(0))

    @property
    def token(self) -> int:
        return int(self._get(1))

    @property
    def trying(self) -> tuple[int, int]:
        """(step, token) of the try that runs now; token 0: none. A token counts the tries of one
        step: two steps have the same, so a try is told by both."""
        while True:
            token = self.token
            found = self.step_id, token
            if self.token == token and self.step_id == found[0]:
                return found

    @property
    def deadline(self) -> float:
        return self._get(2, "d")

    @property
    def stop(self) -> StopCode:
        """Why the step that runs now must stop."""
        if self.token and self._get(3) == self.token and self._get(4) == self.step_id:
            return StopCode(int(self._get(5)))
        return StopCode.NONE

    @property
    def drains(self) -> bool:
        return bool(self._get(6))

    def begin(self, step_id: int, token: int, deadline: float) -> None:
        self._set(2, deadline, "d")
        self._set(0, step_id)
        self._set(1, token)

    def end(self) -> None:
        self._set(1, 0)

    def ask_to_stop(self, step_id: int, token: int, code: StopCode) -> None:
        self._set(5, code)
        self._set(4, step_id)
        self._set(3, token)

    def drain(self) -> None:
        """The child takes no further step."""
        self._set(6, 1)

    @property
    def relieved(self) -> bool:
        """Whether the parent has recorded what the child had kept of the steps it took together."""
        return bool(self._get(7))

    @relieved.setter
    def relieved(self, value: bool) -> None:
        self._set(7, value)

    @property
    def holds(self) -> bool:
        """Whether the child has steps, or is about to record some."""
        return bool(self._get(8))

    @holds.setter
    def holds(self, value: bool) -> None:
        self._set(8, value)

    def clear(self) -> None:
        """For the next child in this place."""
        drains = self._get(6)
        self._memory[self._offset : self._offset + _SLOT.size] = bytes(_SLOT.size)
        self._set(6, drains)


def make_board(count: int) -> list[Slot]:
    """Slots for so many children, shared with every process that is forked from now on."""
    memory = mmap.mmap(-1, _SLOT.size * max(count, 1))
    return [Slot(memory, index) for index in range(count)]
