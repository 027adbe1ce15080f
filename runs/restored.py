"""What the hub can't know after a restore: between the backup and the restore it may have sent runs to
engines, and may have used ids that it would use again (docs/decisions/0010).

Called by runs.moves and runs.actions, which make ids and attempts, and by `manage.py restore`.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from engines.base import Submission
from engines.models import Engine
from engines.registry import UnknownKind, adapter_class, formats
from runs.models import Restore, WorkflowRun

ROUTE_ANEW = 0
# How long somebody may repeat the start of a run whose first start the restore undid.
WARY = timedelta(days=30)


def life_of(run: WorkflowRun) -> str:
    """What sets the ids of attempts of this run that begin now apart from those that a restore undid;
    empty where no restore came between."""
    if run._state.adding:
        return ""
    lives = Restore.objects.filter(at__gte=run.created_at).order_by("-at")
    return lives.values_list("life", flat=True).first() or ""


def wary_since(now: datetime) -> datetime | None:
    """When the hub was restored last, if that is so recent that what is asked for now may have been
    asked for before."""
    recent = Restore.objects.filter(at__gte=now - WARY).order_by("-at")
    return recent.values_list("at", flat=True).first()


def engines_to_ask(
    engine: Engine | None, form: str, *, fixed: bool, remote: Sequence[Engine] | None = None
) -> list[int]:
    """For RunAttempt.ask_first: the engines that may have taken an attempt of a definition in this
    format, that at hand first and, where there are others, again as the last. `fixed`: no other could
    have. Empty where none could: our own engines' memory was restored with ours."""
    own = [engine.pk] if engine and not is_ours(engine) else []
    if fixed:
        return own
    kinds = formats().get(form, [])
    candidates = remote_engines() if remote is None else remote
    others = [
        other.pk
        for other in candidates
        if other.kind in kinds and (engine is None or other.pk != engine.pk)
    ]
    if not others:
        return own
    return [*own, *others, engine.pk if engine else ROUTE_ANEW]


def remote_engines() -> list[Engine]:
    """The enabled engines whose memory isn't ours."""
    enabled = Engine.objects.enabled().order_by("priority", "id")
    return [engine for engine in enabled if not is_ours(engine)]


def is_ours(engine: Engine) -> bool:
    """Whether the engine keeps its runs in the hub's own database."""
    try:
        return adapter_class(engine.kind).submission is Submission.OURS
    except (UnknownKind, AttributeError):
        return False  # `submission` may depend on the settings of an instance
