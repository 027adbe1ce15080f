"""A run's start as a command that people can copy, for any POSIX shell."""

import json
import shlex

from runs.labels import labels_of
from runs.models import WorkflowRun

MOST = 50_000  # characters of the values; with more of them the hub takes them from the run itself


def start_again(url: str, run: WorkflowRun) -> str:
    """Starts another run with the same values; `url` is where runs are started. Every character beyond
    ASCII is spelled out, so that what is seen is what is sent."""
    values: dict[str, object] = {
        "workflow": {"title": run.workflow.title, "version": run.workflow.version},
        "parameters": run.parameters,
        "labels": labels_of(run),
    }
    if run.pinned and run.engine:
        values["engine"] = run.engine.name
    body = json.dumps(values)
    if len(body) > MOST:
        url, body = f"{url}/{run.pk}/rerun", "{}"
    return (
        f"curl -sS -X POST {shlex.quote(url)} \\\n"
        '  -H "Authorization: Bearer $TOKEN" \\\n'
        "  -H 'Content-Type: application/json' \\\n"
        f"  -d {shlex.quote(body)}"
    )
