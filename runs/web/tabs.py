"""The saved views as tabs above the list of runs."""

from dataclasses import dataclass

from django.db.models import Case, When
from django.http import HttpRequest, QueryDict

from runs import actions
from runs.errors import Denied
from runs.models import SavedView
from runs.runfilter import RunFilter, query_of, read_filter
from runs.web.access import actor
from runs.web.chips import address


@dataclass(frozen=True, slots=True, kw_only=True)
class Tab:
    """`on`: the list stands below it; `changed`: with another filter than the view's. `of`: whose it
    is, where it is somebody else's. `reason`: why the visitor can't change it."""

    view: SavedView
    url: str
    on: bool
    changed: bool
    default: bool
    of: str
    reason: str


def default_view(request: HttpRequest) -> int | None:
    """The key of the view that the visitor's list opens with."""
    preference = getattr(request.user, "preference", None)
    return preference.default_view_id if preference else None


def view_address(view: SavedView) -> str:
    """The list as the view shows it."""
    return address(read_filter(QueryDict(view.query)), str(view.pk))


def opening(request: HttpRequest) -> str:
    """Where the bare address of the list leads; empty: nowhere else."""
    key = None if request.GET else default_view(request)
    view = actions.views_of(actor(request)).filter(pk=key).first() if key else None
    return view_address(view) if view else ""


def tabs_of(request: HttpRequest, chosen: RunFilter, view: str) -> list[Tab]:
    """One statement, however many there are."""
    opens = default_view(request)
    own = Case(
        When(user=request.user.pk, then=0), default=1
    )  # first, however many others share theirs
    return [
        Tab(
            view=saved,
            url=view_address(saved),
            on=view == str(saved.pk),
            changed=view == str(saved.pk) and query_of(chosen) != saved.query,
            default=saved.pk == opens,
            of="" if saved.user_id == request.user.pk else saved.user.get_username(),
            reason=why_not_change(request, saved),
        )
        for saved in actions.views_of(actor(request)).order_by(own, "name", "pk")[
            : actions.MOST_VIEWS
        ]
    ]


def why_not_change(request: HttpRequest, view: SavedView) -> str:
    """Why the visitor may not change the view; empty where they may."""
    try:
        actions.require_own(actor(request), view)
    except Denied as error:
        return str(error)
    return ""
