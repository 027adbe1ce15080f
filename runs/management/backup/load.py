"""Fills the database that a restore builds: the tables as they were when the backup was made, its rows,
and then whatever this version has added to the tables since."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.core.management.sql import emit_post_migrate_signal
from django.db import DataError, IntegrityError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.models import AutoField, BigAutoField, Max, Model

from runs.management.backup import contents, rows
from runs.management.backup.archive import TABLES, BadBackup, Member

# The numbers of transactions are another database's.
CONSTANTS = {"dag_execution": {"changed": 0}, "dag_step": {"changed": 0}}
# Keys may have been given since the backup, to people, clients and processes: so many a second, at
# most. None of them is to be given again, for something else.
KEYS_A_SECOND = 10_000
KEYS_THAT_PEOPLE_SEE = {"runs_workflowrun": 100, "runs_workflow": 100, "engines_engine": 1}
MOST_KEY = 2**62
Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """The tables at the time of a backup: `targets`, the migrations that lead there, the models by table
    of those that it holds, and the names of all."""

    targets: list[Key]
    models: dict[str, type[Model]]
    tables: frozenset[str]


def past_of(header: Mapping[str, Any]) -> Past:
    """Raises BadBackup where this version can't make the tables of the backup, or they would be others
    than it says."""
    loader = MigrationExecutor(connection).loader
    graph = loader.graph
    applied = _applied_in(header)
    if unknown := applied - set(graph.nodes):
        raise BadBackup(
            f"it was made by version {header.get('version')}, which knows tables that this one "
            f"doesn't ({_named(unknown)}): update the hub first"
        )
    targets = sorted(
        key
        for key in applied
        if not any(
            child.key in applied and child.key[0] == key[0]
            for child in graph.node_map[key].children
        )
    )
    needed = {key for target in targets for key in graph.forwards_plan(target)}
    if needed != applied:
        raise BadBackup(f"its tables are of a mixture of versions ({_named(needed ^ applied)})")
    past = loader.project_state(targets).apps
    models = {model._meta.db_table: model for model in past.get_models(include_auto_created=True)}
    told = header.get("tables")
    if not isinstance(told, dict):
        raise BadBackup("it doesn't say which tables it has")
    for table, columns in told.items():
        model = models.get(table)
        if model is None or model._meta.label_lower in contents.LEFT_OUT:
            raise BadBackup(f"it has a table {table!r:.100}, which its version doesn't have")
        if rows.columns_of(model) != columns:
            raise BadBackup(f"its table {table} has other columns than its version had")
    chosen = {table: models[table] for table in told}
    return Past(targets=targets, models=chosen, tables=frozenset(models))


def _applied_in(header: Mapping[str, Any]) -> set[Key]:
    try:
        return {(str(app), str(name)) for app, name in header["migrations"]}
    except (KeyError, TypeError, ValueError):
        raise BadBackup("it doesn't say of which version its tables are") from None


def _named(keys: Iterable[Key]) -> str:
    return ", ".join(".".join(key) for key in sorted(keys)[:5])


class Loader:
    """Of one backup, so old, in an empty database. Used in this order: `make_tables`, `load` for each
    member, `finish`."""

    def __init__(self, header: Mapping[str, Any], past: Past, age: timedelta) -> None:
        self._header = header
        self._seconds = age.total_seconds()
        self._past = past
        self._readers: dict[str, rows.RowReader] = {}
        self.loaded: dict[str, int] = {}

    def make_tables(self) -> None:
        """As they were when the backup was made, and empty."""
        MigrationExecutor(connection).migrate(self._past.targets)
        for table, model in sorted(self._past.models.items()):
            columns = rows.columns_of(model)
            constants = {
                name: value for name, value in CONSTANTS.get(table, {}).items() if name in columns
            }
            self._readers[table] = rows.RowReader(model, columns, constants)
            with connection.cursor() as cursor:  # what migrations put there
                cursor.execute(f"DELETE FROM {connection.ops.quote_name(table)}")  # noqa: S608
        # Whatever points to another row is checked when all of them are there.
        if connection.vendor == "sqlite":
            connection.disable_constraint_checking()
        else:
            with connection.cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL DEFERRED")

    def load(self, member: Member) -> None:
        """The rows of one member."""
        table = member.group.removeprefix(f"{TABLES}/")
        reader = self._readers.get(table)
        if reader is None:
            raise BadBackup(f"it holds rows of {table!r:.100}, and says nothing of such a table")
        try:
            with transaction.atomic():
                count = _insert(table, reader.columns, reader.rows(member.read()))
        except (DataError, IntegrityError, ValueError, TypeError, OverflowError) as error:
            text = str(error).strip().split("\n")[0]
            raise BadBackup(f"a row of {table} can't be kept here: {text}") from None
        self.loaded[table] = self.loaded.get(table, 0) + count

    def finish(self, manifest: Mapping[str, Any]) -> None:
        """Every row is there: keys go on behind the last, and the tables are brought up to date."""
        for group, said in manifest.items():
            table = group.removeprefix(f"{TABLES}/")
            if group.startswith(f"{TABLES}/") and self.loaded.get(table) != said.get("rows"):
                raise BadBackup(f"it lacks rows of {table}")
        self._set_sequences()
        try:
            # Now, since nothing may be left to be checked where a table is to be changed.
            connection.check_constraints()
        except IntegrityError as error:
            text = str(error).strip().split("\n")[0]
            raise BadBackup(f"its rows don't fit together: {text}") from None
        if connection.vendor == "sqlite":
            connection.enable_constraint_checking()
        executor = MigrationExecutor(connection)
        executor.migrate(executor.loader.graph.leaf_nodes())
        ContentType.objects.clear_cache()
        emit_post_migrate_signal(verbosity=0, interactive=False, db=connection.alias)

    def _set_sequences(self) -> None:
        told = self._header.get("sequences")
        told = told if isinstance(told, dict) else {}
        with connection.cursor() as cursor:
            for table in self._readers:
                model = self._past.models[table]
                pk = model._meta.pk
                if not isinstance(pk, AutoField | BigAutoField):
                    continue
                said = told.get(table)
                last = said if type(said) is int and 0 <= said < MOST_KEY else 0
                last = max(last, model._base_manager.aggregate(most=Max("pk"))["most"] or 0)
                last += gap(table, self._seconds)
                if connection.vendor == "postgresql":
                    cursor.execute(
                        "SELECT setval(pg_get_serial_sequence(%s, %s), %s)",
                        [connection.ops.quote_name(table), pk.column, last],
                    )
                else:
                    cursor.execute("DELETE FROM sqlite_sequence WHERE name = %s", [table])
                    cursor.execute(
                        "INSERT INTO sqlite_sequence (name, seq) VALUES (%s, %s)", [table, last]
                    )


def gap(table: str, seconds: float) -> int:
    """How many keys are passed over so long after the backup: whole thousands."""
    rate = KEYS_THAT_PEOPLE_SEE.get(table, KEYS_A_SECOND)
    return ceil(max(seconds, 1) * rate / 1000) * 1000


def _insert(table: str, columns: list[str], values: Iterable[list[Any]]) -> int:
    quote = connection.ops.quote_name
    names = ", ".join(map(quote, columns))
    count = 0
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            statement = f"COPY {quote(table)} ({names}) FROM STDIN"
            with connection.wrap_database_errors, cursor.copy(statement) as copy:
                for row in values:
                    copy.write_row(row)
                    count += 1
            return count
        found = list(values)
        marks = ", ".join(["%s"] * len(columns))
        cursor.executemany(
            f"INSERT INTO {quote(table)} ({names}) VALUES ({marks})",  # noqa: S608
            found,
        )
        return len(found)
