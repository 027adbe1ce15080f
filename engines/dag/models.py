"""The tables of the engine whose steps we drive ourselves: executions, their steps and tries, and the
workers that run them. Written by engines/dag only; the hub sees them through an adapter.

Everything about one execution is changed under its row's lock, so that what may start next is decided
by one process at a time. Times are the database's; `changed` is the number of the transaction that
last changed what an observer sees.
"""

from django.db import models

from engines.states import FINAL_TASK_STATES, RunState, TaskState

OPEN_STATES = sorted(state.value for state in TaskState if state not in FINAL_TASK_STATES)


class Clock(models.Model):
    """SQLite only: one row that counts the transactions. PostgreSQL has numbers of its own."""

    value = models.BigIntegerField(default=0)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return str(self.value)


class Document(models.Model):
    """A definition's text, kept once however many executions run it."""

    digest = models.CharField(max_length=64, unique=True)
    format = models.CharField(max_length=63)
    text = models.TextField()

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.digest[:12]


class Execution(models.Model):
    """One attempt of a run, `wh-<uuid>-<attempt>`."""

    engine = models.ForeignKey("engines.Engine", on_delete=models.CASCADE, related_name="+")
    document = models.ForeignKey(Document, on_delete=models.PROTECT, related_name="executions")
    external_id = models.CharField(max_length=250, unique=True)
    run_uuid = models.CharField(max_length=64)
    run_id = models.BigIntegerField(default=0)
    attempt = models.PositiveIntegerField(default=1)
    title = models.CharField(max_length=250)
    parameters = models.JSONField(default=dict)
    labels = models.JSONField(default=dict)
    variables = models.JSONField(default=dict)
    # JSON of name -> value, encrypted; emptied when nothing of the execution can run any more.
    secrets = models.TextField(blank=True, default="")
    created_by = models.CharField(max_length=250, blank=True, default="")
    max_parallel = models.PositiveIntegerField()
    state = models.CharField(max_length=15, choices=RunState, default=RunState.SCHEDULED)
    reason = models.CharField(max_length=100, blank=True, default="")
    cancel_requested = models.BooleanField(default=False)
    error = models.TextField(blank=True, default="")
    result = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    deadline_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    changed = models.BigIntegerField(default=0)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["changed"], name="execution_changed"),
            models.Index(
                fields=["deadline_at"],
                name="execution_deadline",
                condition=models.Q(deadline_at__isnull=False, ended_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return self.external_id


class Worker(models.Model):
    """One incarnation of `manage.py worker`. Its steps' leases end when its heartbeat stops.

    `place` (a boot of a machine and a pid namespace) and `birth` (the process's start) let a worker at
    the same place see at once that this one is dead.
    """

    id = models.UUIDField(primary_key=True)
    host = models.CharField(max_length=250)
    pid = models.PositiveIntegerField()
    place = models.CharField(max_length=100, blank=True, default="")
    birth = models.CharField(max_length=40, blank=True, default="")
    concurrency = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-started_at"]
        indexes = [
            models.Index(
                fields=["heartbeat_at"],
                name="worker_alive",
                condition=models.Q(ended_at__isnull=True),
            )
        ]

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


class Step(models.Model):
    """A step, or one item (`map_index` ≥ 0) of a mapped step, whose own row (-1) then stands for all.

    `waits_for` counts the needs that aren't done, and in a mapped row the items that aren't.
    `kind` hook: it began when its step or run had ended, and counts for neither. `request`: the run that
    a step of the handler `workflow` asks the hub for, as a RunRequest's fields; no worker has it then.
    `ready_at` of a PENDING row: not before. `deadline_at`: of a step that no worker could stop in time.

    `attempt` is the hub's attempt at which it last ran; `ran_in` the execution whose folders have its
    files, where a later attempt kept it. `token` rises whenever somebody takes the step
    or takes it away: a write with an old token changes nothing. `failures` and `losses` (its worker
    died) count within the attempt.
    """

    execution = models.ForeignKey(
        Execution, on_delete=models.CASCADE, related_name="steps", db_index=False
    )
    name = models.CharField(max_length=250)
    map_index = models.IntegerField(default=-1)
    position = models.PositiveIntegerField()
    kind = models.CharField(max_length=4, default="task")
    mapped = models.BooleanField(default=False)
    items = models.PositiveIntegerField(null=True, blank=True)
    item = models.JSONField(null=True, blank=True)
    state = models.CharField(max_length=15, choices=TaskState, default=TaskState.PENDING)
    waits_for = models.IntegerField(default=0)
    attempt = models.PositiveIntegerField(default=1)
    ran_in = models.CharField(max_length=250, blank=True, default="")
    try_number = models.PositiveIntegerField(default=1)
    failures = models.PositiveIntegerField(default=0)
    losses = models.PositiveIntegerField(default=0)
    ready_at = models.DateTimeField(null=True, blank=True)
    token = models.PositiveBigIntegerField(default=0)
    worker = models.ForeignKey(
        Worker,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="steps",
        db_index=False,
    )
    worker_name = models.CharField(max_length=250, blank=True, default="")
    request = models.JSONField(null=True, blank=True)
    deadline_at = models.DateTimeField(null=True, blank=True)
    stop = models.CharField(max_length=100, blank=True, default="")
    reason = models.CharField(max_length=100, blank=True, default="")
    error = models.TextField(blank=True, default="")
    inputs = models.JSONField(null=True, blank=True)
    result = models.JSONField(null=True, blank=True)
    message = models.TextField(blank=True, default="")
    progress = models.FloatField(null=True, blank=True)
    log = models.CharField(max_length=500, blank=True, default="")
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    changed = models.BigIntegerField(default=0)

    class Meta:
        ordering = ["execution", "position", "map_index"]
        constraints = [
            models.UniqueConstraint(fields=["execution", "name", "map_index"], name="step_identity")
        ]
        indexes = [
            models.Index(
                fields=["ready_at", "id"],
                name="step_ready",
                condition=models.Q(state=TaskState.SCHEDULED),
            ),
            models.Index(
                fields=["ready_at"],
                name="step_later",
                condition=models.Q(
                    state__in=[TaskState.PENDING, TaskState.RETRYING], ready_at__isnull=False
                ),
            ),
            models.Index(
                fields=["deadline_at"],
                name="step_deadline",
                condition=models.Q(deadline_at__isnull=False),
            ),
            models.Index(
                fields=["execution", "state", "waits_for", "position", "map_index"],
                name="step_open",
            ),
            models.Index(
                fields=["worker"],
                name="step_held",
                condition=models.Q(worker__isnull=False),
            ),
            models.Index(fields=["changed"], name="step_changed"),
        ]

    def __str__(self) -> str:
        return self.name if self.map_index < 0 else f"{self.name}[{self.map_index}]"


class StepTry(models.Model):
    """How a try ended that another one followed; the latest try is in its step's row."""

    step = models.ForeignKey(Step, on_delete=models.CASCADE, related_name="tries", db_index=False)
    attempt = models.PositiveIntegerField()
    try_number = models.PositiveIntegerField()
    state = models.CharField(max_length=15, choices=TaskState)
    reason = models.CharField(max_length=100, blank=True, default="")
    error = models.TextField(blank=True, default="")
    worker_name = models.CharField(max_length=250, blank=True, default="")
    log = models.CharField(max_length=500, blank=True, default="")
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "step tries"
        ordering = ["step", "attempt", "try_number"]
        constraints = [
            models.UniqueConstraint(
                fields=["step", "attempt", "try_number"], name="steptry_identity"
            )
        ]

    def __str__(self) -> str:
        return f"{self.step} try {self.attempt}.{self.try_number}"
