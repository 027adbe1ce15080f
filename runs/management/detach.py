"""Sends `up` to the background: the terminal gets the welcome, the log file all the rest."""

import os
import sys
from pathlib import Path
from typing import IO


class DidNotStart(Exception):
    """The process in the background ended before it said that it serves."""


def fork_to_background(log_file: Path) -> IO[str] | str:
    """In the background: a stream for the welcome, to be closed once it is written.

    In the foreground: what was written to it. Raises DidNotStart when that is nothing.
    """
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fork():
        os.close(writer)
        with os.fdopen(reader) as pipe:
            welcome = pipe.read()
        if not welcome:
            raise DidNotStart(f"The hub did not start. Its log: {log_file}")
        return welcome
    os.close(reader)
    os.setsid()
    quiet = os.open(os.devnull, os.O_RDONLY)
    log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((quiet, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(quiet)
    os.close(log)
    return os.fdopen(writer, "w")
