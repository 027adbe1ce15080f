"""What runs.figures and runs.resolutions keep as runs end, for those that ended before.

It reads in pieces of ids and writes in short statements, so that no lock is held for long. Killed half
way it begins anew: nothing else has written figures before.
"""

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta

from django.db import migrations, models

PIECE = 20_000  # attempts
WRITE = 200  # rows a statement
HELD = 20_000  # rollups in memory
KEEP = timedelta(days=400)
SHORTEST, PER_DOUBLING, LAST, WEIGHT, FORGOTTEN = 0.01, 4, 112, 200, 0.05
STATES = ("COMPLETED", "FAILED", "CANCELED")

# Hour since 1970, title, engine, state, how many, and of those that tell how long they took: bucket
# and seconds together.
QUERY = """
SELECT hour, title, engine, state, bucket, COUNT(*), SUM(seconds) FROM (
    SELECT hour, title, engine, state, seconds, CASE
        WHEN seconds IS NULL THEN NULL
        WHEN seconds <= 0.01 THEN 0
        WHEN seconds >= 2592000 THEN 112
        ELSE {ceiling}(4 * LN(seconds / 0.01) / LN(2)) END AS bucket
    FROM (
        SELECT {hour} AS hour, w.title AS title, COALESCE(e.name, '') AS engine, a.state AS state,
            CASE WHEN a.state = 'COMPLETED' AND a.number = r.attempt AND r.state = 'COMPLETED'
                AND NOT r.marked THEN {seconds} END AS seconds
        FROM runs_runattempt a
        JOIN runs_workflowrun r ON r.id = a.run_id
        JOIN runs_workflow w ON w.id = r.workflow_id
        LEFT JOIN engines_engine e ON e.id = r.engine_id
        WHERE a.id > %s AND a.id <= %s AND a.ended_at IS NOT NULL
            AND a.state IN ('COMPLETED', 'FAILED', 'CANCELED')
    ) AS ends
) AS bucketed
GROUP BY 1, 2, 3, 4, 5 ORDER BY 1
"""
WORDS = {
    "postgresql": {
        "ceiling": "CEIL",
        "hour": "FLOOR(EXTRACT(EPOCH FROM a.ended_at) / 3600)",
        "seconds": "GREATEST(EXTRACT(EPOCH FROM r.ended_at - r.started_at)::float8, 0)",
    },
    "sqlite": {
        "ceiling": "CEILING",
        "hour": "CAST(STRFTIME('%%s', a.ended_at) AS INTEGER) / 3600",
        "seconds": "MAX((JULIANDAY(r.ended_at) - JULIANDAY(r.started_at)) * 86400.0, 0)",
    },
}


def backfill(apps, schema_editor):
    connection = schema_editor.connection
    rollups, paces = apps.get_model("runs", "HourlyRollup"), apps.get_model("runs", "WorkflowPace")
    for model in (rollups, paces):
        _empty(model)
    attempts = apps.get_model("runs", "RunAttempt")
    first = attempts.objects.aggregate(models.Min("pk"))["pk__min"] or 0
    last = attempts.objects.aggregate(models.Max("pk"))["pk__max"] or -1
    sql = QUERY.format(**WORDS[connection.vendor])
    oldest = (datetime.now(UTC) - KEEP).timestamp() / 3600
    held, known = {}, defaultdict(dict)
    for start in range(first - 1, last, PIECE):
        with connection.cursor() as cursor:
            cursor.execute(sql, [start, start + PIECE])
            rows = cursor.fetchall()
        fresh = defaultdict(Counter)
        for hour, title, engine, state, bucket, number, seconds in rows:
            if bucket is not None:
                fresh[title][int(bucket)] += number
            if hour < oldest:
                continue
            ends = held.setdefault((int(hour), title, engine), ([0, 0, 0], Counter(), [0.0]))
            ends[0][STATES.index(state)] += number
            if bucket is not None:
                ends[1][int(bucket)] += number
                ends[2][0] += float(seconds)
        for title, buckets in fresh.items():
            known[title] = _paced(known[title], buckets)
        if len(held) > HELD:
            _write_rollups(rollups, held)
            held = {}
    _write_rollups(rollups, held)
    _write_paces(paces, known)
    _resolve(apps.get_model("runs", "WorkflowRun"))


def _empty(model):
    while keys := list(model.objects.order_by("pk").values_list("pk", flat=True)[:1000]):
        model.objects.filter(pk__in=keys).delete()


def _paced(old, fresh):
    weights = {bucket: old.get(bucket, 0) + fresh.get(bucket, 0) for bucket in {*old, *fresh}}
    while sum(weights.values()) > WEIGHT:
        halves = {bucket: round(weight / 2, 2) for bucket, weight in weights.items()}
        weights = {bucket: weight for bucket, weight in halves.items() if weight >= FORGOTTEN}
    return weights


def _percentile(weights, share):
    rest = sum(weights.values()) * share
    for bucket, weight in sorted(weights.items()):
        rest -= weight
        if rest <= 0:
            return SHORTEST * 2 ** ((bucket - 0.5 if bucket else 0) / PER_DOUBLING)
    return 0.0


def _write_rollups(model, held):
    """Adds them to what an earlier piece has written of the same hours."""
    keys = sorted(held)
    for at in range(0, len(keys), WRITE):
        some = {}
        for hour, title, engine in keys[at : at + WRITE]:
            ended, buckets, seconds = held[hour, title, engine]
            moment = datetime.fromtimestamp(hour * 3600, UTC)
            some[moment, title, engine] = (list(ended), Counter(buckets), seconds[0])
        found = model.objects.filter(
            hour__in={key[0] for key in some}, workflow__in={key[1] for key in some}
        )
        for row in found:
            if (more := some.get((row.hour, row.workflow, row.engine))) is None:
                continue
            ended, buckets, seconds = more
            was = (row.completed, row.failed, row.canceled)
            buckets.update({int(bucket): number for bucket, number in row.durations})
            counts = [a + b for a, b in zip(was, ended, strict=True)]
            some[row.hour, row.workflow, row.engine] = (counts, buckets, seconds + row.seconds)
        model.objects.bulk_create(
            [
                model(
                    hour=hour, workflow=title, engine=engine, completed=ended[0], failed=ended[1],
                    canceled=ended[2], seconds=seconds,
                    durations=[list(pair) for pair in sorted(buckets.items())],
                )
                for (hour, title, engine), (ended, buckets, seconds) in some.items()
            ],
            update_conflicts=True,
            unique_fields=["hour", "workflow", "engine"],
            update_fields=["completed", "failed", "canceled", "seconds", "durations"],
        )


def _write_paces(model, known):
    titles = sorted(title for title, weights in known.items() if weights)
    for at in range(0, len(titles), WRITE):
        model.objects.bulk_create(
            model(
                workflow=title,
                durations=[list(pair) for pair in sorted(known[title].items())],
                p50=_percentile(known[title], 0.5),
                p95=_percentile(known[title], 0.95),
            )
            for title in titles[at : at + WRITE]
        )


def _resolve(runs):
    """Up from each rerun that completed, the oldest first, as long as there are failures."""
    last = 0
    while True:
        page = runs.objects.filter(pk__gt=last, previous__isnull=False, state="COMPLETED")
        rows = list(page.order_by("pk").values_list("pk", "previous")[:WRITE])
        if not rows:
            return
        last = rows[-1][0]
        ahead, passed = {}, set()
        for key, previous in rows:
            ahead.setdefault(previous, key)
        while ahead:
            above, settled = {}, []
            found = runs.objects.filter(pk__in=ahead).order_by("pk")
            for row in found.only("pk", "previous", "state", "resolved_by"):
                if row.state == "FAILED" and row.resolved_by_id is None:
                    row.resolved_by_id = ahead[row.pk]
                    settled.append(row)
                if row.previous_id and row.previous_id not in passed:
                    above.setdefault(row.previous_id, ahead[row.pk])
            runs.objects.bulk_update(settled, ["resolved_by"])
            passed |= set(ahead)
            ahead = above


def nothing(apps, schema_editor):
    """The tables go with the migration that made them."""


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("engines", "0001_initial"),
        ("runs", "0004_operators"),
    ]

    operations = [migrations.RunPython(backfill, nothing, elidable=True)]
