"""fsck finds each broken invariant, mends what it may, and finds nothing in a sound hub."""

import re
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from engines.models import Engine
from engines.secrets import encrypt
from runs import actions, chain, fsck
from runs.models import (
    AuditEntry,
    IdempotencyKey,
    Lease,
    RunAttempt,
    RunEvent,
    Secret,
    TaskRun,
    WorkflowRun,
)
from runs.policy import Actor
from runs.states import RunState
from tests.factories import make_engine, make_run, make_user, make_workflow

pytestmark = pytest.mark.django_db
LONG_AGO = "2020-01-01T00:00Z"


def codes():
    return [broken.check.code for broken in fsck.run_checks()]


def change(run, **fields):
    WorkflowRun.objects.filter(pk=run.pk).update(**fields)


@pytest.fixture
def run():
    return make_run(make_workflow(engine=make_engine()))


def ended(run):
    return actions.cancel_run(Actor(), run)


def test_a_sound_hub_has_nothing_broken(run):
    ended(run)
    make_run(hold=True)
    chain.extend()
    assert codes() == []
    out = StringIO()
    call_command("fsck", stdout=out)
    assert "Every invariant holds" in out.getvalue()


def test_a_forgotten_run_is_found_and_made_due(run):
    change(run, next_check_at=None, updated_at=LONG_AGO)
    assert codes() == ["I2a"]
    call_command("fsck", "--fix", stdout=StringIO())
    assert WorkflowRun.objects.get(pk=run.pk).next_check_at is not None
    assert codes() == []


def test_a_run_that_was_set_aside_is_not_forgotten(run):
    change(run, next_check_at=None, updated_at=LONG_AGO, flags={"quarantined": "…"})
    assert codes() == []


def test_a_gap_in_the_history_is_found(run):
    ended(run)
    RunEvent.objects.filter(run=run, seq=2).delete()
    assert "I3a" in codes()


def test_a_state_that_the_history_does_not_tell_is_found(run):
    change(run, state=RunState.RUNNING)
    assert "I3b" in codes()


def test_a_final_state_that_was_undone_is_found(run):
    RunEvent.objects.create(
        run=run, seq=2, old="COMPLETED", new="PENDING", cause="observe", actor_kind="engine"
    )
    change(run, last_seq=2)
    assert codes() == ["I4a"]


def test_open_tasks_of_a_final_run_are_found_and_closed(run):
    ended(run)
    TaskRun.objects.filter(run=run, name="load").update(state="RUNNING")
    assert codes() == ["I4b", "I3c"]
    call_command("fsck", "--fix", "--only", "I4b", stdout=StringIO())
    assert codes() == []
    assert TaskRun.objects.get(run=run, name="load").state == "CANCELED"


def test_a_final_run_without_an_end_is_found_and_mended(run):
    ended(run)
    change(run, ended_at=None)
    assert codes() == ["I4c"]
    call_command("fsck", "--fix", stdout=StringIO())
    assert codes() == []


def test_an_immortal_lease_is_found_and_ended():
    Lease.objects.create(name="router", token=3, expires_at="2100-01-01T00:00Z")
    assert codes() == ["I5"]
    call_command("fsck", "--fix", stdout=StringIO())
    lease = Lease.objects.get()
    assert (lease.expires_at, lease.token) == (None, 4)


def test_a_run_without_its_attempt_is_found(run):
    RunAttempt.objects.all().delete()
    assert "I2b" in codes()


def test_an_attempt_that_tells_another_end_is_found_and_corrected(run):
    ended(run)
    RunAttempt.objects.update(state=RunState.COMPLETED)
    assert codes() == ["I2c"]
    call_command("fsck", "--fix", stdout=StringIO())
    assert codes() == []
    assert RunAttempt.objects.get().state == RunState.CANCELED


def test_a_task_state_that_the_history_does_not_tell_is_found(run):
    ended(run)
    TaskRun.objects.filter(name="load").update(state="COMPLETED")
    assert codes() == ["I3c"]


def test_a_task_run_ahead_of_its_run_is_found(run):
    TaskRun.objects.filter(name="load").update(attempt=2)
    assert codes() == ["I8a"]


def test_an_idempotency_key_without_an_answer_is_found_and_dropped():
    key = {"user": make_user(), "request_digest": "0" * 64}
    IdempotencyKey.objects.create(key="whole", status=201, body={}, **key)
    IdempotencyKey.objects.create(key="half", **key)
    assert codes() == ["I9"]
    call_command("fsck", "--fix", stdout=StringIO())
    assert [row.key for row in IdempotencyKey.objects.all()] == ["whole"]


@pytest.mark.parametrize(
    "column, value",
    [("result", {"deep": ["hunter2hunter2"]}), ("parameters", {"hunter2hunter2": 1})],
)
def test_a_workflows_secret_in_json_is_found(run, column, value):
    Secret.objects.create(name="password", encrypted=encrypt("hunter2hunter2"))
    assert codes() == []
    change(run, **{column: value})
    assert codes() == ["I10"]


def test_every_check_is_broken_by_a_test_and_says_what_to_do():
    planted = "".join(file.read_text() for file in Path(__file__).parents[1].rglob("test_*.py"))
    for check in fsck.CHECKS:
        assert f'"{check.code}"' in planted, f"No test breaks {check.code}."
        assert check.remedy.endswith(".")
        assert ("fsck --fix" in check.remedy) == (check.mend is not None)


def test_a_secret_in_a_text_is_found(run):
    engine = make_engine("remote", config={"url": "http://h"}, secrets={"token": "hunter2hunter2"})
    change(run, last_error="Authorization: hunter2hunter2")
    assert codes() == ["I10"]
    Engine.objects.filter(pk=engine.pk).delete()
    assert codes() == []


def test_a_changed_audit_entry_is_found(run):
    ended(run)
    assert chain.extend() > 0
    assert codes() == []
    AuditEntry.objects.order_by("pk").filter(action="cancel").update(actor_name="somebody else")
    assert codes() == ["A1"]


def test_the_exit_code_says_that_something_is_broken(run):
    change(run, state=RunState.RUNNING)
    with pytest.raises(CommandError, match="invariants are broken"):
        call_command("fsck", stdout=StringIO())


def test_every_number_is_explained_and_every_explanation_has_a_check_or_says_why_not():
    page = (Path(__file__).parents[2] / "docs/reliability.md").read_text()
    rows = dict(re.findall(r"^\| ([IA]\d+) \| (.*) \|$", page, re.MULTILINE))
    assert {f"I{number}" for number in range(1, 11)} <= set(rows)
    checked = {re.match(r"[A-Z]\d+", check.code)[0] for check in fsck.CHECKS}
    assert checked <= set(rows)
    assert {number for number in rows if number not in checked} == {"I6"}
    assert "*Nothing:*" in rows["I6"]


def test_a_failure_that_nothing_has_settled_is_found_and_open_again(run):
    ended(run)
    failed = make_run(run.workflow, state=RunState.FAILED)
    change(failed, resolved_by=run, ended_at=failed.created_at)
    assert "I4e" in codes()
    call_command("fsck", "--fix", "--only", "I4e", stdout=StringIO())
    assert "I4e" not in codes()
    assert list(WorkflowRun.objects.open_failures()) == [failed]
