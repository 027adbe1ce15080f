"""The limits of a workflow's runs: pause, how many are active, how long one may take.

They belong to the workflow (the title), not to a version: the rows of all its versions have the same,
which are written together, so that whoever reads any version reads them. Whoever writes them, posts a
version or begins runs by them holds the lock of the title until the end of its transaction: that of the
row of its oldest version, since a newer one may come at any moment.
"""

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

from django.db.models import F, Min, Q
from django.utils import timezone

from engines.durations import LONGEST, read_seconds, spelled
from runs.errors import Denied, Invalid
from runs.models import Workflow
from runs.policy import Action, Actor, require, visible

UNSET: Any = object()
NO_LENGTH = "A length such as 90s, 5m or 1h30m, ten years at most, or nothing for no limit."
DEFAULTS: Mapping[str, Any] = {"paused": False, "max_active_runs": None, "run_timeout": None}


def clean_limits(
    *,
    paused: bool | None = None,
    max_active_runs: int | None = UNSET,
    run_timeout: timedelta | None = UNSET,
) -> dict[str, Any]:
    """Those that are given, by column. Raises Invalid."""
    values: dict[str, Any] = {} if paused is None else {"paused": paused}
    errors: dict[str, str] = {}
    if max_active_runs is not UNSET:
        values["max_active_runs"] = max_active_runs
        if max_active_runs is not None and not 1 <= max_active_runs < 2**31:
            errors["max_active_runs"] = "A whole number from 1 on, or nothing for no limit."
    if run_timeout is not UNSET:
        values["run_timeout"] = run_timeout
        if run_timeout is not None and not 0 < run_timeout.total_seconds() <= LONGEST:
            errors["run_timeout"] = NO_LENGTH
    if errors:
        raise Invalid(errors)
    return values


def read_length(text: str) -> timedelta | None:
    """What a person wrote as a length of time; None for nothing. Raises Invalid."""
    if not text.strip():
        return None
    seconds = read_seconds(text.strip())
    if seconds is None or not 0 < seconds <= LONGEST:
        raise Invalid({"run_timeout": NO_LENGTH})
    return timedelta(seconds=seconds)


def spelled_length(length: timedelta | None) -> str:
    """What `read_length` reads as the length."""
    return spelled(length.total_seconds()) if length else ""


def lock_titles(titles: Collection[str], *, but: Collection[str] = ()) -> dict[str, dict[str, Any]]:
    """Title -> its limits as they are now, locked until the transaction's end. Titles that are in
    `but` too are left out where they have neither a pause nor a limit of active runs."""
    wanted = set(titles) - set(but)
    limited = Q(paused=True) | Q(max_active_runs__isnull=False)
    while True:
        oldest = Workflow.objects.filter(title__in=titles).order_by().values("title")
        rows = Workflow.objects.filter(
            limited | Q(title__in=wanted), pk__in=oldest.annotate(first=Min("pk")).values("first")
        )
        # Always in this order, so that nobody waits for one who waits for him.
        locked = rows.select_for_update(no_key=True).order_by("pk").values("title", *DEFAULTS)
        found = {row.pop("title"): row for row in locked}
        # An oldest version may be deleted while it is waited for: then another is the oldest.
        missing = wanted - set(found)
        if not missing or not Workflow.objects.filter(title__in=missing).exists():
            return found


def share_limits(
    actor: Actor,
    title: str,
    limits: Mapping[str, Any],
    *,
    besides: Workflow | None = None,
    action: Action = Action.EDIT_WORKFLOW,
) -> None:
    """Gives all versions of the title, but one, these limits; under its lock. Raises Denied where one
    of those that change isn't the actor's to change."""
    others = Workflow.objects.filter(title=title).exclude(**limits).order_by("pk")
    others = others.exclude(pk=besides.pk) if besides else others
    if not limits or not others.exists():
        return
    keys = set(others.values_list("pk", flat=True))
    seen = visible(actor, others).defer("definition", "parameters_schema", "warnings")
    for version in seen:
        require(actor, action, version)
        keys.discard(version.pk)
    if keys:
        raise Denied("The limits are those of all versions, and you may not see all of them.")
    others.update(**limits, row_version=F("row_version") + 1, updated_at=timezone.now())


def next_limits(title: str) -> dict[str, Any]:
    """What the next version of a workflow begins with; locks its title."""
    return lock_titles([title]).get(title, dict(DEFAULTS))
