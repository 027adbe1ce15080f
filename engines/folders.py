"""Folders that a step writes into: listed, measured, opened and emptied, whatever the step does to them
meanwhile.

Each component of a path is opened by itself, relative to the one before and never through a link
(O_NOFOLLOW), so a folder that becomes a link half way leads nowhere. Only plain files count, under
names that are text. Everything is bounded: in depth, in entries, and in what is kept in memory.
"""

import errno
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import BinaryIO

DEEPEST = 32  # folders within folders
SCANNED = 50_000  # entries that one listing looks at
BATCH = 10_000  # names in memory while a folder is emptied
PASSES = 1000  # of that many, in one folder
LATEST = 253_402_300_799  # the last second of the year 9999
FOLDER_MODE = 0o750

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A pipe in a file's place must not make us wait.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# A link, a file in a folder's place, a socket, a name that no file can have.
_SOMETHING_ELSE = {errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.ENAMETOOLONG}


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A file that a step left. `path` is relative to the step's folder, with slashes; `size` in
    bytes."""

    path: str
    size: int
    modified_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifacts:
    """Files in the order of their paths. `complete`: these are all; `left_out` counts what is there
    and is never shown: links, sockets, devices, names that aren't text, what lies too deep."""

    files: tuple[Artifact, ...] = ()
    complete: bool = True
    left_out: int = 0


@dataclass(slots=True)
class Usage:
    """What is in a folder: bytes, entries of any kind, and its largest file. `deep`: it has folders
    beyond DEEPEST, which were not looked into."""

    bytes: int = 0
    entries: int = 0
    largest: str = ""
    largest_bytes: int = 0
    deep: bool = False


def is_plain(name: str) -> bool:
    """Whether it can be the name of a file that we show: text without anything unprintable."""
    return name.isprintable() and "/" not in name and name not in {"", ".", ".."}


@contextmanager
def folder(root: str | Path, names: Sequence[str]) -> Iterator[int]:
    """The folder as a descriptor. `root` is the operator's own and may be a link; no name beneath it
    may. Raises OSError: FileNotFoundError also where something else is in its place."""
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names:
            inner = _enter(handle, name)
            os.close(handle)
            handle = inner
        yield handle
    finally:
        os.close(handle)


def make(root: str | Path, names: Sequence[str]) -> None:
    """Makes the folder and those above it. What isn't a folder and stands in the way is taken
    away."""
    os.makedirs(root, mode=FOLDER_MODE, exist_ok=True)
    for at, name in enumerate(names):
        with folder(root, names[:at]) as above:
            if _is_folder(above, name) is False:
                os.unlink(name, dir_fd=above)
            with suppress(FileExistsError):
                os.mkdir(name, mode=FOLDER_MODE, dir_fd=above)


def list_files(handle: int, *, most: int) -> Artifacts:
    """The files in and beneath a folder."""
    walk = _Walk(most)
    walk.into(handle, "", 0)
    return Artifacts(files=tuple(walk.files), complete=walk.complete, left_out=walk.left_out)


def walk(handle: int, above: str = "", depth: int = 0) -> Iterator[tuple[str, BinaryIO]]:
    """Every plain file in and beneath a folder by its path, opened: whoever asks closes it. What is
    hidden in the folder itself is passed over, with all that it holds."""
    for name in sorted(os.listdir(handle)):
        if not is_plain(name) or (name.startswith(".") and not depth):
            continue
        try:
            kind = os.stat(name, dir_fd=handle, follow_symlinks=False).st_mode
            if stat.S_ISREG(kind):
                yield above + name, open_file(handle, name)
            elif stat.S_ISDIR(kind) and depth < DEEPEST:
                inner = _enter(handle, name)
                try:
                    yield from walk(inner, f"{above}{name}/", depth + 1)
                finally:
                    os.close(inner)
        except FileNotFoundError:
            continue  # it went, or became something else, while we looked


def open_file(handle: int, path: str) -> BinaryIO:
    """A file in or beneath a folder. Raises FileNotFoundError for everything that isn't a plain
    file, and for a path that leads anywhere else; OSError."""
    *names, last = path.split("/")
    if not all(map(is_plain, [*names, last])) or len(names) > DEEPEST:
        raise FileNotFoundError(path)
    above = os.dup(handle)
    try:
        for name in names:
            inner = _enter(above, name)
            os.close(above)
            above = inner
        found = _open(last, _FILE, above)
    finally:
        os.close(above)
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        raise FileNotFoundError(path)
    return os.fdopen(found, "rb")


def artifact(path: str, found: os.stat_result) -> Artifact:
    """The file as its status tells it; a time that no calendar has becomes one that it has."""
    seconds = min(max(found.st_mtime, 0.0), LATEST)
    return Artifact(
        path=path, size=found.st_size, modified_at=datetime.fromtimestamp(seconds, tz=UTC)
    )


def measure(handle: int, *, most_bytes: int, most_entries: int, mend: bool = False) -> Usage:
    """What is in the folder; it stops counting as soon as there is more than that. With `mend`,
    folders that forbid us to look become readable; else they count as an entry."""
    usage = Usage()
    _measure(handle, "", 0, usage, most_bytes, most_entries, mend)
    return usage


def empty(handle: int) -> None:
    """Deletes everything in a folder. Raises OSError where something can't be deleted."""
    _clear(handle, handle, 0)


def remove(root: str | Path, names: Sequence[str]) -> None:
    """Deletes a folder, or whatever has its name, and nothing that it links to. Raises OSError."""
    with folder(root, names[:-1]) as above:
        if _is_folder(above, names[-1]):
            inner = _enter(above, names[-1], mend=True)
            try:
                _clear(inner, inner, 0)
            finally:
                os.close(inner)
            os.rmdir(names[-1], dir_fd=above)
        else:
            os.unlink(names[-1], dir_fd=above)


class _Walk:
    """Gathers files, depth first and in order, until there are `most` or too much was looked at."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.files: list[Artifact] = []
        self.complete = True
        self.left_out = 0
        self._left = SCANNED

    def into(self, handle: int, above: str, depth: int) -> None:
        with os.scandir(handle) as entries:
            names = [entry.name for entry in islice(entries, self._left + 1)]
        if len(names) > self._left:
            self.complete = False
        self._left -= min(len(names), self._left)
        for name in sorted(names):
            if len(self.files) >= self.most:
                self.complete = False
                return
            self._take(handle, name, above, depth)

    def _take(self, handle: int, name: str, above: str, depth: int) -> None:
        try:
            found = os.stat(name, dir_fd=handle, follow_symlinks=False)
            if is_plain(name) and stat.S_ISREG(found.st_mode):
                self.files.append(artifact(above + name, found))
            elif is_plain(name) and stat.S_ISDIR(found.st_mode) and depth < DEEPEST:
                inner = _enter(handle, name)
                try:
                    self.into(inner, f"{above}{name}/", depth + 1)
                finally:
                    os.close(inner)
            else:
                self.left_out += 1
        except FileNotFoundError:
            return  # it went, or became something else, while we looked
        except PermissionError:
            self.left_out += 1


def _measure(
    handle: int,
    above: str,
    depth: int,
    usage: Usage,
    most_bytes: int,
    most_entries: int,
    mend: bool,
) -> None:
    with os.scandir(handle) as entries:
        for entry in entries:
            usage.entries += 1
            try:
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(found.st_mode):
                    usage.bytes += found.st_size
                    if found.st_size > usage.largest_bytes:
                        usage.largest, usage.largest_bytes = above + entry.name, found.st_size
                elif stat.S_ISDIR(found.st_mode) and depth >= DEEPEST:
                    usage.deep = True
                elif stat.S_ISDIR(found.st_mode):
                    inner = _enter(handle, entry.name, mend=mend)
                    try:
                        path = f"{above}{entry.name}/"
                        _measure(inner, path, depth + 1, usage, most_bytes, most_entries, mend)
                    finally:
                        os.close(inner)
            except (FileNotFoundError, PermissionError):
                continue
            if usage.deep or usage.bytes > most_bytes or usage.entries > most_entries:
                return


def _clear(top: int, handle: int, depth: int) -> None:
    """Deletes what is in `handle`, a folder beneath `top` or `top` itself."""
    os.fchmod(handle, 0o700)
    for _ in range(PASSES):
        with os.scandir(handle) as entries:
            found = [
                (entry.name, entry.is_dir(follow_symlinks=False))
                for entry in islice(entries, BATCH)
            ]
        if not found:
            return
        for name, is_folder in found:
            with suppress(FileNotFoundError):
                _delete(top, handle, name, is_folder, depth)
    raise OSError(errno.EBUSY, "Something goes on writing into it")


def _delete(top: int, above: int, name: str, is_folder: bool | None, depth: int) -> None:
    if not is_folder:
        os.unlink(name, dir_fd=above)
        return
    inner = _enter(above, name, mend=True)
    try:
        if depth < DEEPEST:
            _clear(top, inner, depth + 1)
        else:
            os.fchmod(inner, 0o700)
    finally:
        os.close(inner)
    if depth < DEEPEST:
        os.rmdir(name, dir_fd=above)
    else:
        # However deep they lie, only so many are open at once: it has its turn further up.
        os.rename(name, f"deep-{secrets.token_hex(8)}", src_dir_fd=above, dst_dir_fd=top)


def _enter(above: int, name: str, *, mend: bool = False) -> int:
    if name in {"", ".", ".."} or "/" in name:
        raise FileNotFoundError(name)
    try:
        return _open(name, _FOLDER, above)
    except PermissionError:
        if not mend or not hasattr(os, "O_PATH"):
            raise
    # Its owner may change what it forbids; by its descriptor it is this very folder.
    seen = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
    try:
        os.chmod(f"/proc/self/fd/{seen}", 0o700)
    finally:
        os.close(seen)
    return _open(name, _FOLDER, above)


def _open(name: str, flags: int, above: int) -> int:
    """Raises FileNotFoundError for what is there and is something else."""
    try:
        return os.open(name, flags, dir_fd=above)
    except OSError as error:
        if error.errno in _SOMETHING_ELSE:
            raise FileNotFoundError(errno.ENOENT, "No such file", name) from None
        raise
    except ValueError:  # a NUL
        raise FileNotFoundError(errno.ENOENT, "No such file", name) from None


def _is_folder(above: int, name: str) -> bool | None:
    """None where nothing has the name; False also for a link to a folder."""
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return None
