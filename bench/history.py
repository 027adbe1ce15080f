"""A long history, made by the database itself: ended runs with labels, attempts, task runs, tries,
events and the built-in engine's own rows; and how long fsck takes on it.

    DATABASE_URL=postgres://… python bench/history.py 1000000 --secrets 20 --fsck
    DATABASE_URL=postgres://… python bench/history.py 0 --fsck

PostgreSQL only, and only into a hub without runs. There is a run every ten seconds, the last one now.
One in ten has failed, one in a thousand is of another workflow, one in ten thousand at another engine.
Each has five task runs, three labels (`team`, one of whose values nine in ten have; `tier`; `sample`,
each of whose values fifty have; the oldest twentieth also `era`) and about 1 kB of parameters, inputs,
results and messages.
"""
# ruff: noqa: S608  the numbers are ours

import argparse
import os
import sys
import time
from argparse import RawDescriptionHelpFormatter as Raw
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_urlsafe

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "workflowhub.settings")

TASKS = ("extract", "check", "transform", "load", "report")
LABELS_OF_TEAM = {"physics": 1, "biology": 2, "rare": 3}
TEAM = "CASE WHEN n % 10000 = 0 THEN 3 WHEN n % 10 = 1 THEN 2 ELSE 1 END"
TIERS = ("gold", "silver", "bronze")
SHARING = 50  # runs have the same `sample`
OLD = 20  # one run in so many is of old, and only those have a label that says so
STATE = "CASE WHEN n % 10 = 0 THEN 'FAILED' ELSE 'COMPLETED' END"
UUID = "('00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid"
OUTER = f"'wh-' || {UUID} || '-1'"
PARAMETERS = """jsonb_build_object('sample', 'S' || n, 'genome', 'GRCh38', 'reads', n % 7919,
    'path', '/data/projects/history/samples/S' || n || '/reads.fastq.gz')"""
INPUTS = "jsonb_build_object('seconds', 0, 'sample', 'S' || n, 'step', t.name)"
RESULT = "jsonb_build_object('file', '/data/out/' || md5(n::text) || '.bam', 'lines', n % 977)"
FINGERPRINT = "CASE WHEN n % 10 = 0 THEN md5((n % 70)::text) ELSE '' END"
ERROR = """CASE WHEN n % 10 = 0 THEN 'Traceback (most recent call last):\n  File "/srv/steps/load.py", '
    'line ' || n % 97 || ', in load\nValueError: row ' || n || ' has no key' ELSE '' END"""


def statements(
    runs: int, workflows: list[int], engines: list[int], document: int, tasks: list[list[int]]
) -> list[str]:
    """`workflows`, `engines`: what most runs are of, and what few are. `tasks`: of each workflow."""
    began = datetime.now(UTC) - timedelta(seconds=10 * runs)
    ended = f"(timestamptz '{began.isoformat()}' + n * interval '10 seconds')"
    workflow = f"CASE WHEN n % 1000 = 0 THEN {workflows[1]} ELSE {workflows[0]} END"
    engine = f"CASE WHEN n % 10000 = 0 THEN {engines[1]} ELSE {engines[0]} END"
    series = f"generate_series(1, {runs}) n"
    steps = (
        f"{series}, unnest(ARRAY{tasks[0]}, ARRAY{tasks[1]}, ARRAY{list(TASKS)}) "
        "WITH ORDINALITY t(usual, other, name, at)"
    )
    task = "CASE WHEN n % 1000 = 0 THEN t.other ELSE t.usual END"
    key = f"(n - 1) * {len(TASKS)} + t.at"
    events = 4 + 2 * len(TASKS)
    samples = max(runs // SHARING, 1)
    first = len(LABELS_OF_TEAM) + len(TIERS) + 2
    labels = [("team", team) for team in LABELS_OF_TEAM] + [("tier", tier) for tier in TIERS]
    labels.append(("era", "old"))
    return [
        "SET session_replication_role = replica",  # no checks of foreign keys, row by row
        row(
            "runs_workflowrun",
            {
                "id": "n",
                "uuid": UUID,
                "workflow_id": workflow,
                "engine_id": engine,
                "state": STATE,
                "raw_state": STATE,
                "external_id": OUTER,
                "parameters": PARAMETERS,
                "result": RESULT,
                "error": ERROR,
                "fingerprint": FINGERPRINT,
                "started_at": f"{ended} - interval '4 seconds'",
                "ended_at": ended,
                "created_at": f"{ended} - interval '5 seconds'",
                "updated_at": ended,
                "last_seq": str(events),
            },
            series,
        ),
        "INSERT INTO runs_label (id, key, value) VALUES "
        + ", ".join(f"({at}, '{key}', '{value}')" for at, (key, value) in enumerate(labels, 1)),
        f"INSERT INTO runs_label (id, key, value) SELECT {first} + s, 'sample', 'S' || s "
        f"FROM generate_series(0, {samples - 1}) s",
        "INSERT INTO runs_runlabel (run_id, label_id) SELECT n, l.id FROM "
        f"{series}, LATERAL (VALUES ({TEAM}), ({len(LABELS_OF_TEAM) + 1} + n % {len(TIERS)}), "
        f"({first} + n % {samples})) l(id)",
        f"INSERT INTO runs_runlabel (run_id, label_id) SELECT n, {first - 1} "
        f"FROM generate_series(1, {runs // OLD}) n",
        row(
            "runs_runattempt",
            {
                "run_id": "n",
                "number": "1",
                "external_id": OUTER,
                "state": STATE,
                "requested_at": f"{ended} - interval '5 seconds'",
                "begun_at": f"{ended} - interval '5 seconds'",
                "sent_at": f"{ended} - interval '5 seconds'",
                "accepted_at": f"{ended} - interval '5 seconds'",
                "ended_at": ended,
            },
            series,
        ),
        row(
            "runs_taskrun",
            {
                "id": key,
                "run_id": "n",
                "task_id": task,
                "name": "t.name",
                "uuid": "gen_random_uuid()",
                "state": STATE,
                "inputs": INPUTS,
                "result": RESULT,
                "error": ERROR,
                "message": "'Wrote ' || n % 977 || ' lines.'",
                "started_at": f"{ended} - interval '4 seconds'",
                "ended_at": ended,
                "created_at": f"{ended} - interval '5 seconds'",
                "updated_at": ended,
            },
            steps,
        ),
        row(
            "runs_tasktry",
            {
                "task_run_id": key,
                "attempt": "1",
                "try_number": "1",
                "state": STATE,
                "log_complete": "true",
                "error": ERROR,
                "log": f"'runs/' || {UUID} || '/' || t.name || '.log'",
                "started_at": f"{ended} - interval '4 seconds'",
                "ended_at": ended,
            },
            steps,
        ),
        row(
            "runs_runevent",
            {
                "id": f"(n - 1) * {events} + e.seq",
                "run_id": "n",
                "seq": "e.seq",
                "old": "e.old",
                "new": f"CASE e.new WHEN 'END' THEN {STATE} ELSE e.new END",
                "cause": "e.cause",
                "actor_kind": "'engine'",
                "seen_at": ended,
            },
            f"{series}, (VALUES (1, '', 'PENDING', 'create'), (2, 'PENDING', 'SCHEDULED', 'submit'), "
            "(3, 'SCHEDULED', 'RUNNING', 'observe'), "
            f"({events}, 'RUNNING', 'END', 'observe')) "
            "e(seq, old, new, cause)",
        ),
        row(
            "runs_runevent",
            {
                "id": f"(n - 1) * {events} + 1 + t.at * 2 + e.seq",
                "run_id": "n",
                "seq": "2 + t.at * 2 + e.seq - 1",
                "task_run_id": key,
                "old": "e.old",
                "new": f"CASE e.new WHEN 'END' THEN {STATE} ELSE e.new END",
                "cause": "'observe'",
                "actor_kind": "'engine'",
                "seen_at": ended,
            },
            f"{steps}, (VALUES (1, 'PENDING', 'RUNNING'), (2, 'RUNNING', 'END')) e(seq, old, new)",
        ),
        row(
            "dag_execution",
            {
                "id": "n",
                "engine_id": engine,
                "document_id": str(document),
                "external_id": OUTER,
                "run_uuid": f"{UUID}::text",
                "run_id": "n",
                "title": "CASE WHEN n % 1000 = 0 THEN 'rare' ELSE 'history' END",
                "parameters": PARAMETERS,
                "result": RESULT,
                "max_parallel": "16",
                "state": STATE,
                "created_at": f"{ended} - interval '5 seconds'",
                "started_at": f"{ended} - interval '4 seconds'",
                "ended_at": ended,
            },
            series,
        ),
        row(
            "dag_step",
            {
                "id": key,
                "execution_id": "n",
                "name": "t.name",
                "position": "t.at - 1",
                "state": STATE,
                "inputs": INPUTS,
                "result": RESULT,
                "error": ERROR,
                "message": "'Wrote ' || n % 977 || ' lines.'",
                "started_at": f"{ended} - interval '4 seconds'",
                "ended_at": ended,
            },
            steps,
        ),
        *(
            f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))"
            for table in (
                "runs_workflowrun",
                "runs_taskrun",
                "runs_label",
                "runs_runevent",
                "dag_execution",
                "dag_step",
            )
        ),
        "SET session_replication_role = DEFAULT",
        "ANALYZE",
    ]


def row(table: str, values: dict[str, str], source: str) -> str:
    """An INSERT of every column: those not given get the default of their model."""
    from django.apps import apps

    model = next(model for model in apps.get_models() if model._meta.db_table == table)
    columns, given = [], []
    for field in model._meta.concrete_fields:
        if field.column in values:
            value = values[field.column]
        elif field.primary_key or field.null:
            continue
        else:
            value = default_of(field)
        columns.append(f'"{field.column}"')
        given.append(value)
    return f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(given)} FROM {source}"


def default_of(field: object) -> str:
    """The SQL of a model field's default."""
    import json

    value = field.get_default()  # type: ignore[attr-defined]
    if isinstance(value, (dict, list)):
        return f"'{json.dumps(value)}'::jsonb"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else f"'{value or ''}'"


def make(runs: int, secrets: int) -> None:
    from django.core.management import call_command
    from django.db import connection

    from engines.dag.definitions import keep_document
    from engines.models import Engine
    from engines.secrets import encrypt
    from runs import actions
    from runs.models import Secret, WorkflowRun
    from runs.policy import Actor

    call_command("migrate", verbosity=0)
    if connection.vendor != "postgresql" or WorkflowRun.objects.exists():
        sys.exit("Give a PostgreSQL database whose hub has no runs yet.")
    engines = [
        Engine.objects.get_or_create(name=name, defaults={"kind": "local"})[0].pk
        for name in ("local", "other")
    ]
    steps = [{"name": name, "handler": "sleep", "with": {"seconds": 0}} for name in TASKS]
    workflows = [
        actions.post_workflow(Actor(), definition={"title": title, "steps": steps})[0]
        for title in ("history", "rare")
    ]
    document = keep_document(workflows[0].definition, workflows[0].format)
    tasks = [
        list(workflow.tasks.order_by("position").values_list("pk", flat=True))
        for workflow in workflows
    ]
    for number in range(secrets):
        value = f'{token_urlsafe(24)}"/{number}'  # a sign that JSON and URLs spell in their own way
        Secret.objects.create(name=f"secret-{number}", encrypted=encrypt(value))
    with connection.cursor() as cursor:
        for sql in statements(
            runs, [workflow.pk for workflow in workflows], engines, document.pk, tasks
        ):
            began = time.monotonic()
            cursor.execute(sql)
            print(f"{time.monotonic() - began:7.1f} s  {sql[:60]}", flush=True)


def time_fsck() -> None:
    """How long each check takes, and all of them; exits with 1 if one finds anything."""
    from runs.fsck import run_checks
    from runs.invariants import CHECKS
    from runs.models import Secret, WorkflowRun

    broken = 0
    total = 0.0
    for check in CHECKS:
        began = time.monotonic()
        for found in run_checks(codes=[check.code]):
            print(f"{check.code} is broken: {found.number}, such as {found.examples[0]}")
            broken += 1
        taken = time.monotonic() - began
        total += taken
        print(f"{taken:7.2f} s  {check.code:5} {check.holds}", flush=True)
    number, known = WorkflowRun.objects.count(), Secret.objects.count()
    print(f"{total:7.2f} s  for {number:,} runs and {known} secrets")
    if broken:
        sys.exit(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Raw)
    parser.add_argument("runs", type=int, help="how many are made; 0 takes those that are there")
    parser.add_argument("--secrets", type=int, default=0, help="how many are made")
    parser.add_argument("--fsck", action="store_true", help="then time the checks of fsck")
    given = parser.parse_args()

    import django

    django.setup()
    if given.runs:
        make(given.runs, given.secrets)
    if given.fsck:
        time_fsck()


if __name__ == "__main__":
    main()
