"""Cuts what a step writes to one of its outputs into lines, without the secrets that the step was
given: neither a read nor the length of a line cuts one in two."""

from engines.masking import Mask

TAIL_BYTES = 4096
MAX_LINE = 65_536


class Lines:
    """Of one stream. `rest`: the beginning of a line whose end has not come."""

    __slots__ = ("_mask", "_tail", "rest")

    def __init__(self) -> None:
        self.rest = b""
        self._tail = b""
        self._mask: Mask | None = None

    def begin(self, mask: Mask | None) -> None:
        """Another step writes from now on. `mask`: of its secrets, if it has any."""
        self.rest, self._tail, self._mask = b"", b"", mask

    def note(self, data: bytes) -> None:
        """Remembers the end of all that was written."""
        most = TAIL_BYTES + (self._mask.longest if self._mask else 0)
        self._tail = (self._tail + data)[-most:]

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are whole with this; of one that is too long what there is of it."""
        *lines, self.rest = (self.rest + data).split(b"\n")
        lines = self._shown(lines)
        if len(self.rest) > MAX_LINE:
            if self._mask is None:
                lines.append(self.rest)
                self.rest = b""
            elif at := self._mask.until(self.rest):
                lines += self._shown([self.rest[:at]])
                self.rest = self.rest[at:]
        return lines

    def end(self) -> list[bytes]:
        """What is left of a last line without its end."""
        lines = self._shown([self.rest]) if self.rest else []
        self.rest = b""
        return lines

    def tail(self) -> bytes:
        """The last TAIL_BYTES that were written."""
        if self._mask is None:
            return self._tail
        if len(self._tail) < TAIL_BYTES + self._mask.longest:  # nothing is missing at its beginning
            return self._mask.data(self._tail)[-TAIL_BYTES:]
        return self._mask.after(self._tail)[-TAIL_BYTES:]

    def _shown(self, lines: list[bytes]) -> list[bytes]:
        if self._mask is None or not lines:
            return lines
        return self._mask.data(b"\n".join(lines)).split(b"\n")
