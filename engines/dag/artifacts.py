"""The files that steps leave in their folders: `<root>/<external id>/<step>[/<map index>]`, where the
storage `work` is the root: the home, or a folder that all machines of the hub share.

A step owns its folder and may do to it whatever it likes, so nothing here trusts what it finds there
(engines.folders). A try that leaves more than it may has failed, and its step's folder is emptied.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import structlog
from django.conf import settings
from django.core.files.storage import FileSystemStorage, storages

from engines import folders
from engines.dag.models import OPEN_STATES, Step
from engines.folders import Artifact, Artifacts, Usage

log = structlog.get_logger("engines.dag")

LISTED = 1000
_STEP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_EXECUTION = re.compile(r"[A-Za-z0-9_-]+")


def root() -> Path:
    """Where all the folders are. Raises ValueError where the storage `work` keeps no files."""
    storage = storages["work"]
    if not isinstance(storage, FileSystemStorage):
        raise ValueError("The storage `work` must keep files: steps write into it.")
    return Path(storage.location)


def names_of(external_id: str, step: str, map_index: int) -> tuple[str, ...]:
    """The way from the root to a step's folder. Raises ValueError for a name that is no name."""
    for pattern, name in ((_EXECUTION, external_id), (_STEP, step)):
        if not pattern.fullmatch(name):
            raise ValueError(f"{name!r} can't be the name of a folder.")
    return (external_id, step) if map_index < 0 else (external_id, step, str(map_index))


def list_files(step: Step, external_id: str) -> Artifacts:
    """What the step left, in the execution where it ran last. A mapped step has the files of its
    items, each in a folder of that item's index. Raises OSError."""
    if not step.mapped:
        return _listed(names_of(step.ran_in or external_id, step.name, step.map_index), LISTED)
    files: list[Artifact] = []
    left_out = 0
    for map_index, names in sorted(_folders_of_items(step, external_id).items()):
        found = _listed(names, LISTED - len(files))
        files += [replace(file, path=f"{map_index}/{file.path}") for file in found.files]
        left_out += found.left_out
        if not found.complete:
            return Artifacts(files=tuple(files), complete=False, left_out=left_out)
    return Artifacts(files=tuple(files), left_out=left_out)


def open_file(step: Step, external_id: str, path: str) -> BinaryIO:
    """One of its files. Raises FileNotFoundError for whatever isn't a file of the step's, OSError."""
    names = names_of(step.ran_in or external_id, step.name, step.map_index)
    if step.mapped:
        index, _, path = path.partition("/")
        found = {str(number): way for number, way in _folders_of_items(step, external_id).items()}
        if index not in found:
            raise FileNotFoundError(path)
        names = found[index]
    with folders.folder(root(), names) as handle:
        return folders.open_file(handle, path)


def excess(names: Sequence[str]) -> str:
    """Why the folder holds more than a step may leave; empty where it doesn't. Cheap enough to be
    asked again and again while the step runs."""
    with suppress(OSError), folders.folder(root(), names) as handle:
        return _excess(_measure(handle))
    return ""


def settle(names: Sequence[str]) -> str:
    """Once a try has ended: as `excess`, and a folder that holds too much is emptied."""
    with suppress(FileNotFoundError), folders.folder(root(), names) as handle:
        try:
            text = _excess(_measure(handle, mend=True))
            if text:
                folders.empty(handle)
        except OSError as error:
            log.warning(
                "a step's folder can't be emptied", folder="/".join(names), error=str(error)
            )
            return f"The step's folder can't be looked through or emptied: {error.strerror}."
        return text
    return ""


def remove(external_id: str) -> bool:
    """Deletes all folders of an execution, which must be over; False where that fails."""
    try:
        folders.remove(root(), [external_id])
    except FileNotFoundError:
        return True
    except OSError as error:
        log.warning("a folder can't be deleted", folder=external_id, error=str(error))
        return False
    return True


def in_use(external_ids: Iterable[str]) -> set[str]:
    """The executions of which something runs, or may still: also a hook, after their end."""
    steps = Step.objects.filter(
        execution__external_id__in=list(external_ids), state__in=OPEN_STATES
    )
    return set(steps.order_by().values_list("execution__external_id", flat=True).distinct())


def executions() -> Iterator[str]:
    """The external ids that have folders, or something in a folder's place."""
    with suppress(FileNotFoundError), os.scandir(root()) as entries:
        yield from (entry.name for entry in entries if _EXECUTION.fullmatch(entry.name))


def _listed(names: Sequence[str], most: int) -> Artifacts:
    with suppress(FileNotFoundError), folders.folder(root(), names) as handle:
        return folders.list_files(handle, most=most)
    return Artifacts()


def _folders_of_items(step: Step, external_id: str) -> dict[int, tuple[str, ...]]:
    """Map index -> the way to the item's folder, of the items of a mapped step that have one."""
    rows = Step.objects.filter(execution=step.execution_id, name=step.name, map_index__gte=0)
    items = list(rows.values_list("map_index", "ran_in"))
    found: dict[int, tuple[str, ...]] = {}
    for ran_in in {ran_in for _, ran_in in items}:
        above = names_of(ran_in or external_id, step.name, -1)
        with suppress(FileNotFoundError), folders.folder(root(), above) as handle:
            there = set(os.listdir(handle))
            found |= {
                index: (*above, str(index))
                for index, own in items
                if own == ran_in and str(index) in there
            }
    return found


def _measure(handle: int, *, mend: bool = False) -> Usage:
    return folders.measure(
        handle,
        most_bytes=settings.WORKFLOWHUB_ARTIFACTS_MAX_BYTES,
        most_entries=settings.WORKFLOWHUB_ARTIFACTS_MAX_FILES,
        mend=mend,
    )


def _excess(usage: Usage) -> str:
    most_bytes = settings.WORKFLOWHUB_ARTIFACTS_MAX_BYTES
    most_files = settings.WORKFLOWHUB_ARTIFACTS_MAX_FILES
    if usage.bytes > most_bytes:
        what = (
            f"more than {most_bytes:,} bytes (WORKFLOWHUB_ARTIFACTS_MAX_BYTES), the largest file "
        )
        what += f"being {usage.largest} with {usage.largest_bytes:,}"
    elif usage.entries > most_files:
        what = f"more than {most_files:,} files and folders (WORKFLOWHUB_ARTIFACTS_MAX_FILES)"
    elif usage.deep:
        what = f"folders nested more than {folders.DEEPEST} deep"
    else:
        return ""
    return f"The step's folder held {what}. It was emptied."
