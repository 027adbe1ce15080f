"""Saved views and settings: who may save, change and delete them, and in which spelling they are kept."""

import threading

import pytest
from django.db import connections
from django.utils import timezone

from runs import actions
from runs.errors import Conflict, Denied, Invalid, Stale
from runs.models import AuditEntry, Preference, SavedView
from runs.models.access import Role
from runs.policy import Actor
from tests.factories import make_actor, make_user

pytestmark = pytest.mark.django_db


def names(actor):
    return [view.name for view in actions.views_of(actor)]


def test_a_view_is_kept_in_one_spelling_and_the_audit_log_knows_of_it():
    actor = make_actor("viewer")
    query = "?query=state:failed label:x&since=24h&nonsense=1"
    view = actions.save_view(actor, name="  Broken   today ", query=query)
    assert (view.name, view.query) == ("Broken today", "state=FAILED&labels=x&since=24h")
    actions.change_view(actor, view, query="q=<b>%26", shared=True)
    assert (view.query, view.shared, view.version) == ("q=%3Cb%3E%26", True, 2)
    actions.delete_view(actor, view)
    actions.delete_view(actor, view)
    entries = AuditEntry.objects.filter(object_kind="savedview").order_by("pk")
    assert [entry.action for entry in entries] == ["create", "edit", "delete"]
    assert entries[1].detail == {"changed": ["query", "shared"]}


def test_dates_are_kept_with_their_offset_so_that_they_mean_the_same_to_all():
    with timezone.override("Asia/Tokyo"):
        view = actions.save_view(make_actor(), name="a", query="until=2026-01-31")
    assert view.query == "until=2026-01-31T00:00:00%2B09:00"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "x" * 61}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"name": "a\u202eb"}, "name"),
        ({"query": "state=SLEEPING"}, "query"),
        ({"query": "query=stat:failed"}, "query"),
        ({"query": "labels=a%3D%3D("}, "query"),
    ],
)
def test_nonsense_is_refused_with_its_name(given, field):
    with pytest.raises(Invalid) as caught:
        actions.save_view(make_actor(), **{"name": "a", "query": "", **given})
    assert list(caught.value.errors) == [field]
    assert not SavedView.objects.exists()


def test_two_users_may_use_a_name_and_one_user_once():
    ada, bob = make_actor(), make_actor()
    actions.save_view(ada, name="a", query="")
    actions.save_view(bob, name="a", query="")
    other = actions.save_view(ada, name="b", query="")
    for again in (
        lambda: actions.save_view(ada, name="a", query=""),
        lambda: actions.change_view(ada, other, name="a"),
    ):
        with pytest.raises(Conflict, match="called “a” already"):
            again()
    assert SavedView.objects.count() == 3


def test_shared_views_are_everybodys_to_use_and_their_owners_to_change():
    owner, other = make_actor("viewer"), make_actor("editor")
    administrator = make_actor(Role.ADMINISTRATOR)
    view = actions.save_view(owner, name="ours", query="", shared=True)
    actions.save_view(owner, name="mine", query="")
    assert (names(owner), names(other)) == (["mine", "ours"], ["ours"])
    for deed in (
        lambda: actions.change_view(other, view, name="theirs"),
        lambda: actions.delete_view(other, view),
    ):
        with pytest.raises(Denied):
            deed()
    assert actions.change_view(administrator, view, name="ours, mended").name == "ours, mended"
    assert view.user == owner.user


@pytest.mark.parametrize("actor", [Actor(), None])
def test_who_is_nobody_saves_nothing(actor):
    actor = actor or make_actor("runner")
    for deed in (
        lambda: actions.save_view(actor, name="a", query=""),
        lambda: actions.set_preferences(actor, time_zone="UTC"),
    ):
        with pytest.raises(Denied):
            deed()


def test_of_two_who_change_a_view_the_second_is_told():
    actor = make_actor()
    view = actions.save_view(actor, name="a", query="")
    actions.change_view(actor, view, shared=True, expected_version=1)
    with pytest.raises(Stale):
        actions.change_view(actor, view, name="b", expected_version=1)
    with pytest.raises(Stale):
        actions.delete_view(actor, view, expected_version=1)
    actions.delete_view(actor, view, expected_version=2)
    with pytest.raises(Conflict, match="deleted"):
        actions.change_view(actor, view, name="b")


def test_nobody_keeps_more_views_than_fit(monkeypatch):
    monkeypatch.setattr("runs.actions.views.MOST_VIEWS", 2)
    actor = make_actor()
    for name in "ab":
        actions.save_view(actor, name=name, query="")
    with pytest.raises(Invalid, match="delete one first"):
        actions.save_view(actor, name="c", query="")


def test_settings_are_kept_one_by_one():
    actor = make_actor("viewer")
    view = actions.save_view(actor, name="a", query="")
    actions.set_preferences(actor, time_zone="Asia/Tokyo")
    kept = actions.set_preferences(actor, default_view=view.pk)
    assert (kept.time_zone, kept.default_view) == ("Asia/Tokyo", view)
    view.delete()
    assert Preference.objects.get().default_view is None
    assert actions.set_preferences(actor, default_view=0).default_view is None
    assert AuditEntry.objects.filter(object_kind="preference").count() == 3


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd", "utc ", "a\x00b"])
def test_only_time_zones_that_there_are(zone):
    with pytest.raises(Invalid, match="no such time zone"):
        actions.set_preferences(make_actor(), time_zone=zone)


def test_nobody_opens_with_somebody_elses_own_view():
    view = actions.save_view(make_actor(), name="a", query="")
    with pytest.raises(Invalid, match="no such view"):
        actions.set_preferences(make_actor(), default_view=view.pk)


@pytest.mark.django_db(transaction=True)
def test_of_two_who_set_their_first_settings_at_once_both_are_kept():
    user = make_user()
    errors = []

    def choose(**given):
        try:
            actions.set_preferences(Actor(user=user), **given)
        except Exception as error:  # noqa: BLE001 - shown by the assertion
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=choose, kwargs={"time_zone": zone}) for zone in ["UTC"] * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert Preference.objects.get(user=user).time_zone == "UTC"
