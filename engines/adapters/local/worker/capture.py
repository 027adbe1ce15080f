"""Takes what a step writes to its standard output and error, also from C code and from programs that
it starts, and writes it line by line to the try's log, without the step's secrets.

The process's two outputs are pipes for good; a thread reads them. A step that floods them waits for
the reader, and beyond the limit everything is read and thrown away. A disk that fails ends the log,
never the step.
"""

import fcntl
import os
import selectors
import sys
import threading
from contextlib import suppress

from django.conf import settings
from django.core.exceptions import SuspiciousFileOperation

from engines.adapters.local.worker.lines import Lines
from engines.dag.logs import open_for_append
from engines.logfile import format_line
from engines.masking import Mask

READ_BYTES = 65_536
PIPE_BYTES = 1 << 20  # so that code which holds Python's lock can write a good deal meanwhile
MAX_READS = 4 * PIPE_BYTES // READ_BYTES
F_SETPIPE_SZ = 1031


class Capture:
    """Made once in a child. `begin` and `end` bracket a step; between steps what is written goes to
    the process's own standard error: without the secrets of the last step, of which a thread may be
    left."""

    def __init__(self) -> None:
        self._own_error = os.dup(2)
        self._lock = threading.Lock()
        self._name = ""
        self._file: int | None = None
        self._failed = False
        self._written = 0
        self._full = False
        self._mask: Mask | None = None
        self._lines = {"out": Lines(), "err": Lines()}
        self._inputs = {"out": self._replace(1), "err": self._replace(2)}
        for stream in (sys.stdout, sys.stderr):
            with suppress(AttributeError):
                stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        threading.Thread(target=self._read_all, name="capture", daemon=True).start()

    def begin(self, name: str, mask: Mask | None = None) -> None:
        """From now on output goes to the log of this name, which is made with the first line. `mask`:
        of the step's secrets, if it has any."""
        self._drain_own()
        with self._lock:
            self._name, self._file, self._failed = name, None, False
            self._written, self._full = 0, False
            self._mask = mask or None
            for lines in self._lines.values():
                self._pass_on(lines.end())
                lines.begin(self._mask)

    def end(self) -> str:
        """Everything that the step wrote is in its log now; the log's name, nothing if it is empty."""
        self._drain_own()
        with self._lock:
            for stream, lines in self._lines.items():
                self._keep(stream, lines.end())
            written, name = self._written, self._name
            self._name = ""
            if self._file is not None:
                os.close(self._file)
                self._file = None
        return name if written else ""

    def note(self, text: str) -> None:
        """A line of the hub's own in the step's log."""
        text = self._mask.text(text) if self._mask else text
        with self._lock:
            if self._name:
                self._write(
                    "".join(format_line(line, "hub") for line in text.rstrip("\n").split("\n"))
                )

    def tail(self, stream: str = "out") -> str:
        """The end of what the step wrote to its standard output, or (`err`) its standard error."""
        self._drain_own()
        with self._lock:
            return self._lines[stream].tail().decode("utf-8", "replace")

    def _replace(self, number: int) -> int:
        reader, writer = os.pipe()
        with suppress(OSError):
            fcntl.fcntl(writer, F_SETPIPE_SZ, PIPE_BYTES)
        os.dup2(writer, number, inheritable=True)
        os.close(writer)
        os.set_blocking(reader, False)
        return reader

    def _drain_own(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        with self._lock:
            for stream, reader in self._inputs.items():
                for _ in range(MAX_READS):  # something may go on writing
                    if not self._read(stream, reader):
                        break

    def _read_all(self) -> None:
        with selectors.DefaultSelector() as selector:
            for stream, reader in self._inputs.items():
                selector.register(reader, selectors.EVENT_READ, stream)
            while True:
                for key, _ in selector.select():
                    with self._lock:
                        self._read(key.data, key.fd)

    def _read(self, stream: str, reader: int) -> bool:
        """One read; False when there is nothing more for now."""
        try:
            data = os.read(reader, READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            return False
        lines = self._lines[stream]
        if not self._name:
            if self._mask is None:
                with suppress(OSError):
                    os.write(self._own_error, data)
            else:
                self._pass_on(lines.feed(data))
            return True
        lines.note(data)
        if not (self._full or self._failed):
            self._keep(stream, lines.feed(data))
        return True

    def _keep(self, stream: str, lines: list[bytes]) -> None:
        if lines:
            self._write("".join(format_line(_text(line), stream) for line in lines))

    def _pass_on(self, lines: list[bytes]) -> None:
        """To the process's own standard error."""
        if lines:
            with suppress(OSError):
                os.write(self._own_error, b"".join(line + b"\n" for line in lines))

    def _write(self, text: str) -> None:
        """Under the lock. Cuts at the limit, with a line that says so."""
        if self._full or self._failed:
            return
        data = text.encode("utf-8", "replace")
        limit = settings.WORKFLOWHUB_LOG_MAX_BYTES
        if self._written + len(data) > limit:
            data = data[: max(limit - self._written, 0)].rpartition(b"\n")[0]
            data += (
                b"\n" * bool(data)
                + format_line(
                    f"The log ends here: it has reached {limit:,} bytes (WORKFLOWHUB_LOG_MAX_BYTES).",
                    "hub",
                ).encode()
            )
            self._full = True
        try:
            if self._file is None:
                self._file = open_for_append(self._name)
            view = memoryview(data)
            while view:
                view = view[os.write(self._file, view) :]
            self._written += len(data)
        except (OSError, SuspiciousFileOperation) as error:
            self._failed = True
            message = f"A step's log can't be written ({self._name}): {error}\n"
            with suppress(OSError):
                os.write(self._own_error, message.encode())


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip("\r")
