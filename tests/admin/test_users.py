"""Users get their role in the admin, from superusers only."""

import pytest
from django.contrib.auth import get_user_model
from django.urls import reverse

from runs.models.access import Role
from runs.policy import user_role
from tests.factories import make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def superuser(client):
    client.force_login(make_user(None, is_staff=True, is_superuser=True, username="root"))
    return client


def test_a_user_is_given_a_role_on_a_hub_that_has_no_group_yet(superuser):
    user = make_user(None, username="grace")
    address = reverse("admin:auth_user_change", args=[user.pk])
    form = superuser.get(address).context["adminform"].form
    roles = {group.name: group.pk for group in form.fields["groups"].queryset}
    assert set(roles) == set(Role.values)
    data = {
        "username": "grace",
        "is_active": "on",
        "groups": [roles["operator"]],
        "date_joined_0": "2026-01-01",
        "date_joined_1": "12:00",
    }
    assert superuser.post(address, data).status_code == 302
    assert user_role(get_user_model().objects.get(pk=user.pk)) == Role.OPERATOR


def test_the_list_shows_each_user_s_role(superuser):
    make_user(Role.EDITOR)
    make_user(None)
    page = superuser.get(reverse("admin:auth_user_changelist")).content.decode()
    assert "Editor" in page
    assert "none" in page


def test_staff_who_are_no_superusers_cannot_raise_themselves(client):
    client.force_login(make_user(Role.ADMINISTRATOR, is_staff=True))
    assert client.get(reverse("admin:auth_user_changelist")).status_code == 403
