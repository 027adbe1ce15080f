"""Asking for a fresh look at a run: reads never call an engine, they make the reconciler do it."""

from datetime import datetime

from django.db import transaction
from django.db.models import Q

from engines.clock import database_now
from runs.models import WorkflowRun
from runs.policy import Action, Actor, require
from runs.states import Wanted
from runs.wakeups import wake_reconciler


def ask_for_look(actor: Actor, run: WorkflowRun) -> datetime:
    """Makes an active run due now. Returns when that was, by the database's clock: a look after it
    is a fresh one. It changes nothing about the run, so its version stays."""
    require(actor, Action.VIEW, run)
    now = database_now()
    with transaction.atomic():
        due = (
            WorkflowRun.objects.active()
            .filter(pk=run.pk)
            .exclude(wanted=Wanted.HOLD)
            .filter(Q(next_check_at=None) | Q(next_check_at__gt=now))
            .update(next_check_at=now)
        )
        if due:
            wake_reconciler()
    return now
