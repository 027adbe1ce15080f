"""Where the engine's own steps write their logs: the storage `logs`, files under the home or a shared
folder. Only a storage of files can be appended to."""

import os
from contextlib import suppress
from typing import IO

import structlog
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.storage import FileSystemStorage, storages

log = structlog.get_logger("engines.dag")

# Others on the machine read no log; a group may, where a folder is shared.
FILE_MODE, FOLDER_MODE = 0o640, 0o750


def path_of(name: str) -> str:
    """The file of a log. Raises SuspiciousFileOperation for a name that leads outside."""
    storage = storages["logs"]
    if not isinstance(storage, FileSystemStorage):
        raise SuspiciousFileOperation("The storage `logs` must keep files, or logs can't grow.")
    return storage.path(name)


def open_for_append(name: str) -> int:
    """A file descriptor at the log's end, its folder made. Raises OSError, SuspiciousFileOperation."""
    path = path_of(name)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(path, flags, FILE_MODE)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), mode=FOLDER_MODE, exist_ok=True)
        return os.open(path, flags, FILE_MODE)


def append(name: str, data: bytes) -> bool:
    """Adds bytes to a log in one write; False, and a note in the process's log, if that fails."""
    try:
        handle = open_for_append(name)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(handle, view) :]
        finally:
            os.close(handle)
    except (OSError, SuspiciousFileOperation) as error:
        log.warning("a log could not be written", log=name, error=str(error))
        return False
    return True


def open_log(name: str) -> IO[bytes] | None:
    """The log for reading, None if nothing was written."""
    with suppress(OSError, SuspiciousFileOperation):
        return open(path_of(name), "rb")
    return None
