"""A process dies at each commit and each call on a run's way, before and after, and others go on: each
attempt is started once and ends once, nothing is lost, and the history has no gap."""

import ast
import signal
from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, transaction

from engines.dag.models import StepTry
from tests.faults import local_worlds, worlds
from tests.faults.aftermath import World, all_is_well, goes_on
from tests.faults.nursery import Nursery
from tests.meta import source

SENT = "intent.writing intent.written submit.calling submit.called outcome.writing outcome.written"
AROUND_THE_CALL = "intent.written submit.calling submit.called outcome.writing"

# What the process dies of -> the points at which it dies there; `:2` is the second time it is there.
CASES: dict[str, str] = {
    "submitted": f"""lease.taken health.calling health.called settle.writing settle.written {SENT}
        moves.writing moves.written:2 submit.called:2 engine.writing engine.written metrics.writing
        metrics.written release.writing release.written deploy.calling deploy.called""",
    "submitted B": AROUND_THE_CALL,
    "submitted C": AROUND_THE_CALL,
    "reply_lost": "find.calling find.called outcome.writing outcome.written",
    "reply_lost B": "find.called outcome.writing",
    "reply_lost C": "find.called outcome.writing",
    "call_lost": "find.called resend.writing resend.written submit.calling submit.called",
    "call_lost B": "resend.written submit.calling submit.called",
    "call_lost C": "resend.written submit.calling submit.called",
    "watched": "renew.writing renew.written beat.written submit.called merge.written",
    "ended": """observe.calling observe.called merge.writing moves.writing merge.written
        logs.calling logs.called log.stored log.writing log.written""",
    "ended_in_steps": "observe.called:2 merge.written engine.writing engine.written",
    "canceled": "cancel.calling cancel.called outcome.written",
    "canceling": "moves.writing moves.written",
    "task_canceled": "cancel_task.calling cancel_task.called outcome.written",
    "retried": AROUND_THE_CALL,
    "retried C": "submit.calling submit.called",
    "retried_together": """bulkjob.writing bulkjob.written bulk.writing bulk.written bulk.writing:2
        bulk.written:3 moves.writing:2 bulkjob.writing:2 bulkjob.written:2 submit.called:2""",
    "retried_in_place": AROUND_THE_CALL,
    "restarted": "cancel.called settle.writing:2 settle.written:2 submit.called",
    "forgotten": "missing.writing missing.written",
    "asked_for": "hints.drained look.writing look.written",
    "unrouted": "route.writing route.written",
    "misdated": "misdated.writing misdated.written",
    "freed": "free.writing free.written",
    "deploying": "deployment.calling deployment.called definition.writing definition.written",
    "archived": "undeploy.calling undeploy.called definition.writing definition.written",
    "called": "turns.writing turns.written",
    "tested": "job.writing job.written job.writing:2 job.written:2 job.written:3",
    "posted": "reply.writing reply.written",
    "overdue": "overdue.writing overdue.written",
    "local_submitted": "start.writing start.written execution.writing execution.written",
    "local_work": """worker.registered claim.writing claim.written step.taken step.ended
        turn.writing turn.written turn.writing:4 turn.written:4 retire.ended""",
    "local_work_survived": "claim.written step.ended turn.writing",
    "local_together": """claim.written:2 step.next:2 step.next:6 batch.kept:2 turn.writing:3
        turn.written:3 step.ended:3""",
    "local_together_survived": "step.next:3 turn.writing:3",
    "local_hooked": """turn.writing turn.written step.taken:2 turn.writing:2 turn.writing:3
        turn.written:3 step.ended:4""",
    "local_hooked_survived": "turn.writing turn.written:2",
    "local_hooks_ended": "hooks.writing hooks.written",
    "local_orphaned": "recover.ended execution.writing execution.written",
    "local_orphaned_and_looked_at": "recover.ended execution.writing execution.written",
    "local_spooled": "spool.replayed execution.writing execution.written",
    "local_cut_off": "spool.writing spool.written spool.recorded turn.written",
    "local_retrying": "execution.writing execution.written",
    "local_child": "child.starting child.writing child.written",
    "local_child_ended": "answer.calling answer.called answer.writing answer.written",
    "local_child_called_off": "calloff.writing calloff.written",
    "local_overdue": """overdue.writing overdue.written cancel.calling cancel.called
        execution.writing execution.written outcome.written""",
    "local_canceled": "cancel.calling cancel.called execution.writing execution.written",
}
KEPT = {"auth", "contenttypes", "django_q", "axes", "sessions", "admin"}  # nobody touches these
QUICK = {
    "WORKFLOWHUB_SUBMIT_QUARANTINE": 0.01,
    "WORKFLOWHUB_LOST_AFTER": 0.01,
    "WORKFLOWHUB_BREAKER_FAILURES": 1000,
}


def make_world(name: str, make_hub: worlds.MakeHub) -> World:
    title, _, submission = name.partition(" ")
    where = local_worlds if title.startswith("local_") else worlds
    make: Callable[..., World] = getattr(where, title)
    return make(make_hub, submission=submission) if submission else make(make_hub)


@pytest.mark.faults
@pytest.mark.parametrize("world", CASES)
def test_fault_10_a_death_at_any_point_loses_nothing_and_doubles_nothing(
    world: str,
    nursery: Nursery,
    make_hub: worlds.MakeHub,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("engines.http.RETRIES", 0)
    for name, value in QUICK.items():
        setattr(settings, name, value)
    for point in CASES[world].split():
        at = point if ":" in point else f"{point}:1"
        made = make_world(world, make_hub)
        code = nursery.call(
            made.life, crash_at=at, alone=made.survives, settings=QUICK, **made.given
        )
        if made.survives:
            assert (code, StepTry.objects.filter(reason="killed").count()) == (0, 1), at
        else:
            assert code == -signal.SIGKILL, f"It didn't come to {at}. {nursery.said()}"
        made.again()
        goes_on(made)
        all_is_well(made, at)
        clear()


def clear() -> None:
    """What TransactionTestCase does between two tests, in a twentieth of the time: it truncates."""
    with transaction.atomic(), connection.cursor() as cursor:
        for model in apps.get_models(include_auto_created=True):
            if model._meta.app_label not in KEPT:
                cursor.execute(f'DELETE FROM "{model._meta.db_table}"')


def points_in_code() -> set[str]:
    """Those that are named where they stand, and two for each kind of call to an engine."""
    named, calls = set(), set()
    for file in source.python(tests=False):
        if "crash_point" not in source.text(file) and ".ask(" not in source.text(file):
            continue
        for node in ast.walk(source.tree(file)):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name, first = _name(node.func), node.args[0]
            if name == "crash_point" and isinstance(first, ast.Constant):
                named.add(first.value)
            elif name == "ask" and isinstance(first, ast.Constant):
                calls |= {f"{first.value}.calling", f"{first.value}.called"}
    return named | calls


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def test_every_crash_point_has_a_case() -> None:
    tried = {point.partition(":")[0] for points in CASES.values() for point in points.split()}
    assert len(tried) > 60
    assert points_in_code() - tried == set(), "Add a case for each of these."
    assert tried - points_in_code() == set(), "These are no more."
