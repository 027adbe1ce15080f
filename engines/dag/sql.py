"""How the engine's own statements reach the database: on PostgreSQL prepared once per connection and,
within `together`, sent at once instead of one after the other; on SQLite as they are.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, cast
from uuid import UUID

from django.db import connection
from psycopg import Connection, Cursor

Row = tuple[Any, ...]
Answer = Callable[[], list[Row]]
Value = TypeVar("Value")

MOST_PREPARED_VALUES = 24  # longer lists make statements that don't come again
MOST_VALUES = 10_000  # of one statement: no database takes any number of them


def ask(text: str, values: Sequence[Any] = ()) -> Answer:
    """Sends a statement that gives rows; they are waited for when the answer is called."""
    if connection.vendor != "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(text, values)
            rows: list[Row] = cursor.fetchall()
        return lambda: rows
    sent = _send(text, values)

    def fetch() -> list[Row]:
        with connection.wrap_database_errors:
            return sent.fetchall()

    return fetch


def run(text: str, values: Sequence[Any] = ()) -> list[Row]:
    """All rows of a statement."""
    return ask(text, values)()


def change(text: str, values: Sequence[Any] = ()) -> None:
    """Sends a statement whose answer nobody needs. Within `together` its errors come to light with
    the next answer."""
    if connection.vendor == "postgresql":
        _send(text, values)
        return
    with connection.cursor() as cursor:
        cursor.execute(text, values)


def marks(values: Collection[Any]) -> str:
    """A mark for each value, for a list in a statement."""
    return ", ".join(["%s"] * len(values))


def parts(values: Sequence[Value]) -> Iterator[Sequence[Value]]:
    """A long list in parts that one statement each can take."""
    for at in range(0, len(values), MOST_VALUES):
        yield values[at : at + MOST_VALUES]


@contextmanager
def together() -> Iterator[None]:
    """The statements within make one round trip, until an answer is called for."""
    if connection.vendor != "postgresql":
        yield
        return
    connection.ensure_connection()
    with connection.wrap_database_errors, _raw().pipeline():
        yield


def _send(text: str, values: Sequence[Any]) -> Cursor[Row]:
    connection.ensure_connection()
    raw = _raw()
    if raw.prepare_threshold is None:
        # Only what asks for it is prepared: Django's own statements hardly come twice.
        raw.prepare_threshold = 1_000_000
    cursor: Cursor[Row] = Cursor(raw)
    with connection.wrap_database_errors:
        cursor.execute(cast(Any, text), values, prepare=len(values) <= MOST_PREPARED_VALUES)
    return cursor


def _raw() -> Connection[Row]:
    return cast(Connection[Row], connection.connection)


def now() -> str:
    """The database's clock as an expression; it goes on within a transaction."""
    if connection.vendor == "postgresql":
        return "clock_timestamp()"
    return "strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now')"


def moment() -> str:
    """The database's clock when the statement began, as an expression: one time for all its rows."""
    return "statement_timestamp()" if connection.vendor == "postgresql" else now()


def stamp() -> str:
    """What is put into `changed`, as an expression: the number of this transaction. It is exact
    about which transactions an observer has seen, which no clock is."""
    if connection.vendor == "postgresql":
        return "pg_current_xact_id()::text::bigint"
    return "(SELECT value FROM dag_clock WHERE id = 1)"


def begin_changes() -> None:
    """SQLite has no number of its own for a transaction: the first thing that one does is to count
    itself."""
    if connection.vendor != "postgresql":
        change(
            "INSERT INTO dag_clock (id, value) VALUES (1, 1) "
            "ON CONFLICT (id) DO UPDATE SET value = value + 1"
        )


def stamp_now() -> int:
    """`stamp` as a number, for rows that are not written by a statement of this module."""
    return int(run(f"SELECT {stamp()}")[0][0])


def later(seconds: float) -> str:
    """The database's clock plus (or minus) so many seconds, as an expression."""
    if connection.vendor == "postgresql":
        return f"(clock_timestamp() + interval '{seconds:.3f} seconds')"
    return f"strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now', '{seconds:+.3f} seconds')"


def before(seconds: str) -> str:
    """The database's clock minus so many seconds (an expression), as an expression."""
    if connection.vendor == "postgresql":
        return f"(clock_timestamp() - {seconds} * interval '1 second')"
    return f"strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now', (-{seconds}) || ' seconds')"


def begun(column: str, seconds: str) -> str:
    """The column, or the database's clock minus so many seconds (an expression, which may be NULL) where
    that is later, as an expression."""
    if connection.vendor == "postgresql":
        return f"GREATEST({column}, {before(f'{seconds}::float')})"
    return f"COALESCE(MAX({column}, {before(seconds)}), {column})"


def most(one: str, other: str) -> str:
    """The larger of two expressions."""
    return f"{'GREATEST' if connection.vendor == 'postgresql' else 'MAX'}({one}, {other})"


def as_key(value: UUID) -> Any:
    """A UUID as a column of either database takes it."""
    return value if connection.features.has_native_uuid_field else value.hex


def as_text(column: str) -> str:
    """A column of JSON as the text that it is, as an expression."""
    return f"{column}::text" if connection.vendor == "postgresql" else column


def seconds_until(time: str) -> str:
    """How far a time (an expression) is ahead of the database's clock, as an expression."""
    if connection.vendor == "postgresql":
        return f"EXTRACT(EPOCH FROM {time} - clock_timestamp())"
    return f"(julianday({time}) - julianday('now')) * 86400.0"
