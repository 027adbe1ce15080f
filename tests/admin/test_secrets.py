"""Secrets and variables in the admin: written, never shown."""

import pytest
from django.urls import reverse

from engines.secrets import decrypt
from runs.models import AuditEntry, Secret, Variable
from runs.models.access import Role
from tests.factories import make_secret, make_user, make_variable

pytestmark = pytest.mark.django_db
VALUE = "plain-secret-5e8f"


@pytest.fixture
def staff(client):
    client.force_login(make_user(Role.ADMINISTRATOR, is_staff=True, username="ada"))
    return client


def url(model, page, *args):
    return reverse(f"admin:runs_{model._meta.model_name}_{page}", args=args)


def test_a_secret_is_set_and_replaced_by_name(staff):
    staff.post(url(Secret, "add"), {"name": "token", "value": f"{VALUE}\r\n"})
    secret = Secret.objects.get()
    assert decrypt(secret.encrypted) == VALUE
    staff.post(url(Secret, "add"), {"name": "token", "value": "another-value"})
    assert decrypt(Secret.objects.get().encrypted) == "another-value"
    actions = AuditEntry.objects.filter(object_kind="secret").values_list("action", "face")
    assert set(actions) == {("create", "admin"), ("replace", "admin")}


def test_what_was_typed_isnt_sent_back(staff):
    page = staff.post(url(Secret, "add"), {"name": "a b", "value": VALUE})
    assert page.status_code == 200
    assert "name" in page.context["form"].errors
    assert VALUE not in page.content.decode()


def test_a_value_is_replaced_and_one_left_empty_is_kept(staff):
    secret = make_secret(value=VALUE)
    address = url(Secret, "deed", secret.pk, "edit")
    assert VALUE not in staff.get(address).content.decode()
    staff.post(address, {"deed-value": "", "deed-description": "Kept."})
    secret.refresh_from_db()
    assert (decrypt(secret.encrypted), secret.description) == (VALUE, "Kept.")
    staff.post(address, {"deed-value": "another-value", "deed-description": ""})
    secret.refresh_from_db()
    assert decrypt(secret.encrypted) == "another-value"
    refused = staff.post(address, {"deed-value": "tiny5"})
    assert "value" in refused.context["form"].errors


def test_a_variable_is_set_edited_and_deleted(staff):
    staff.post(url(Variable, "add"), {"name": "stage", "value": "blue"})
    variable = Variable.objects.get()
    address = url(Variable, "deed", variable.pk, "edit")
    assert "blue" in staff.get(address).content.decode()
    staff.post(address, {"deed-value": "green"})
    variable.refresh_from_db()
    assert variable.value == "green"
    staff.post(url(Variable, "deed", variable.pk, "delete"), {"confirmed": "yes"})
    assert not Variable.objects.exists()


def test_several_are_deleted_from_the_list(staff):
    keys = [make_secret(name).pk for name in ("a", "b")]
    asked = {"action": "delete", "_selected_action": keys, "confirmed": "yes"}
    staff.post(url(Secret, "changelist"), asked)
    assert not Secret.objects.exists()


def test_an_editor_on_the_staff_changes_nothing_that_all_workflows_see(client):
    client.force_login(make_user(Role.EDITOR, is_staff=True))
    variable = make_variable()
    answer = client.post(url(Variable, "deed", variable.pk, "delete"), {"confirmed": "yes"})
    assert answer.status_code == 403
    assert client.post(url(Variable, "add"), {"name": "a", "value": "b"}).status_code == 403
    assert Variable.objects.count() == 1
