"""Many rows in one statement, of every type of column, only where the version fits."""

import uuid

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from engines.clock import database_now
from runs.bulk import fitted, insert_rows, update_rows, without_nul
from runs.models import RunEvent, TaskRun, WorkflowRun
from tests.factories import make_engine, make_run, make_workflow

pytestmark = pytest.mark.django_db


def make_runs(number):
    workflow = make_workflow({"a": []}, engine=make_engine())
    return [make_run(workflow) for _ in range(number)]


def test_columns_of_every_type_are_written():
    run, engine = make_runs(1)[0], make_engine()
    now, key = database_now(), uuid.uuid4()
    values = {
        "uuid": key,
        "engine": engine,
        "pinned": True,
        "parameters": {"a": [1, None, "é"]},
        "result": None,
        "error": "x",
        "ended_at": now,
        "started_at": None,
        "attempt": 7,
        "state": "FAILED",
        "flags": {},
    }
    with transaction.atomic():
        assert update_rows(WorkflowRun, [(run.pk, run.version, values)]) == {run.pk}
    fresh = WorkflowRun.objects.get(pk=run.pk)
    for name, value in values.items():
        assert getattr(fresh, name) == value, name
    task = run.task_runs.get()
    with transaction.atomic():
        update_rows(TaskRun, [(task.pk, None, {"progress": 0.25, "result": [1], "inputs": "x"})])
    task.refresh_from_db()
    assert (task.progress, task.result, task.inputs) == (0.25, [1], "x")


def test_a_json_null_is_told_from_no_value():
    task = make_runs(1)[0].task_runs.get()
    for value in (None, {"a": None}, [], 0, False, ""):
        with transaction.atomic():
            update_rows(TaskRun, [(task.pk, None, {"result": value})])
        task.refresh_from_db()
        assert task.result == value


def test_only_rows_of_the_expected_version_are_written():
    runs = make_runs(3)
    WorkflowRun.objects.filter(pk=runs[1].pk).update(version=5)
    rows = [(run.pk, run.version, {"note": "new", "version": run.version + 1}) for run in runs]
    with transaction.atomic():
        assert update_rows(WorkflowRun, rows) == {runs[0].pk, runs[2].pk}
    notes = dict(WorkflowRun.objects.values_list("pk", "note"))
    assert notes == {runs[0].pk: "new", runs[1].pk: "", runs[2].pk: "new"}


def test_a_row_that_is_gone_is_not_counted():
    with transaction.atomic():
        assert update_rows(TaskRun, [(10**9, None, {"error": "x"})]) == set()


def test_a_statement_for_each_set_of_columns_however_many_rows():
    runs = make_runs(60)
    rows = [(run.pk, run.version, {"note": "x"}) for run in runs[:50]]
    rows += [(run.pk, run.version, {"error": "y"}) for run in runs[50:]]
    with transaction.atomic(), CaptureQueriesContext(connection) as caught:
        assert len(update_rows(WorkflowRun, rows)) == 60
    assert len(caught) <= 4


def test_texts_are_fitted_to_their_columns():
    column = WorkflowRun._meta.get_field("raw_state")
    assert fitted(column, "x" * 500) == "x" * 100
    assert fitted(column, "a\x00b") == "a\ufffdb"
    assert without_nul({"a\x00": ["\x00", {"b": "\x00"}], "n": 1}) == {
        "a\ufffd": ["\ufffd", {"b": "\ufffd"}],
        "n": 1,
    }


def test_many_new_rows_are_written_at_once_and_know_their_keys():
    run = make_runs(1)[0]
    before = run.task_runs.get()
    with CaptureQueriesContext(connection) as found, transaction.atomic():
        rows = [
            TaskRun(run=run, name="a", map_index=index, result={"é": [index]})
            for index in range(250)
        ]
        insert_rows(TaskRun, iter(rows))
    assert len([query for query in found if "INSERT" in query["sql"]]) == 1
    assert len({row.pk for row in rows} | {before.pk}) == 251
    for row in (rows[0], rows[249]):
        fresh = TaskRun.objects.get(pk=row.pk)
        assert (fresh.map_index, fresh.result) == (row.map_index, {"é": [row.map_index]})
        assert fresh.uuid == row.uuid
        assert fresh.created_at is not None
        assert not row._state.adding
    later = TaskRun.objects.create(run=run, name="b")
    assert later.pk > rows[-1].pk


def test_the_first_rows_of_a_table_are_numbered_from_one():
    run = make_run()
    TaskRun.objects.all().delete()
    RunEvent.objects.all().delete()
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM sqlite_sequence WHERE name = 'runs_taskrun'")
    with transaction.atomic():
        insert_rows(TaskRun, [TaskRun(run=run, name="a", map_index=n) for n in range(120)])
    assert TaskRun.objects.filter(run=run).count() == 120
    if connection.vendor == "sqlite":
        assert TaskRun.objects.order_by("pk").first().pk == 1


def test_a_row_that_is_there_already_undoes_all():
    run = make_runs(1)[0]
    rows = [TaskRun(run=run, name="a", map_index=index) for index in [*range(120), 0]]
    with pytest.raises(IntegrityError), transaction.atomic():
        insert_rows(TaskRun, rows)
    assert run.task_runs.count() == 1
