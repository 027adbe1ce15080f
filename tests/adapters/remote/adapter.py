"""The kind `remote`: an engine behind HTTP, as engines.testing.fake_http plays it. Only tests have
it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from engines.base import (
    Definition,
    EngineAdapter,
    Health,
    LogChunk,
    Page,
    RetrySpec,
    RunNotFound,
    RunSnapshot,
    RunSpec,
    Submission,
    TaskSnapshot,
)
from engines.config import ConfigField, FieldType
from engines.http import HttpDoor
from engines.logfile import parse_line
from tests.adapters.remote import definition
from tests.adapters.remote.states import RUN_STATES, TASK_STATES


class Adapter(EngineAdapter):
    label = "Remote (tests)"
    description = "An engine behind HTTP whose every behaviour and fault a test chooses."
    formats = (definition.FORMAT,)
    fields = (
        ConfigField(name="url", label="URL", type=FieldType.URL, required=True),
        ConfigField(name="token", label="Token", type=FieldType.SECRET),
        ConfigField(
            name="submission",
            label="A second submit",
            type=FieldType.CHOICE,
            default="A",
            choices=(
                ("A", "is refused"),
                ("B", "starts again"),
                ("C", "starts another, our id is a tag"),
            ),
        ),
        ConfigField(
            name="in_place", label="Retries in place", type=FieldType.BOOLEAN, default=False
        ),
        ConfigField(
            name="incremental", label="Lists changes", type=FieldType.BOOLEAN, default=False
        ),
    )
    submission = Submission.DEDUPLICATES
    page_size = 500
    capabilities = {
        "cancel_run": True,
        "cancel_task": True,
        "retry_failed": True,
        "retry_task": True,
        "live_logs": True,
        "deploy": "A run carries its definition.",
        "import_definitions": "It keeps no definitions.",
        "import_runs": "Its runs have no workflows of their own.",
    }

    def __init__(self, *, engine_id: int, name: str, config: Mapping[str, Any]) -> None:
        super().__init__(engine_id=engine_id, name=name, config=config)
        self.submission = Submission(config["submission"])
        self.retries_in_place = config["in_place"]
        self.observes_changes = config["incremental"]
        self._door = HttpDoor(config["url"], token=config["token"] or "")

    @classmethod
    def read(cls, text: str, format: str) -> Definition:
        return definition.read(text, format)

    def health(self) -> Health:
        said = self._door.get("/health")
        return Health(ok=said["ok"], version=said["version"], capabilities=self.capability_table())

    def submit(self, run: RunSpec) -> RunSnapshot:
        body = {"id": run.external_id, "definition": json.loads(run.workflow.definition)}
        response = self._door.call("POST", "/runs", json=body, accept={409})
        if response.status == 409:  # an earlier submit of ours arrived
            return self.find(run.external_id)
        return _snapshot(response.json())

    def find(self, external_id: str) -> RunSnapshot:
        if self.submission is not Submission.TAG_ONLY:
            return _snapshot(self._door.get(_path(external_id), not_found=RunNotFound))
        found = self._door.get("/runs", params={"tag": external_id})["runs"]
        if not found:
            raise RunNotFound(f"No run is tagged {external_id}.")
        return _snapshot(found[0])

    def observe(self, cursor: str | None, watching: Sequence[str]) -> Iterator[Page]:
        for start in range(0, len(watching), self.page_size):
            ids = watching[start : start + self.page_size]
            said = self._door.get("/runs", params={"ids": ",".join(ids), "limit": self.page_size})
            seen = {run["id"] for run in said["runs"]}
            yield Page(
                snapshots=tuple(map(_snapshot, said["runs"])),
                missing=tuple(id for id in ids if id not in seen),
            )
        if self.observes_changes:
            yield from self._changes(cursor)

    def _changes(self, cursor: str | None) -> Iterator[Page]:
        query: dict[str, Any] = {"changed_since": cursor or "0", "limit": self.page_size}
        first: int | None = None
        while True:
            said = self._door.get("/runs", params=query)
            # What changes while we page has a later revision than the first page told.
            first = said["revision"] if first is None else first
            last = said["next"] is None
            yield Page(
                snapshots=tuple(map(_snapshot, said["runs"])), cursor=str(first) if last else None
            )
            if last:
                return
            query["page"] = said["next"]

    def cancel(self, external_id: str, *, overdue: str = "") -> None:
        self._door.post(f"{_path(external_id)}/cancel", not_found=RunNotFound)

    def cancel_task(self, external_id: str, task: str, map_index: int) -> None:
        self._door.post(
            f"{_path(external_id)}/tasks/{quote(task, safe='')}/cancel", not_found=RunNotFound
        )

    def retry(self, run: RunSpec, retry: RetrySpec) -> RunSnapshot:
        tasks = [task for task, _ in retry.tasks]
        previous = retry.previous_external_id
        if self.retries_in_place:
            path, body = f"{_path(previous)}/retry", {"attempt": run.attempt, "tasks": tasks}
        else:
            path, body = "/runs", {"id": run.external_id, "previous": previous, "tasks": tasks}
        return _snapshot(self._door.post(path, body, not_found=RunNotFound))

    def logs(
        self, external_id: str, task: str, map_index: int, try_number: int, offset: int
    ) -> LogChunk:
        said = self._door.get(
            f"{_path(external_id)}/tasks/{quote(task, safe='')}/log",
            params={"try": try_number, "offset": offset},
            not_found=RunNotFound,
        )
        lines = said["text"].splitlines()
        return LogChunk(
            lines=tuple(
                parse_line(n, line) for n, line in enumerate(lines, said["lines_before"] + 1)
            ),
            next_offset=said["next"],
            complete=said["complete"],
        )

    def link(self, external_id: str) -> str:
        return f"{self.config['url']}{_path(external_id)}"


def _path(external_id: str) -> str:
    return f"/runs/{quote(external_id, safe='')}"


def _snapshot(run: Mapping[str, Any]) -> RunSnapshot:
    return RunSnapshot(
        external_id=run["id"],
        state=RUN_STATES.get(run["state"]),
        raw_state=run["state"],
        attempt=None,
        started_at=_time(run["started"]),
        ended_at=_time(run["ended"]),
        tasks=tuple(
            TaskSnapshot(
                task=task["name"],
                state=TASK_STATES.get(task["state"]),
                raw_state=task["state"],
                try_number=max(task["try"], 1),
                started_at=_time(task["started"]),
                ended_at=_time(task["ended"]),
            )
            for task in run["tasks"]
        ),
    )


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
