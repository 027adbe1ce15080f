"""Writes many rows in one statement: `UPDATE … FROM UNNEST` on PostgreSQL, `executemany` on SQLite."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, models

MANY = 100  # rows, from which on the ORM's inserts are too slow on SQLite

Row = tuple[int, int | None, Mapping[str, Any]]
"""(primary key, expected version or None, column -> value)"""


def update_rows(
    model: type[models.Model], rows: Sequence[Row], *, version_field: str = "version"
) -> set[int]:
    """Updates each row whose version is still the expected one; returns the keys of those written.

    Must run inside a transaction. Texts are fitted to their columns. Two rows may set different
    columns: there is one statement for each set of columns.
    """
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(sorted(row[2]))].append(row)
    written: set[int] = set()
    for names, group in groups.items():
        fields = [model._meta.get_field(name) for name in names]
        checked = group[0][1] is not None
        columns = [
            [fitted(field, row[2][name]) for row in group]
            for name, field in zip(names, fields, strict=True)
        ]
        write = _update_postgresql if connection.vendor == "postgresql" else _update_others
        written |= write(model, fields, columns, group, version_field if checked else None)
    return written


def insert_rows(model: type[models.Model], rows: Iterable[models.Model]) -> None:
    """New rows, which know their keys afterwards. Must run inside a transaction: on SQLite that holds
    the only write lock, so that many rows get the next keys there are."""
    found = list(rows)
    if connection.vendor == "postgresql" or len(found) < MANY:
        model._base_manager.bulk_create(found)
        return
    fields = model._meta.concrete_fields
    table = model._meta.db_table
    names = ", ".join(connection.ops.quote_name(str(field.column)) for field in fields)
    with connection.cursor() as cursor:
        cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = %s", [table])
        last = (cursor.fetchone() or (0,))[0]
        for key, row in enumerate(found, start=last + 1):
            row.pk = key
        cursor.executemany(
            f"INSERT INTO {connection.ops.quote_name(table)} ({names}) "  # noqa: S608 - the model's
            f"VALUES ({', '.join(['%s'] * len(fields))})",
            [
                [
                    field.get_db_prep_save(field.pre_save(row, add=True), connection)
                    for field in fields
                ]
                for row in found
            ],
        )
    for row in found:
        row._state.adding, row._state.db = False, connection.alias


def fitted(field: Any, value: Any) -> Any:
    """A value that its column takes: no NUL, no overlong text, of an object its key."""
    if isinstance(value, models.Model):
        return value.pk
    if isinstance(value, str) and not isinstance(field, models.JSONField):
        value = value.replace("\x00", "\ufffd")
        return value[: field.max_length] if field.max_length else value
    return without_nul(value) if isinstance(field, models.JSONField) else value


def without_nul(value: Any) -> Any:
    """A JSON value with every NUL character replaced: PostgreSQL's jsonb takes none."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd")
    if isinstance(value, Mapping):
        return {without_nul(str(key)): without_nul(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nul(item) for item in value]
    return value


def _update_postgresql(
    model: type[models.Model],
    fields: list[Any],
    columns: list[list[Any]],
    group: list[Row],
    version_field: str | None,
) -> set[int]:
    table = connection.ops.quote_name(model._meta.db_table)
    quoted = [connection.ops.quote_name(field.column) for field in fields]
    sets = [
        f"{name} = v.{name}{'::jsonb' if isinstance(field, models.JSONField) else ''}"
        for name, field in zip(quoted, fields, strict=True)
    ]
    arrays = ["%s::bigint[]", *(f"%s::{_array_type(field)}[]" for field in fields)]
    names = ["id", *quoted]
    values: list[Any] = [[row[0] for row in group]]
    values += [
        [_plain(field, value) for value in column]
        for field, column in zip(fields, columns, strict=True)
    ]
    condition = "t.id = v.id"
    if version_field:
        arrays.append("%s::bigint[]")
        names.append("expected_version")
        values.append([row[1] for row in group])
        condition += f" AND t.{connection.ops.quote_name(version_field)} = v.expected_version"
    sql = (
        f"UPDATE {table} AS t SET {', '.join(sets)} "  # noqa: S608 - names from the model only
        f"FROM UNNEST({', '.join(arrays)}) AS v({', '.join(names)}) "
        f"WHERE {condition} RETURNING t.id"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return {row[0] for row in cursor.fetchall()}


def _update_others(
    model: type[models.Model],
    fields: list[Any],
    columns: list[list[Any]],
    group: list[Row],
    version_field: str | None,
) -> set[int]:
    # An IMMEDIATE transaction holds SQLite's only write lock: what is read here stays so.
    expected = {row[0]: row[1] for row in group}
    found: dict[int, int | None]
    if version_field:
        found = dict(model._base_manager.filter(pk__in=expected).values_list("pk", version_field))
    else:
        found = dict.fromkeys(
            model._base_manager.filter(pk__in=expected).values_list("pk", flat=True)
        )
    winners = {pk for pk, version in found.items() if version == expected[pk]}
    sets = ", ".join(f"{connection.ops.quote_name(field.column)} = %s" for field in fields)
    sql = f"UPDATE {connection.ops.quote_name(model._meta.db_table)} SET {sets} WHERE id = %s"  # noqa: S608
    rows = [
        (
            *(
                field.get_db_prep_save(column[at], connection)
                for field, column in zip(fields, columns, strict=True)
            ),
            row[0],
        )
        for at, row in enumerate(group)
        if row[0] in winners
    ]
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(sql, rows)
    return winners


def _array_type(field: Any) -> str:
    if isinstance(field, (models.CharField, models.TextField, models.JSONField)):
        return "text"
    if isinstance(field, models.ForeignKey):
        return "bigint"
    kind = str(field.db_type(connection)).split(" CHECK")[0]
    return "bigint" if kind in {"integer", "bigserial"} else kind


def _plain(field: Any, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(field, models.JSONField):
        return json.dumps(value, cls=DjangoJSONEncoder)
    if isinstance(value, str):
        return str(value)
    return value
