"""Saved views, and what else a user chose for themselves: saved, changed, deleted. A shared view is
everybody's to use who may see runs; its owner and administrators change it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from zoneinfo import available_timezones

from django.core.exceptions import TooManyFieldsSent
from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet
from django.http import QueryDict
from django.utils import timezone

from runs import audit
from runs.errors import Conflict, Denied, Invalid, Stale
from runs.models import Preference, SavedView
from runs.models.access import Role
from runs.policy import Action, Actor, require, visible
from runs.runfilter import dated, query_of, read_filter

LONGEST_NAME = 60
LONGEST_QUERY = 2000
MOST_VIEWS = 100  # of one user
ZONES = sorted(name for name in available_timezones() if "/" in name or name == "UTC")


def views_of(actor: Actor) -> QuerySet[SavedView]:
    """Those that the actor may use: their own and the shared ones."""
    rows = SavedView.objects.select_related("user").order_by("name", "pk")
    own = Q(user=actor.user.pk) if actor.user else Q()
    return visible(actor, rows.filter(own | Q(shared=True)))


def save_view(actor: Actor, *, name: str, query: str, shared: bool = False) -> SavedView:
    """A new view of the actor's. `query`: a query string of the list of runs."""
    require(actor, Action.VIEW)
    view = SavedView(user=_user(actor), name=_name(name), query=_query(query), shared=shared)
    if SavedView.objects.filter(user=view.user).count() >= MOST_VIEWS:
        raise Invalid({"name": f"You have {MOST_VIEWS} views already: delete one first."})
    with _unique(view.name), transaction.atomic():
        view.save(force_insert=True)
        audit.record(actor, "create", view, shared=shared)
    return view


def change_view(
    actor: Actor,
    view: SavedView,
    *,
    name: str | None = None,
    query: str | None = None,
    shared: bool | None = None,
    expected_version: int | None = None,
) -> SavedView:
    """Changes what is given of a view."""
    require_own(actor, view)
    news: dict[str, Any] = {}
    if name is not None:
        news["name"] = _name(name)
    if query is not None:
        news["query"] = _query(query)
    if shared is not None:
        news["shared"] = shared
    with _unique(news.get("name", "")), transaction.atomic():
        _lock(view, expected_version)
        if news:
            SavedView.objects.filter(pk=view.pk).update(
                **news, updated_at=timezone.now(), version=F("version") + 1
            )
            audit.record(actor, "edit", view, changed=sorted(news))
    view.refresh_from_db()
    return view


def delete_view(actor: Actor, view: SavedView, *, expected_version: int | None = None) -> None:
    """Removes a view; whoever opened the list with it sees all runs again. Twice is fine."""
    require_own(actor, view)
    with transaction.atomic():
        if expected_version is not None:
            _lock(view, expected_version)
        if SavedView.objects.filter(pk=view.pk).delete()[1].get("runs.SavedView"):
            audit.record(actor, "delete", view)


def set_preferences(
    actor: Actor, *, time_zone: str | None = None, default_view: int | None = None
) -> Preference:
    """Changes what is given of the actor's own settings. `time_zone`: an IANA name, or empty for the
    hub's. `default_view`: the key of a view that they may use, 0 for none."""
    require(actor, Action.VIEW)
    user = _user(actor)
    news: dict[str, Any] = {}
    if time_zone is not None:
        if time_zone and time_zone not in ZONES:
            raise Invalid({"time_zone": "There is no such time zone: write Europe/Berlin or UTC."})
        news["time_zone"] = time_zone
    if default_view is not None:
        if default_view and not views_of(actor).filter(pk=default_view).exists():
            raise Invalid({"default_view": "There is no such view."})
        news["default_view"] = default_view or None
    with transaction.atomic():
        preference, _ = Preference.objects.get_or_create(user=user)
        Preference.objects.filter(pk=preference.pk).update(**news)
        if news:
            audit.record(actor, "edit", preference, changed=sorted(news))
    preference.refresh_from_db()
    return preference


def require_own(actor: Actor, view: SavedView) -> None:
    """Raises Denied unless the actor may change the view."""
    require(actor, Action.VIEW)
    own = actor.user is None or view.user_id == actor.user.pk
    if not own and actor.role != Role.ADMINISTRATOR:
        raise Denied(
            f"The view is {view.user.get_username()}'s: only they and administrators change it."
        )


@contextmanager
def _unique(name: str) -> Iterator[None]:
    """Around a write of a name. Raises Conflict where the user has another view of that name."""
    try:
        yield
    except IntegrityError:
        raise Conflict(f"There is a view called “{name}” already: take another name.") from None


def _lock(view: SavedView, expected: int | None) -> None:
    """Locks the row. Raises Conflict where it is gone, Stale where it isn't the expected version."""
    now = SavedView.objects.select_for_update(no_key=True).filter(pk=view.pk).first()
    if now is None:
        raise Conflict("Somebody deleted it meanwhile.")
    if expected is not None and expected != now.version:
        raise Stale("Somebody changed it meanwhile. Look again, then decide.", now)


def _user(actor: Actor) -> Any:
    if actor.user is None or actor.user.pk is None:
        raise Denied("Only a user has views and settings: log in.")
    return actor.user


def _name(name: str) -> str:
    name = " ".join(name.split())
    problem = ""
    if not name:
        problem = "Give it a name."
    elif len(name) > LONGEST_NAME or not name.isprintable():
        problem = f"A name has at most {LONGEST_NAME} characters, all of them visible."
    if problem:
        raise Invalid({"name": problem})
    return name


def _query(query: str) -> str:
    """The filter as its URL spells it, dates with their offset."""
    try:
        chosen = read_filter(QueryDict(query.removeprefix("?")))
    except TooManyFieldsSent:
        raise Invalid({"query": "It has too many parts."}) from None
    problem = " ".join(chosen.errors.values())
    canonical = query_of(dated(chosen))
    if not problem and len(canonical) > LONGEST_QUERY:
        problem = f"The filter has more than {LONGEST_QUERY:,} characters."
    if problem:
        raise Invalid({"query": problem})
    return canonical
