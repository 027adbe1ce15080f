"""fsck finds a secret in every spelling in which output is masked, and reads each table once however
many secrets there are."""

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from engines.dag.leases import register
from engines.dag.models import Worker
from engines.masking import Mask, spellings
from runs import fsck
from runs.invariants import secrets
from runs.models import AuditEntry, RunEvent, TaskRun, WorkflowRun
from tests.factories import make_engine, make_run, make_secret, make_workflow

pytestmark = pytest.mark.django_db
KEY = "\n".join(["-----BEGIN A KEY-----", "kind: Config", "MIIEowIBAAKCAQEAr0x7", "-----END-----"])
VALUES = {
    "plain": "hunter2hunter2",
    "quote": 'pass"word"1',
    "backslash": "c:\\new\\table",
    "newline": "first half\nsecond half",
    "foreign": "mötley-ключ-密码",
    "signs": "50% _of_ (a|b)* [^x] {3} $end ^",
    "key": KEY,
}
SPELLED = {
    "as it is": lambda value: value,
    "as JSON": lambda value: json.dumps(value),
    "as JSON in letters of Unicode": lambda value: json.dumps(value, ensure_ascii=False),
    "as Python": repr,
    "as bytes of Python": lambda value: repr(value.encode()),
    "in a URL": lambda value: quote(value, safe=""),
    "in a form": lambda value: quote_plus(value),
    "in base64": lambda value: base64.b64encode(value.encode()).decode(),
    "for Basic authentication": lambda value: base64.b64encode(b"ada:" + value.encode()).decode(),
}


def found():
    return [example for broken in fsck.run_checks(codes=["I10"]) for example in broken.examples]


@pytest.fixture
def run():
    return make_run(make_workflow(engine=make_engine()))


def change(run, **fields):
    WorkflowRun.objects.filter(pk=run.pk).update(**fields)


@pytest.mark.parametrize("spelled", SPELLED.values(), ids=SPELLED)
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize("column", ["last_error", "result"])
def test_a_secret_is_found_in_every_spelling(run, column, value, spelled):
    make_secret("token", value)
    make_secret("other", "nobody-wrote-this")
    assert found() == []
    text = f"Header: {spelled(value)}, and so on"
    change(run, **{column: {"deep": [text]} if column == "result" else text})
    assert found() == [f"workflow run {run.pk} holds the secret token in {column}"]


def test_every_spelling_that_is_masked_is_found(run):
    value = 'a "b" \\ c/d?e=ü\tfgh'
    make_secret("token", value)
    for form in spellings(value):
        assert Mask([value]).text(form) != form
        for fields in ({"error": form}, {"result": {"x": form}}, {"result": {form: 1}}):
            change(run, error="", result=None)
            change(run, **fields)
            assert len(found()) == 1, form


def test_a_name_and_a_number_in_json_are_found(run):
    make_secret("pin", "31415926")
    change(run, parameters={"pin": 31415926})
    assert len(found()) == 1
    change(run, parameters={"31415926": None})
    assert len(found()) == 1


def test_a_line_of_a_secret_is_found_alone_where_it_tells_something(run):
    make_secret("key", KEY)
    change(run, error="MIIEowIBAAKCAQEAr0x7")
    assert len(found()) == 1
    change(run, error="kind: Config -----BEGIN A KEY----- -----END-----")
    assert found() == []


def test_what_only_looks_like_a_secret_is_none(run):
    """The middle of a long secret is what the database looks for; the whole of it has to be there."""
    long = "the-first-part-" + "m" * 40 + "-the-last-part"
    make_secret("long", long)
    make_secret("signs", "a.c.e.g.i")
    change(run, error=long[3:-3], last_error="abcdefghi")
    assert found() == []
    change(run, error=long)
    assert len(found()) == 1


def test_each_secret_of_a_row_is_told_with_its_columns(run):
    make_secret("one", "hunter2hunter2")
    make_secret("two", "swordfish-99")
    change(run, error="hunter2hunter2", note="hunter2hunter2 swordfish-99")
    assert sorted(found()) == [
        f"workflow run {run.pk} holds the secret one in note, error",
        f"workflow run {run.pk} holds the secret two in note",
    ]


@pytest.mark.parametrize("name, size", [("BATCH", 2), ("RANGE", 2), ("LONG", 8), ("PIECES", 3)])
def test_more_than_is_searched_at_once_is_all_found(run, monkeypatch, name, size):
    monkeypatch.setattr(secrets, name, size)
    for number in range(5):
        make_secret(f"token-{number}", f"hunter2hunter{number}")
    RunEvent.objects.bulk_create(
        RunEvent(run=run, seq=seq, cause="observe", actor_kind="engine", detail=detail)
        for seq, detail in enumerate(["", "hunter2hunter4", "x" * 99, "hunter2hunter0"] * 4, 2)
    )
    (broken,) = fsck.run_checks(codes=["I10"])
    assert broken.number == 8


def test_a_long_text_is_searched(run):
    make_secret("token", "hunter2hunter2")
    change(run, result=["x" * 30_000, "hunter2hunter2", "y" * 30_000])
    assert len(found()) == 1


@pytest.mark.parametrize("model", [Worker, AuditEntry])
def test_a_table_without_rows_or_with_keys_of_its_own_is_searched(model):
    make_secret("token", "hunter2hunter2")
    model.objects.all().delete()
    assert found() == []
    register(1)
    Worker.objects.update(host="hunter2hunter2")
    assert len(found()) == 1


def test_many_secrets_cost_no_more_statements_than_one(run):
    """On PostgreSQL one statement a table with one expression; on SQLite one statement a table."""
    make_secret("s0", "first-of-the-secrets")
    assert found() == []
    with CaptureQueriesContext(connection) as one:
        assert found() == []
    for number in range(1, 20):
        make_secret(f"s{number}", f"secret-number-{number:03}-{'xyz' * number}")
    with CaptureQueriesContext(connection) as twenty:
        assert found() == []
    assert len(twenty) == len(one)
    for model in (WorkflowRun, TaskRun, RunEvent, AuditEntry):
        (reads,) = [
            query["sql"]
            for query in twenty.captured_queries
            if f'"{model._meta.db_table}"' in query["sql"]
        ]
        assert reads.count(" LIKE ") == 0
        if connection.vendor == "postgresql":
            assert reads.count(" ~ ") == 2  # of rows together, of long ones alone


def test_hundreds_of_secrets_are_sought_at_once(run):
    for number in range(300):
        make_secret(f"s{number}", f"{number:03}-secret-{number * 7919:08}-value")
    change(
        run, error="It said 299-secret-02367781-value.", result={"x": "000-secret-00000000-value"}
    )
    assert sorted(line.rpartition(" holds ")[2] for line in found()) == [
        "the secret s0 in result",
        "the secret s299 in error",
    ]
