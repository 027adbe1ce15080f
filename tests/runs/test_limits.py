"""Pause, the limit of active runs and the run timeout are the workflow's: all its versions have the same."""

import threading
import time
from datetime import timedelta

import pytest
from django.db import connection, transaction

from runs import actions
from runs.actions.limits import lock_titles
from runs.errors import Denied, Stale
from runs.models import AuditEntry, Workflow
from runs.policy import Actor
from tests.factories import make_actor, make_engine, make_workflow

ENDS_WITHIN = 60
LIMITS = {"paused": True, "max_active_runs": 3, "run_timeout": timedelta(hours=1)}


def document(number=1):
    steps = [{"name": "a", "handler": "sleep", "with": {"seconds": number}}]
    return {"title": "etl", "steps": steps}


def post(number=1, **limits):
    return actions.post_workflow(Actor(), definition=document(number), **limits)[0]


def limits():
    """Those of all versions, the oldest first."""
    rows = Workflow.objects.filter(title="etl").order_by("version")
    return list(rows.values_list("paused", "max_active_runs", "run_timeout"))


@pytest.mark.django_db
@pytest.mark.parametrize("at", [0, 1, 2])
def test_an_edit_of_any_version_counts_for_all(at):
    other = make_workflow(title="other")
    versions = [post(number) for number in (1, 2, 3)]
    changed = actions.edit_workflow(Actor(), versions[at], **LIMITS)
    assert limits() == [tuple(LIMITS.values())] * 3
    assert (changed.paused, changed.row_version) == (True, 2)
    # Whoever looked at another version looked at other limits.
    assert set(Workflow.objects.filter(title="etl").values_list("row_version", flat=True)) == {2}
    with pytest.raises(Stale):
        actions.edit_workflow(Actor(), versions[at - 1], paused=False, expected_version=1)
    other.refresh_from_db()
    assert (other.paused, other.row_version) == (False, 1)


@pytest.mark.django_db
def test_labels_and_the_archive_are_of_one_version():
    first, second = post(1), post(2)
    actions.edit_workflow(Actor(), first, labels={"a": "b"}, archived=True)
    second.refresh_from_db()
    assert (second.archived, second.labels.count(), second.row_version) == (False, 0, 1)


@pytest.mark.django_db
def test_limits_posted_with_a_version_count_for_those_before_and_after():
    post(1)
    post(2, **LIMITS)
    post(3)
    assert limits() == [tuple(LIMITS.values())] * 3
    post(3, paused=False)  # the same content again
    assert limits() == [(False, 3, timedelta(hours=1))] * 3


@pytest.mark.django_db
def test_a_correction_by_hand_counts_for_all_versions():
    first, second = post(1), post(2)
    actions.correct(Actor(), first, {"paused": True, "state_message": "By hand."})
    assert [row[0] for row in limits()] == [True, True]
    second.refresh_from_db()
    assert (second.state_message, second.row_version) == ("", 2)


@pytest.mark.django_db
def test_deploying_again_keeps_limits_that_changed_meanwhile():
    make_engine()
    workflow = post()
    actions.edit_workflow(Actor(), workflow, **LIMITS)
    actions.redeploy_workflow(Actor(), workflow)  # as it was read before
    assert limits() == [tuple(LIMITS.values())]
    workflow.refresh_from_db()
    assert workflow.row_version == 3


class NotTheFirst:
    """Version 1 is hidden from everybody, or only not to be changed."""

    hides = True

    def allow(self, user, action, obj):
        return not (isinstance(obj, Workflow) and obj.version == 1 and action == "edit_workflow")

    def visible(self, user, queryset):
        hidden = queryset.model is Workflow and self.hides
        return queryset.exclude(version=1) if hidden else queryset


class NotToBeChanged(NotTheFirst):
    hides = False


@pytest.mark.django_db
@pytest.mark.parametrize("factory", ["NotTheFirst", "NotToBeChanged"])
def test_who_may_not_change_one_of_the_versions_changes_no_limit(settings, factory):
    post(1)
    second = post(2)
    settings.WORKFLOWHUB_PERMISSION_FACTORY = f"{__name__}.{factory}"
    editor = make_actor("editor")
    with pytest.raises(Denied):
        actions.edit_workflow(editor, second, **LIMITS)
    with pytest.raises(Denied):
        actions.post_workflow(editor, definition=document(3), **LIMITS)
    assert limits() == [(False, None, None)] * 2
    assert not AuditEntry.objects.filter(action="edit").exists()
    # What is as it was, and what is of one version, takes no right to others.
    actions.edit_workflow(editor, second, labels={"a": "b"}, paused=False)
    assert actions.post_workflow(editor, definition=document(3))[1]


def at_once(*calls):
    """Calls them at the same moment, and waits for all of them."""
    ready, broken = threading.Barrier(len(calls)), []

    def run(call):
        try:
            ready.wait(ENDS_WITHIN)
            call()
        except Exception as error:  # noqa: BLE001 - the test's own report
            broken.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[call]) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(ENDS_WITHIN)
        assert not thread.is_alive()
    assert not broken


@pytest.mark.django_db(transaction=True)
def test_versions_posted_while_limits_change_have_the_same_as_all():
    versions = [post(1), post(2)]
    for number in range(3, 11):
        at_once(
            lambda number=number: post(number),
            lambda number=number: actions.edit_workflow(
                Actor(), versions[number % 2], max_active_runs=number
            ),
        )
        assert limits() == [(False, number, None)] * number


@pytest.mark.django_db(transaction=True)
def test_of_the_same_content_posted_at_once_one_version_comes():
    post(1)
    at_once(*[lambda: post(2)] * 4)
    assert Workflow.objects.filter(title="etl").count() == 2


def waiting():
    """How many wait for a lock."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_stat_clear_snapshot()"
        )  # else it is as the transaction first saw it
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return cursor.fetchone()[0]


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time.")
def test_a_lock_holds_also_where_the_oldest_version_is_deleted_while_it_is_waited_for():
    oldest, _ = post(1), post(2)
    deleted, order = threading.Event(), []

    def delete():
        with transaction.atomic():
            lock_titles(["etl"])
            Workflow.objects.filter(pk=oldest.pk).delete()
            deleted.set()
            until = time.monotonic() + ENDS_WITHIN
            while waiting() < 2 and time.monotonic() < until:
                time.sleep(0.02)

    def change(name):
        assert deleted.wait(ENDS_WITHIN)
        with transaction.atomic():
            assert lock_titles(["etl"]).keys() == {"etl"}
            order.append(f"{name} begins")
            Workflow.objects.filter(title="etl").count()
            order.append(f"{name} ends")

    at_once(delete, lambda: change("one"), lambda: change("two"))
    assert sorted(order[:2]) in (["one begins", "one ends"], ["two begins", "two ends"])
