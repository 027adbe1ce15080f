"""What may be deleted, and when: in batches, so that no transaction is long.

Called by `manage.py cleanup` and once a day by django-q2. Only what has ended and is old enough goes,
with everything that hangs on it; what is active, and the newest version of a title, stays.
"""

import logging
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.sessions.models import Session
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.storage import FileSystemStorage, storages
from django.db import models, transaction
from django.db.models import Exists, OuterRef

from engines.clock import database_now
from engines.dag import artifacts, requests
from engines.dag.models import Execution
from engines.models import EngineJob
from runs import chain, counters, figures
from runs.models import (
    Acknowledgement,
    BulkJob,
    HourlyRollup,
    IdempotencyKey,
    RunAttempt,
    Secret,
    TaskTry,
    Variable,
    Workflow,
    WorkflowPace,
    WorkflowRun,
)
from runs.states import FINAL_RUN_STATES

logger = logging.getLogger("workflowhub.cleanup")

BATCH = 200
KEEP_KEYS = timedelta(hours=24)
KEEP_JOBS = timedelta(days=7)
KEEP_BULK_JOBS = timedelta(days=30)
YOUNG = timedelta(hours=1)  # a folder of logs that nobody refers to yet may be of a run just begun
KEEP_STRAY_FILES = timedelta(days=1)
_OUR_FOLDER = re.compile(r"^wh-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-\d+(?:-[0-9a-z]+)?$")


@dataclass(slots=True)
class Report:
    """How many of each kind were deleted, or with a dry run would be."""

    counts: dict[str, int] = field(default_factory=dict)

    def add(self, what: str, number: int) -> None:
        self.counts[what] = self.counts.get(what, 0) + number

    def __str__(self) -> str:
        parts = [f"{number} {what}" for what, number in self.counts.items() if number]
        return ", ".join(parts) or "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long things are kept; None: for ever."""

    archived: timedelta | None = None
    finished: timedelta | None = None
    logs: timedelta | None = None
    artifacts: timedelta | None = None

    @classmethod
    def of_settings(cls) -> "Limits":
        return cls(
            archived=settings.WORKFLOWHUB_KEEP_ARCHIVED,
            finished=settings.WORKFLOWHUB_KEEP_FINISHED,
            logs=settings.WORKFLOWHUB_KEEP_LOGS,
            artifacts=settings.WORKFLOWHUB_KEEP_ARTIFACTS,
        )


def clean_up(limits: Limits | None = None, *, dry_run: bool = False, batch: int = BATCH) -> Report:
    """Deletes what is older than the limits (the settings', if none are given); with `dry_run` only
    counts it. Without limits given, the hub's own leftovers go too."""
    report, now = Report(), database_now()
    everything = limits is None
    limits = limits or Limits.of_settings()
    if limits.finished is not None:
        old = _old_runs(now - limits.finished)
        delete = partial(_delete_runs, old)
        report.add("runs", old.count() if dry_run else _in_batches(old, batch, delete))
    if limits.logs is not None:
        tries = _tries_with_logs(now - limits.logs)
        report.add("logs", tries.count() if dry_run else _in_batches(tries, batch, _delete_logs))
    if limits.artifacts is not None:
        folders = _folders_of_old_runs(now - limits.artifacts, batch)
        report.add("folders of files", _remove_folders(folders, dry_run=dry_run))
    if limits.archived is not None:
        gone = _old_workflows(now - limits.archived)
        report.add(
            "archived workflows",
            gone.count() if dry_run else _in_batches(gone, batch, _delete_rows),
        )
        # Whoever takes a title that is free again must not get what was its own.
        for model in (Secret, Variable):
            rows = _of_no_workflow(model)
            number = rows.count() if dry_run else _in_batches(rows, batch, _delete_rows)
            if number:
                report.add(f"{model._meta.verbose_name_plural} of workflows that are gone", number)
    if everything:
        _leftovers(report, now, dry_run=dry_run, batch=batch)
    return report


def _leftovers(report: Report, now: datetime, *, dry_run: bool, batch: int) -> None:
    old: dict[str, models.QuerySet[models.Model]] = {
        "idempotency keys": IdempotencyKey.objects.filter(created_at__lt=now - KEEP_KEYS),
        "engine jobs": EngineJob.objects.filter(
            state__in=[EngineJob.State.DONE, EngineJob.State.FAILED],
            created_at__lt=now - KEEP_JOBS,
        ),
        "bulk jobs": BulkJob.objects.filter(ended_at__lt=now - KEEP_BULK_JOBS),
        "sessions": Session.objects.filter(expire_date__lt=now),
        "hourly figures": HourlyRollup.objects.filter(hour__lt=now - figures.KEEP),
        "acknowledgements": Acknowledgement.objects.filter(at__lt=now - figures.KEEP),
        "paces of workflows that are gone": _of_no_workflow(WorkflowPace),
    }
    for what, rows in old.items():
        report.add(what, rows.count() if dry_run else _in_batches(rows, batch, _delete_rows))
    strays = _folders_without_execution(now - KEEP_STRAY_FILES, batch)
    report.add("stray folders of files", _remove_folders(strays, dry_run=dry_run))
    folders = list(orphan_folders(now))
    report.add("folders of logs without a run", len(folders))
    if not dry_run:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        report.add("counters folded", counters.fold())
        report.add("audit entries chained", chain.extend())


def ended_runs() -> models.QuerySet[WorkflowRun]:
    """Those that have ended, and that no further attempt waits for."""
    queued = RunAttempt.objects.filter(run=OuterRef("pk"), number__gt=OuterRef("attempt"))
    return WorkflowRun.objects.filter(state__in=sorted(FINAL_RUN_STATES)).exclude(Exists(queued))


def _old_runs(before: datetime) -> models.QuerySet[WorkflowRun]:
    return ended_runs().filter(ended_at__lt=before)


def _old_workflows(before: datetime) -> models.QuerySet[Workflow]:
    """Archived, without runs, and not the title's newest: its number must not be given again, unless
    nothing of the title is left."""
    others = Workflow.objects.filter(title=OuterRef("title")).exclude(pk=OuterRef("pk"))
    return Workflow.objects.filter(
        ~Exists(WorkflowRun.objects.filter(workflow=OuterRef("pk"))),
        archived_at__lt=before,
        next_check_at=None,
    ).exclude(models.Q(latest=True) & Exists(others))


def _of_no_workflow(model: type[models.Model]) -> models.QuerySet[Any]:
    titles = Workflow.objects.filter(title=OuterRef("workflow"))
    return model._default_manager.exclude(workflow="").exclude(Exists(titles))


def _tries_with_logs(before: datetime) -> models.QuerySet[TaskTry]:
    return TaskTry.objects.filter(
        task_run__run__ended_at__lt=before,
        task_run__run__state__in=sorted(FINAL_RUN_STATES),
    ).exclude(log="")


def _in_batches(
    rows: models.QuerySet[models.Model]
    | models.QuerySet[WorkflowRun]
    | models.QuerySet[TaskTry]
    | models.QuerySet[Workflow],
    batch: int,
    delete: Callable[[type[models.Model], list[Any]], int],
) -> int:
    """Keyset batches: what can't be deleted is passed over, not asked for again."""
    total, last = 0, None
    while True:
        page = rows.order_by("pk")
        if last is not None:
            page = page.filter(pk__gt=last)
        keys: list[Any] = list(page.values_list("pk", flat=True)[:batch])
        if not keys:
            return total
        last = keys[-1]
        total += delete(rows.model, keys)


def _delete_rows(model: type[models.Model], keys: list[Any]) -> int:
    with transaction.atomic():
        model._default_manager.filter(pk__in=keys).delete()
    return len(keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """What deleted runs have left beside the database: `keys` of the runs, `names` of their folders,
    `logs` that are files of their own."""

    keys: list[Any]
    names: set[str]
    logs: list[str]

    def delete_files(self) -> None:
        """Once the rows are gone for good."""
        attempts = RunAttempt.objects.filter(external_id__in=self.names)
        kept = set(attempts.values_list("external_id", flat=True))
        _delete_files([log for log in self.logs if log.partition("/")[0] not in kept])
        for name in self.names - kept:
            _delete_folder(name)
            if _OUR_FOLDER.match(name):
                artifacts.remove(name)
        for key in self.keys:
            _delete_folder(f"archive/{key // 1000}/{key}")


def delete_run_rows(old: models.QuerySet[WorkflowRun], keys: list[Any]) -> Rest:
    """Deletes those of the runs that are `old` still, with all their rows and what our own engine keeps
    of them. Must run inside a transaction; whoever calls deletes the files after it."""
    # A retry may have begun since they were chosen, and have ended too.
    chosen = old.select_for_update().filter(pk__in=keys).order_by("pk")
    keys = list(chosen.values_list("pk", flat=True))
    attempts = RunAttempt.objects.filter(run_id__in=keys).exclude(external_id="")
    named = list(attempts.values_list("run_id", "external_id"))
    # A hook may still run, or an execution that was marked as ended by hand.
    busy = artifacts.in_use(name for _, name in named)
    held = {run for run, name in named if name in busy}
    keys = [key for key in keys if key not in held]
    # Only from here on it is known whose names and logs may go.
    names = {name for run, name in named if run not in held}
    logs = TaskTry.objects.filter(task_run__run_id__in=keys).exclude(log="")
    files = list(logs.values_list("log", flat=True))
    requests.forget(sorted(names))
    WorkflowRun.objects.filter(pk__in=keys).delete()
    return Rest(keys=keys, names=names, logs=files)


def _delete_runs(
    old: models.QuerySet[WorkflowRun], model: type[models.Model], keys: list[Any]
) -> int:
    with transaction.atomic():
        rest = delete_run_rows(old, keys)
    rest.delete_files()
    return len(rest.keys)


def _delete_logs(model: type[models.Model], keys: list[Any]) -> int:
    rows = TaskTry.objects.filter(pk__in=keys)
    names = list(rows.values_list("log", flat=True))
    rows.update(log="", log_complete=True)
    _delete_files(names)
    return len(keys)


def _delete_files(names: list[str]) -> None:
    for name in names:
        try:
            storages["logs"].delete(name)
        except (OSError, SuspiciousFileOperation) as error:
            logger.warning("The log %s can't be deleted: %s", name, error)


def _delete_folder(name: str) -> None:
    folder = _folder(name)
    if folder is not None and folder.is_dir():
        shutil.rmtree(folder, ignore_errors=True)


def _folder(name: str) -> Path | None:
    """A folder inside the storage `logs`; None where that isn't a folder of files, or it isn't
    inside."""
    storage = storages["logs"]
    if not isinstance(storage, FileSystemStorage):
        return None
    try:
        folder = Path(storage.path(name))
    except SuspiciousFileOperation:
        return None
    return folder if folder != Path(storage.location) else None


def _folders_of_old_runs(before: datetime, batch: int) -> Iterator[str]:
    """The folders of every attempt of runs that ended before that, while nothing of them runs."""
    for folders in _our_folders(batch):
        old = _old_runs(before).filter(uuid__in=set(folders.values()))
        uuids = {str(uuid) for uuid in old.values_list("uuid", flat=True)}
        names = [name for name, uuid in folders.items() if uuid in uuids]
        busy = artifacts.in_use(names)
        yield from (name for name in names if name not in busy)


def _folders_without_execution(before: datetime, batch: int) -> Iterator[str]:
    """Those that no execution has, and that nobody touched since then."""
    for folders in _our_folders(batch):
        known = set(
            Execution.objects.filter(external_id__in=folders).values_list("external_id", flat=True)
        )
        for name in folders:
            with suppress(OSError):
                touched = (artifacts.root() / name).lstat().st_mtime
                if name not in known and touched < before.timestamp():
                    yield name


def _our_folders(batch: int) -> Iterator[dict[str, str]]:
    """External id -> the run's uuid, of the executions that have folders."""
    names = artifacts.executions()
    while some := list(islice(names, batch)):
        matches = [(name, _OUR_FOLDER.match(name)) for name in some]
        yield {name: match[1] for name, match in matches if match}


def _remove_folders(names: Iterator[str], *, dry_run: bool) -> int:
    return sum(dry_run or artifacts.remove(name) for name in names)


def orphan_folders(now: datetime) -> Iterator[Path]:
    """Folders of our own engine's logs whose run is gone."""
    storage = storages["logs"]
    if not isinstance(storage, FileSystemStorage) or not Path(storage.location).is_dir():
        return
    found: dict[str, list[Path]] = {}
    for folder in Path(storage.location).iterdir():
        named = _OUR_FOLDER.match(folder.name)
        if named and now.timestamp() - folder.stat().st_mtime > YOUNG.total_seconds():
            found.setdefault(named[1], []).append(folder)
    uuids = sorted(found)
    for at in range(0, len(uuids), BATCH):
        some = uuids[at : at + BATCH]
        known = {
            str(uuid)
            for uuid in WorkflowRun.objects.filter(uuid__in=some).values_list("uuid", flat=True)
        }
        for uuid in some:
            if uuid not in known:
                yield from found[uuid]
