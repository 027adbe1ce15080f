"""A row of a table as a line of JSON and back: the same text whichever database it comes from.

JSON columns are kept as the text that they are, so that nothing in them is read or changed.
"""

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Field, JSONField, Model, TextField
from django.db.models.functions import Cast

Row = Sequence[Any]
READ_AT_ONCE = 2000

# Internal type of a field -> its value from JSON; the others are in JSON what they are.
_READERS: dict[str, Callable[[Any], Any]] = {
    "BinaryField": base64.b64decode,
    "DateField": date.fromisoformat,
    "DateTimeField": datetime.fromisoformat,
    "DecimalField": Decimal,
    "DurationField": lambda value: timedelta(microseconds=value),
    "TimeField": time.fromisoformat,
    "UUIDField": UUID,
}
PLAIN = {
    "AutoField",
    "BigAutoField",
    "BigIntegerField",
    "BooleanField",
    "CharField",
    "EmailField",
    "FloatField",
    "GenericIPAddressField",
    "IntegerField",
    "JSONField",
    "PositiveBigIntegerField",
    "PositiveIntegerField",
    "PositiveSmallIntegerField",
    "SmallIntegerField",
    "TextField",
    "URLField",
}
KNOWN = PLAIN | set(_READERS)


def kind_of(field: "Field[Any, Any]") -> str:
    """The internal type of what a column holds; of a foreign key, that of what it points to."""
    while field.remote_field is not None:
        field = field.target_field  # type: ignore[attr-defined]
    return field.get_internal_type()


def columns_of(model: type[Model]) -> list[str]:
    return sorted(str(field.column) for field in model._meta.concrete_fields)


def read_rows(model: type[Model]) -> Iterator[Row]:
    """All rows, in the order of `columns_of` and of their keys; streamed."""
    fields = sorted(model._meta.concrete_fields, key=lambda field: str(field.column))
    names, texts = [], {}
    for field in fields:
        if kind_of(field) == JSONField.__name__:
            texts[f"text_of_{field.attname}"] = Cast(field.attname, TextField())
            names.append(f"text_of_{field.attname}")
        else:
            names.append(field.attname)
    rows = model._base_manager.order_by("pk").annotate(**texts).values_list(*names)
    found: Iterator[Row] = rows.iterator(chunk_size=READ_AT_ONCE)
    return found


def to_line(row: Row) -> bytes:
    """With its newline."""
    return json.dumps(row, default=_to_json, ensure_ascii=False).encode() + b"\n"


def _to_json(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value // timedelta(microseconds=1)
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (UUID, Decimal)):
        return str(value)
    if isinstance(value, (bytes, memoryview)):
        return base64.b64encode(value).decode()
    raise TypeError(f"A backup can't hold {type(value).__name__}.")


class RowReader:
    """Makes rows that the connected database takes, of the lines of one table. `constants`: column ->
    a value that all rows get instead of theirs."""

    def __init__(
        self, model: type[Model], columns: Sequence[str], constants: dict[str, Any]
    ) -> None:
        by_column = {field.column: field for field in model._meta.concrete_fields}
        self.columns = list(columns)
        self._convert = [self._converter(by_column[name]) for name in columns]
        self._constants = [(columns.index(name), value) for name, value in constants.items()]

    def rows(self, data: bytes) -> Iterator[list[Any]]:
        """Raises ValueError for what is no row of this table."""
        for line in data.splitlines():
            row = json.loads(line)
            if not isinstance(row, list) or len(row) != len(self._convert):
                raise ValueError("a row has another number of columns")
            for at, value in self._constants:
                row[at] = value
            yield [convert(value) for convert, value in zip(self._convert, row, strict=True)]

    @staticmethod
    def _converter(field: "Field[Any, Any]") -> Callable[[Any], Any]:
        kind = kind_of(field)
        if kind == JSONField.__name__:
            return lambda value: value
        read = _READERS.get(kind, lambda value: value)

        def convert(value: Any) -> Any:
            return field.get_db_prep_save(None if value is None else read(value), connection)

        return convert
