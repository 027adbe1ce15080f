# ruff: noqa: S608  every value is a parameter; what is put in is columns and marks
"""Makes many rows of steps at once: a step may have ten thousand items, and an execution as many steps.
The ORM takes seconds for those, which on SQLite every other writer waits for."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connection

from engines.dag.models import Step
from engines.dag.sql import marks, parts

PAGE = 500


def insert(steps: Sequence[Step]) -> None:
    """New rows; their keys are not read back."""
    if connection.vendor == "postgresql":
        Step.objects.bulk_create(steps, batch_size=PAGE)
        return
    columns = _columns()
    _write_all(
        f"INSERT INTO dag_step ({', '.join(columns)}) VALUES ({marks(columns)})",
        [tuple(_prepared(step).values()) for step in steps],
    )


def insert_items(like: Step, items: Sequence[Any]) -> None:
    """A row for each item: `like` but for its index and its item."""
    fixed = _prepared(like)
    del fixed["map_index"], fixed["item"]
    names = f"INSERT INTO dag_step ({', '.join([*fixed, 'map_index', 'item'])}) "
    found = [(index, json.dumps(item)) for index, item in enumerate(items)]
    if connection.vendor != "postgresql":
        _write_all(
            f"{names} VALUES ({marks(fixed)}, %s, %s)", [(*fixed.values(), *each) for each in found]
        )
        return
    for part in parts(found):
        with connection.cursor() as cursor:
            cursor.execute(
                f"{names} SELECT {marks(fixed)}, v.map_index, v.item::jsonb "
                "FROM UNNEST(%s::int[], %s::text[]) AS v(map_index, item)",
                [*fixed.values(), [index for index, _ in part], [item for _, item in part]],
            )


def copy(ids: Sequence[int], values: Mapping[str, Any], expressions: Mapping[str, str]) -> None:
    """Rows like those with these keys. `values`: column -> what it gets instead; `expressions`: column
    -> what gives that, with a mark where its value is to stand, if it has one."""
    taken, parameters = [], []
    for column in _columns():
        taken.append(expressions.get(column) or ("%s" if column in values else column))
        if column in values:
            parameters.append(values[column])
    for part in parts(ids):
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO dag_step ({', '.join(_columns())}) SELECT {', '.join(taken)} "
                f"FROM dag_step WHERE id IN ({marks(part)})",
                [*parameters, *part],
            )


def fresh(**values: Any) -> dict[str, Any]:
    """Column -> value, as the database takes them, of a new step with these values."""
    return _prepared(Step(**values))


def _columns() -> list[str]:
    return [str(field.column) for field in Step._meta.concrete_fields if not field.primary_key]


def _prepared(step: Step) -> dict[str, Any]:
    return {
        str(field.column): field.get_db_prep_save(getattr(step, field.attname), connection)
        for field in Step._meta.concrete_fields
        if not field.primary_key
    }


def _write_all(statement: str, rows: Sequence[Sequence[Any]]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(statement, rows)
