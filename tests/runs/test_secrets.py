"""Secrets and variables: who may set them, and what the audit log and the database hold of them."""

import threading
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone

from engines.secrets import decrypt
from runs import actions
from runs.errors import Conflict, Denied, Invalid, Stale
from runs.models import AuditEntry, Secret, Variable, Workflow
from runs.policy import Actor, visible
from runs.retention import Limits, clean_up
from tests.factories import make_actor, make_secret, make_user, make_variable, make_workflow

pytestmark = pytest.mark.django_db
VALUE = "plain-secret-5e8f"


# Setting


def test_a_secret_is_stored_encrypted_and_the_audit_log_doesnt_say_it():
    actor = make_actor()
    secret, new = actions.set_secret(actor, name="token", value=VALUE, description="For the API.")
    assert new
    assert secret.updated_by == actor.user
    assert decrypt(secret.encrypted) == VALUE
    again, new = actions.set_secret(actor, name="token", value="another-value")
    assert (again.pk, new) == (secret.pk, False)
    assert again.description == "For the API."
    assert again.created_at == secret.created_at
    assert again.updated_at > secret.updated_at
    assert decrypt(again.encrypted) == "another-value"
    actions.edit_stored(actor, again, value="a-third-value", description="")
    entries = AuditEntry.objects.filter(object_kind="secret").order_by("pk")
    assert [entry.action for entry in entries] == ["create", "replace", "edit"]
    assert entries.last().detail == {"changed": ["description", "value"]}
    written = str([*AuditEntry.objects.values(), *Secret.objects.values()])
    for value in (VALUE, "another-value", "a-third-value"):
        assert value not in written


def test_the_same_name_may_be_of_a_workflow_and_of_all():
    make_workflow(title="etl")
    actions.set_variable(Actor(), name="stage", value="a")
    actions.set_variable(Actor(), name="stage", value="b", workflow="etl")
    assert sorted(map(str, Variable.objects.all())) == ["etl/stage", "stage"]


@pytest.mark.parametrize(
    ("given", "field", "text"),
    [
        ({"name": ""}, "name", "letters, digits"),
        ({"name": "a b"}, "name", "letters, digits"),
        ({"name": "a.b"}, "name", "letters, digits"),
        ({"name": "ä"}, "name", "letters, digits"),
        ({"name": "x" * 101}, "name", "1 to 100"),
        ({"name": "a\n"}, "name", "letters, digits"),
        ({"value": ""}, "value", "at least 6 characters"),
        ({"value": "tiny5"}, "value", "at least 6 characters"),
        ({"value": "a     "}, "value", "at least 6 characters"),
        ({"value": "x" * 16_385}, "value", "16,384"),
        ({"value": "nul\x00nul"}, "value", "NUL"),
        ({"value": "half\ud800half"}, "value", "must be a text"),
        ({"description": "x" * 1001}, "description", "1000"),
        ({"workflow": "nowhere"}, "workflow", "no workflow of this title"),
        ({"workflow": "a\x00"}, "workflow", "no workflow of this title"),
    ],
)
def test_what_can_be_no_secret_is_refused(given, field, text):
    with pytest.raises(Invalid) as refused:
        actions.set_secret(Actor(), **{"name": "token", "value": VALUE, **given})
    assert text in refused.value.errors[field]
    assert str(given.get("value") or "–") not in str(refused.value)
    assert not Secret.objects.exists()


def test_a_variable_may_be_empty_and_long():
    assert actions.set_variable(Actor(), name="a", value="")[0].value == ""
    assert len(actions.set_variable(Actor(), name="a", value="x" * 65_536)[0].value) == 65_536
    with pytest.raises(Invalid, match="65,536"):
        actions.set_variable(Actor(), name="a", value="x" * 65_537)


def test_what_is_deleted_is_gone_and_can_be_deleted_again():
    secret, _ = actions.set_secret(Actor(), name="token", value=VALUE)
    actions.delete_stored(Actor(), secret)
    actions.delete_stored(Actor(), Secret(pk=secret.pk or 1, name="token"))
    assert not Secret.objects.exists()
    assert AuditEntry.objects.filter(action="delete").count() == 1
    with pytest.raises(Conflict, match="deleted it meanwhile"):
        actions.edit_stored(Actor(), Secret(pk=10**6, name="token"), value=VALUE)


@pytest.mark.django_db(transaction=True)
def test_of_many_who_set_the_same_at_once_one_is_last_and_none_fails():
    def set_it(number):
        actions.set_secret(Actor(), name="token", value=f"value-{number}-of-six")

    assert six_at_once(set_it) == []
    secret = Secret.objects.get()
    assert decrypt(secret.encrypted).endswith("-of-six")
    assert secret.version == 6
    assert sorted(AuditEntry.objects.values_list("action", flat=True)) == ["create"] + 5 * [
        "replace"
    ]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["secret", "variable"])
def test_of_many_who_change_what_they_saw_at_once_one_does(kind):
    stored = make_secret() if kind == "secret" else make_variable()

    def change(number):
        if number % 2:
            actions.delete_stored(Actor(), stored, expected_version=1)
        else:
            value = f"value-{number}-of-six"
            actions.edit_stored(Actor(), stored, value=value, expected_version=1)

    refused = six_at_once(change)
    assert len(refused) == 5
    assert {type(error) for error in refused} <= {Stale, Conflict}
    assert AuditEntry.objects.count() == 1
    assert [row.version for row in type(stored).objects.all()] in ([], [2])


def six_at_once(call):
    """Calls it with 0 to 5 at the same moment; what was raised."""
    ready, raised = threading.Barrier(6), []

    def one(number):
        try:
            ready.wait(60)
            call(number)
        except Exception as error:  # noqa: BLE001  told by the test
            raised.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=one, args=[number]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return raised


# Who may


@pytest.mark.parametrize("role", ["viewer", "operator", "runner"])
def test_below_editor_nobody_sets_any(role):
    workflow = make_workflow()
    with pytest.raises(Denied):
        actions.set_secret(make_actor(role), name="a", value=VALUE, workflow=workflow.title)


def test_an_editor_sets_those_of_a_workflow_and_an_administrator_all():
    workflow = make_workflow()
    editor = make_actor("editor")
    secret, _ = actions.set_secret(editor, name="a", value=VALUE, workflow=workflow.title)
    for_all, _ = actions.set_secret(make_actor(), name="a", value=VALUE)
    with pytest.raises(Denied, match="for administrators to set"):
        actions.set_variable(editor, name="a", value=VALUE)
    with pytest.raises(Denied, match="for administrators to set"):
        actions.edit_stored(editor, for_all, value="another-value")
    with pytest.raises(Denied):
        actions.delete_stored(editor, for_all)
    actions.delete_stored(editor, secret)
    actions.delete_stored(make_actor(), for_all)


class OnlyPhysics:
    """Shows workflows of one kind of title."""

    def allow(self, user, action, obj):
        return True

    def visible(self, user, queryset):
        if queryset.model is Workflow:
            return queryset.filter(title__startswith="physics")
        return queryset


def test_those_of_a_workflow_are_seen_with_it(settings):
    for title in ("physics-1", "veiled"):
        make_workflow(title=title)
        make_secret(workflow=title)
        make_variable(workflow=title)
    make_secret()
    settings.WORKFLOWHUB_PERMISSION_FACTORY = "tests.runs.test_secrets.OnlyPhysics"
    actor = Actor(user=make_user("editor"))
    assert {str(row) for row in visible(actor, Secret.objects.all())} == {
        "physics-1/token",
        "token",
    }
    assert [str(row) for row in visible(actor, Variable.objects.all())] == ["physics-1/stage"]
    with pytest.raises(Invalid, match="no workflow of this title, or you may not see it"):
        actions.set_secret(actor, name="other", value=VALUE, workflow="veiled")


def test_a_title_that_is_free_again_has_lost_its_secrets():
    old = timezone.now() - timedelta(days=10)
    make_workflow(title="gone", archived_at=old)
    make_workflow(title="kept")
    for title in ("gone", "kept", ""):
        make_secret(workflow=title)
        make_variable(workflow=title)
    limits = Limits(archived=timedelta(days=1))
    assert clean_up(limits, dry_run=True).counts == {"archived workflows": 1}
    assert clean_up(limits).counts == {
        "archived workflows": 1,
        "secrets of workflows that are gone": 1,
        "variables of workflows that are gone": 1,
    }
    assert sorted(map(str, Secret.objects.all())) == ["kept/token", "token"]
    assert sorted(map(str, Variable.objects.all())) == ["kept/stage", "stage"]
