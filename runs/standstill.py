"""Runs that wait for their turn behind runs that wait for them. A step that asked for a run keeps its own
run's turn meanwhile; where all who have a turn of a workflow wait for runs that wait for one, directly
or through runs of other workflows, none of them goes on by itself.

Pages and the API ask; nobody writes anything about it. What ends a standstill is a person, or a time
limit.
"""

from django.db.models import Exists, OuterRef, QuerySet

from runs.models import ChildRun, RunAttempt, WorkflowRun
from runs.states import Reason, RunState, Wanted

MOST = 1000


def without_a_turn() -> set[int]:
    """The runs that wait for a turn which never comes; among the oldest MOST that steps wait for. Where
    none waits for its turn it costs one small statement."""
    queued = _open().filter(
        child__state=RunState.PENDING,
        child__wanted=Wanted.RUN,
        child__reason=Reason.QUEUED,
        child__workflow__max_active_runs__lte=MOST,
    )
    names = ("child", "parent", "child__workflow__title", "child__workflow__max_active_runs")
    rows = list(queued.order_by("pk").values_list(*names)[:MOST])
    if not rows:
        return set()
    titles = {child: title for child, _, title, _ in rows}
    limits = {title: most for _, _, title, most in rows}
    askers = _askers({child: parent for child, parent, _, _ in rows})
    having = _having_a_turn(set(titles.values()))
    still = set(askers)
    while still:
        waiting = {run for child in still for run in askers[child]}
        full = {
            title
            for title, runs in having.items()
            if len(runs) >= limits[title] and runs <= waiting
        }
        left = {child for child in still if titles[child] in full}
        if left == still:
            break
        still = left
    return still


def _open() -> QuerySet[ChildRun]:
    return ChildRun.objects.filter(answered_at=None, waits=True)


def _askers(parents: dict[int, int]) -> dict[int, set[int]]:
    """Run -> all that wait for it, from its parent up. Left out is what is being canceled with one of
    them."""
    found: dict[int, set[int]] = {child: set() for child in parents}
    ahead = dict(parents)
    while ahead:  # as deep as runs can be nested
        active = WorkflowRun.objects.active().filter(pk__in=set(ahead.values()), wanted=Wanted.RUN)
        going = set(active.values_list("pk", flat=True))
        above = dict(_open().filter(child__in=going).values_list("child", "parent"))
        following = {}
        for child, run in ahead.items():
            if run not in going:
                del found[child]
                continue
            found[child].add(run)
            if run in above:
                following[child] = above[run]
        ahead = following
    return found


def _having_a_turn(titles: set[str]) -> dict[str, set[int]]:
    """Title -> those of its runs that an engine has, or was asked to take."""
    sent = RunAttempt.objects.filter(
        run=OuterRef("pk"), number=OuterRef("attempt"), sent_at__isnull=False
    )
    runs = WorkflowRun.objects.active().filter(
        Exists(sent), ended_at__isnull=True, workflow__title__in=titles
    )
    found: dict[str, set[int]] = {}
    for title, run in runs.order_by().values_list("workflow__title", "pk"):
        found.setdefault(title, set()).add(run)
    return found
