"""Forked processes: one that answers and ends, and one that dies with its parent.

Forking after Django is loaded shares its memory between all processes of the hub. Nothing may be
forked while a database connection is open, because both sides would talk on it.
"""

import ctypes
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from django.db import connections

PR_SET_PDEATHSIG = 1


class ForkFailed(Exception):
    """The forked function raised; its traceback went to standard error."""


def answer_of(function: Callable[[], Any]) -> Any:
    """Runs `function` in a forked process and returns its answer, which must fit into JSON.

    The caller's memory and database connections stay as they were. Raises ForkFailed.
    """
    forbid_open_connections()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        with os.fdopen(writer, "w") as pipe:
            run_and_exit(lambda: json.dump(function(), pipe), before_exit=pipe.flush)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        answer = pipe.read()
    _, status = os.waitpid(pid, 0)
    if status != 0:
        raise ForkFailed(f"A forked process {how_it_ended(status)}.")
    return json.loads(answer)


def run_and_exit(
    function: Callable[[], object], before_exit: Callable[[], object] = lambda: None
) -> NoReturn:
    """The whole life of a forked process: it never returns into its parent's code."""
    code = 1
    try:
        function()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        code = 130
    except BaseException:  # noqa: BLE001 - the end of the process: nobody else would tell
        traceback.print_exc()
    finally:
        for flush in (before_exit, sys.stdout.flush, sys.stderr.flush):
            try:
                flush()
            except OSError:
                code = code or 1
        os._exit(code)


def die_with_parent(parent: int) -> None:
    """Has Linux kill this process when the process that forked it is gone, even by kill -9."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before we asked
            os.kill(os.getpid(), signal.SIGKILL)


def have_children_die_with_us() -> None:
    """The same for whatever this process forks, and what that forks in turn."""
    parents: list[int] = []
    os.register_at_fork(
        before=lambda: parents.append(os.getpid()),
        after_in_parent=parents.clear,
        after_in_child=lambda: die_with_parent(parents.pop()),
    )


def forbid_open_connections() -> None:
    for connection in connections.all(initialized_only=True):
        if connection.connection is not None:
            raise RuntimeError("A database connection is open: it must be closed before a fork.")


def how_it_ended(status: int) -> str:
    """Words for a wait status: `ended with code 3`, `was killed by SIGKILL`."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with code {code}"
