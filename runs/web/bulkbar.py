"""What can be done to the ticked runs of a list, and to all that its filter finds."""

from dataclasses import dataclass
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import reverse

from runs import keyset
from runs.actions.bulk import RIGHTS
from runs.models import BulkJob
from runs.querysets import RunQuerySet
from runs.runfilter import RunFilter, query_of
from runs.web.access import why_not

MANY = 1000  # up to which all are counted
ICONS = {
    BulkJob.Action.RETRY: "rotate-ccw",
    BulkJob.Action.CANCEL: "ban",
    BulkJob.Action.LABEL: "pencil",
    BulkJob.Action.DELETE: "trash-2",
}
WORDS = {BulkJob.Action.LABEL: "Labels…", BulkJob.Action.DELETE: "Delete…"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """`url`: where it is confirmed for all that fit. `reason`: why it can't be asked for; empty where
    it can."""

    action: str
    word: str
    icon: str
    url: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkBar:
    """`count`: how many fit, `many` where there are more than that."""

    count: int
    many: bool
    deeds: list[Deed]
    mistakes: bool


def bulk_bar(request: HttpRequest, matching: RunQuerySet, chosen: RunFilter) -> BulkBar:
    """One statement, and as many for a million runs."""
    counted = keyset.capped_count(matching, MANY + 1)
    which = {"query": query_of(chosen)} if chosen.any else {"everything": "1"}
    return BulkBar(
        count=min(counted, MANY),
        many=counted > MANY,
        mistakes=bool(chosen.errors),
        deeds=[
            Deed(
                action=action.value,
                word=WORDS.get(action, str(action.label)),
                icon=ICONS[action],
                url=f"{reverse('bulk_confirm')}?{urlencode({'action': action.value, **which})}",
                reason=why_not(request, RIGHTS[action]),
            )
            for action in BulkJob.Action
        ],
    )
