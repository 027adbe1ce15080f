"""Very many runs at once: copies of one that was started properly, made inside the database."""

from typing import Any

from django.db import connection, models

from runs.models import RunAttempt, RunEvent, TaskRun, WorkflowRun

SERIES = {
    "postgresql": "generate_series(1, %s) AS n(i)",
    "sqlite": "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %s) "
    "SELECT i FROM n) AS n",
}
UUID = {"postgresql": "gen_random_uuid()", "sqlite": "lower(hex(randomblob(16)))"}
DASHED = {
    "postgresql": "uuid::text",
    "sqlite": "substr(uuid, 1, 8) || '-' || substr(uuid, 9, 4) || '-' || substr(uuid, 13, 4) || '-' "
    "|| substr(uuid, 17, 4) || '-' || substr(uuid, 21)",
}


def make_crowd(run: WorkflowRun, number: int) -> None:
    """So many more runs like this one, which nobody has touched since its start."""
    runs, uuid = WorkflowRun._meta.db_table, UUID[connection.vendor]
    own = {"uuid": uuid, "external_id": "'copy-' || n.i"}
    source = f"{runs} AS old, {SERIES[connection.vendor]} WHERE old.id = %s"
    _insert(WorkflowRun, own, source, [number, run.pk])
    _execute(
        f"UPDATE {runs} SET external_id = 'wh-' || {DASHED[connection.vendor]} || '-1' "
        "WHERE external_id LIKE 'copy-%'",
        [],
    )
    copies = f"{runs} AS new WHERE new.id > %s AND old.run_id = %s"
    for model, own in (
        (RunAttempt, {"run_id": "new.id", "external_id": "new.external_id"}),
        (TaskRun, {"run_id": "new.id", "uuid": uuid}),
        (RunEvent, {"run_id": "new.id"}),
    ):
        _insert(model, own, f"{model._meta.db_table} AS old, {copies}", [run.pk, run.pk])
    if connection.vendor == "postgresql":
        for model in (WorkflowRun, RunAttempt, TaskRun, RunEvent):
            _execute(f"ANALYZE {model._meta.db_table}", [])


def _insert(model: type[models.Model], own: dict[str, str], source: str, values: list[Any]) -> None:
    columns = {
        f'"{field.column}"': own.get(str(field.column), f'old."{field.column}"')
        for field in model._meta.concrete_fields
        if not field.primary_key
    }
    _execute(
        f"INSERT INTO {model._meta.db_table} ({', '.join(columns)}) "
        f"SELECT {', '.join(columns.values())} FROM {source}",
        values,
    )


def _execute(text: str, values: list[Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(text, values or None)
