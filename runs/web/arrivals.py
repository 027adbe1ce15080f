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
    """The rows of a first page that polls, as it names them; none for any other request."""
    words = request.GET.get("shown", "").split(",") if is_poll(request) else []
    keys = (int(word) for word in words if word.isascii() and word.isdecimal() and len(word) < 19)
    return list(dict.fromkeys(keys))[:SIZE]


def in_order(rows: RunQuerySet, keys: Sequence[int]) -> list[WorkflowRun]:
    """The rows with these keys, one after the other; one statement."""
    found = rows.in_bulk(keys)
    return [found[key] for key in keys if key in found]


def arrivals(matching: RunQuerySet, shown: Sequence[int]) -> Arrivals:
    """Looks at the beginning of the list as it is now; costs what one of its pages does."""
    part = keyset.part(matching.only("pk"), len(shown) + MOST + 1)
    now = [row.pk for row in part.rows]
    # Behind a full page come others, which are old.
    oldest = min(shown) if len(shown) >= SIZE else 0
    new = sum(key not in set(shown) and key > oldest for key in now)
    whole = part.after is None
    gone = sum(key not in set(now) and (whole or key > now[-1]) for key in shown)
    return Arrivals(new=min(new, MOST), more=new > MOST, gone=gone)
