"""The files that a task of a run left, as its engine has them now.

Called by pages and the API. What a run was given and what it resulted in is in the database; its files
stay with the engine, so they are there as long as the engine keeps them.
"""

from collections.abc import Callable
from functools import partial
from typing import BinaryIO, TypeVar

from engines.base import (
    Artifacts,
    EngineAdapter,
    EngineError,
    EngineRejected,
    EngineUnavailable,
    RunNotFound,
)
from engines.config import ConfigError
from engines.connect import connect
from engines.registry import UnknownKind
from runs import live
from runs.models import TaskRun

T = TypeVar("T")


class FilesUnavailable(EngineUnavailable):
    """The files can't be read now. The text says why, for the person who asked."""


class NoFiles(EngineRejected):
    """The engine keeps no files. The text says why."""


def files(task: TaskRun, attempt: int | None = None) -> Artifacts:
    """Those of the attempt at which it ran last, or of an earlier one. Raises FilesUnavailable,
    NoFiles."""
    try:
        return _ask(task, attempt, lambda adapter: adapter.artifacts)
    except RunNotFound:
        return Artifacts()


def open_file(task: TaskRun, path: str, attempt: int | None = None) -> BinaryIO:
    """One of them, to be read and closed. Raises RunNotFound where there is none of that path,
    FilesUnavailable, NoFiles."""
    return _ask(task, attempt, lambda adapter: partial(_opened, adapter, path))


def _opened(
    adapter: EngineAdapter, path: str, external_id: str, name: str, map_index: int
) -> BinaryIO:
    return adapter.open_artifact(external_id, name, map_index, path)


def _ask(
    task: TaskRun,
    attempt: int | None,
    call_of: Callable[[EngineAdapter], Callable[[str, str, int], T]],
) -> T:
    engine = task.run.engine
    external_id = live.external_id_of(task.run_id, attempt or task.attempt)
    if engine is None or not external_id:
        raise RunNotFound("No engine has had this task.")
    if (reason := engine.can("artifacts")) is not True:
        raise NoFiles(f"The engine {engine.name} gives no files of its tasks: {reason}")
    if not engine.enabled:
        raise FilesUnavailable(f"The engine {engine.name} is disabled, and has these files.")
    try:
        adapter = connect(engine)
        call = partial(call_of(adapter), external_id, task.name, task.map_index)
        return live.ask(adapter, call, "the files")
    except RunNotFound:
        raise
    except live.TooSlow as error:
        raise FilesUnavailable(str(error)) from None
    except (EngineError, ConfigError, UnknownKind) as error:
        raise FilesUnavailable(f"The engine {engine.name} can't give the files: {error}") from None
