"""The admin opens to staff only, and gives nobody more than their role."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.urls import reverse

from runs.models import ApiToken, WorkflowRun
from runs.models.access import Role
from tests.factories import make_engine, make_run, make_user, make_workflow

pytestmark = pytest.mark.django_db


def client_of(role: Role | None, **kw: Any) -> Client:
    client = Client()
    client.force_login(make_user(role, **kw))
    return client


def test_who_is_no_staff_is_sent_away() -> None:
    for role in (*Role, None):
        answer = client_of(role).get(reverse("admin:index"))
        assert (answer.status_code, "login" in answer["Location"]) == (302, True)


def test_staff_without_a_role_see_nothing() -> None:
    run = make_run(make_workflow(), engine=make_engine())
    client = client_of(None, is_staff=True)
    for name in ("runs_workflowrun", "engines_engine", "runs_apitoken", "runs_auditentry",
                 "auth_user", "auth_group", "runs_taskrun"):  # fmt: skip
        assert client.get(reverse(f"admin:{name}_changelist")).status_code == 403, name
    assert client.get(reverse("admin:runs_workflowrun_change", args=[run.pk])).status_code == 403
    deed = reverse("admin:runs_workflowrun_deed", args=[run.pk, "cancel"])
    assert client.post(deed, {"confirmed": "1"}).status_code in {403, 404}


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR, Role.EDITOR])
def test_a_role_does_no_more_in_the_admin_than_elsewhere(role: Role) -> None:
    engine = make_engine()
    run = make_run(make_workflow(), engine=engine)
    client = client_of(role, is_staff=True)
    for name in ("runs_apitoken", "runs_auditentry", "runs_idempotencykey", "auth_user"):
        assert client.get(reverse(f"admin:{name}_changelist")).status_code == 403, name
    for name, pk, deed in (
        ("engines_engine", engine.pk, "edit"),
        ("engines_engine", engine.pk, "delete"),
    ):
        url = reverse(f"admin:{name}_deed", args=[pk, deed])
        assert client.post(url, {"priority": "1", "confirmed": "1"}).status_code in {403, 404}
    assert client.get(reverse("admin:runs_workflowrun_purge")).status_code == 403
    assert client.get(reverse("admin:engines_engine_add")).status_code == 403
    assert client.get(reverse("admin:runs_apitoken_add")).status_code == 403
    if role == Role.VIEWER:
        url = reverse("admin:runs_workflowrun_deed", args=[run.pk, "cancel"])
        assert client.post(url, {"confirmed": "1"}).status_code in {403, 404}
        assert WorkflowRun.objects.get(pk=run.pk).wanted == "RUN"


def test_no_field_that_is_posted_is_saved() -> None:
    run = make_run(make_workflow(), engine=make_engine())
    token, _ = ApiToken.issue(user=make_user(Role.VIEWER), role=Role.VIEWER)
    client = client_of(Role.ADMINISTRATOR, is_staff=True)
    before = WorkflowRun.objects.values().get(pk=run.pk), ApiToken.objects.values().get(pk=token.pk)
    tampered = {"state": "COMPLETED", "role": "administrator", "digest": "0" * 64, "_save": "1"}
    for name, pk in (("runs_workflowrun", run.pk), ("runs_apitoken", token.pk)):
        client.post(reverse(f"admin:{name}_change", args=[pk]), tampered)
        client.post(reverse(f"admin:{name}_delete", args=[pk]), {"post": "yes"})
        url = reverse(f"admin:{name}_changelist")
        client.post(url, {"action": "delete_selected", "_selected_action": [pk], "post": "yes"})
        client.post(url, {"form-0-id": pk, "form-0-state": "COMPLETED", "form-TOTAL_FORMS": "1"})
    after = WorkflowRun.objects.values().get(pk=run.pk), ApiToken.objects.values().get(pk=token.pk)
    assert after == before


def test_nobody_becomes_an_administrator_by_editing_users() -> None:
    """Django lets whoever may change users make themselves a superuser."""
    client = client_of(Role.VIEWER, is_staff=True, username="eve")
    eve = get_user_model().objects.get(username="eve")
    eve.user_permissions.set(Permission.objects.filter(content_type__app_label="auth"))
    Group.objects.get_or_create(name=Role.ADMINISTRATOR)
    data = {"username": "eve", "is_active": "on", "is_staff": "on", "is_superuser": "on",
            "date_joined_0": "2026-01-01", "date_joined_1": "12:00"}  # fmt: skip
    for name, args in (
        ("auth_user_change", [eve.pk]),
        ("auth_user_add", []),
        ("auth_group_add", []),
    ):
        assert client.get(reverse(f"admin:{name}", args=args)).status_code == 403
        assert client.post(reverse(f"admin:{name}", args=args), data).status_code == 403
    password = reverse("admin:auth_user_password_change", args=[eve.pk])
    assert client.get(password).status_code == 403
    eve.refresh_from_db()
    assert not eve.is_superuser


def test_tables_with_pickles_are_not_in_the_admin() -> None:
    client = client_of(None, is_staff=True, is_superuser=True)
    assert "django_q" not in client.get(reverse("admin:index")).content.decode()
