"""Processes as the operating system sees them: whether a worker that cannot answer is dead, and what
it has left behind. Exact on Linux; elsewhere nothing is claimed to be known."""

import ctypes
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LINUX = sys.platform.startswith("linux")
MARKER = "WORKFLOWHUB_WORKER_ID"


def place() -> str:
    """This boot of this machine and this pid namespace: where a pid means something."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"
    return ""


def birth(pid: int) -> str:
    """When a process started, in the kernel's ticks; nothing if there is no such process."""
    with suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] == "Z" else fields[19]
    return ""


def is_dead(worker_place: str, pid: int, born: str) -> bool:
    """Whether a process is certainly gone. False where nobody can know."""
    return bool(born) and worker_place == place() != "" and birth(pid) != born


def children_of(pid: int) -> list[int]:
    """The children of a process, of all its threads."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += [int(word) for word in path.read_text().split()]
    return found


def descendants_of(pid: int) -> list[int]:
    found: list[int] = []
    waiting = children_of(pid)
    while waiting:
        child = waiting.pop()
        found.append(child)
        waiting += children_of(child)
    return found


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Sends a signal; a process that is gone is fine."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def kill_leftovers(worker_id: object, pid: int, born: str) -> None:
    """Ends what a lost worker at this place still has running: the processes beneath it, if it
    lives, and whatever carries its mark."""
    if birth(pid) == born:
        for child in descendants_of(pid):
            kill(child)
    mark = f"{MARKER}={worker_id}".encode()
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark in path.read_bytes().split(b"\0"):
                kill(int(path.parent.name))


def die_with_parent(parent: int) -> None:
    """Linux: SIGKILL for this process when its parent dies."""
    if LINUX:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)  # it died before the call


def adopt_orphans() -> None:
    """Linux: what the children of this process leave behind becomes its own child."""
    if LINUX:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def end_children(keep: frozenset[int] = frozenset()) -> None:
    """Kills every child of this process but `keep`, and theirs, which it adopts as they go."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return  # the usual case, at the price of one call
    for _ in range(100):
        alive = [pid for pid in children_of(os.getpid()) if pid not in keep]
        if not alive:
            return
        for pid in alive:
            kill(pid)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)
