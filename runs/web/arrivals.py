"""What became of a list since its page was opened: the rows that are shown stay where they are, and what
is new is counted until somebody asks for it."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.http import HttpRequest

from runs import keyset
from runs.models import WorkflowRun
from runs.querysets import RunQuerySet
from runs.web.live import is_poll
from runs.web.paging import SIZE

MOST = 99  # that are counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """`new`: how many fit and aren't shown, `more` where there are more than that. `gone`: how many
    are shown and no longer fit."""

    new: int = 0
    more: bool = False
    gone: int = 0


def shown_keys(request: HttpRequest) -> list[int]:
    """The rows of a first page that polls, as it names them: a 0 behind them says that the list ended
    there. None for any other request."""
    words = request.GET.get("shown", "").split(",") if is_poll(request) else []
    keys = (int(word) for word in words if word.isascii() and word.isdecimal() and len(word) < 19)
    return list(dict.fromkeys(keys))[: SIZE + 1]


def named(rows: Sequence[WorkflowRun], *, whole: bool) -> str:
    """The rows as a poll names them. `whole`: none comes behind them."""
    return ",".join([*(str(run.pk) for run in rows), *(["0"] if whole and rows else [])])


def in_order(rows: RunQuerySet, keys: Sequence[int]) -> list[WorkflowRun]:
    """The rows with these keys, one after the other; one statement."""
    found = rows.in_bulk(keys)
    return [found[key] for key in keys if key in found]


def arrivals(matching: RunQuerySet, shown: Sequence[int]) -> Arrivals:
    """Looks at the beginning of the list as it is now; costs what one of its pages does."""
    part = keyset.part(matching.only("pk"), len(shown) + MOST + 1)
    now = [row.pk for row in part.rows]
    oldest = min(shown)
    new = sum(key not in set(shown) and key > oldest for key in now)
    whole = part.after is None
    gone = sum(key not in set(now) and (whole or key > now[-1]) for key in shown if key)
    return Arrivals(new=min(new, MOST), more=new > MOST, gone=gone)
