"""Roles, tokens' caps, and a permission factory that only narrows."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.utils import timezone

from runs import actions
from runs.errors import Denied, Invalid
from runs.models import ApiToken, AuditEntry, WorkflowRun
from runs.models.access import Role
from runs.policy import ALLOWED, LADDER, Action, Actor, allow, visible
from tests.factories import make_actor, make_run, make_user, make_workflow

pytestmark = pytest.mark.django_db


class OnlyPhysics:
    """A factory that hides runs of other titles, and would like to allow everything."""

    def allow(self, user, action, obj):
        return True

    def visible(self, user, queryset):
        return queryset.filter(workflow__title__startswith="physics")


def test_each_role_may_do_what_the_one_below_it_may():
    for lower, higher in zip(LADDER, LADDER[1:], strict=False):
        assert ALLOWED[lower] < ALLOWED[higher]


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("action", list(Action))
def test_the_matrix_of_roles_and_actions(role, action):
    assert allow(make_actor(role), action) == (action in ALLOWED[role])


def test_a_user_without_a_role_may_nothing_and_sees_nothing():
    make_run()
    actor = Actor(user=make_user(None))
    assert not allow(actor, Action.VIEW)
    assert not visible(actor, WorkflowRun.objects.all())


def test_an_inactive_user_may_nothing():
    assert not allow(Actor(user=make_user(is_active=False)), Action.VIEW)


def test_a_token_caps_its_user_and_never_lifts():
    admin, viewer = make_user(), make_user("viewer")
    assert not allow(Actor(user=admin, cap=Role.VIEWER), Action.START_RUN)
    assert not allow(Actor(user=viewer, cap=Role.ADMINISTRATOR), Action.START_RUN)


def test_an_editor_with_the_permission_may_post_shell_steps():
    user = make_user("editor")
    assert not allow(Actor(user=user), Action.POST_SHELL)
    user.user_permissions.add(Permission.objects.get(codename="post_shell"))
    user = type(user).objects.get(pk=user.pk)
    assert allow(Actor(user=user), Action.POST_SHELL)


def test_a_permission_factory_narrows_but_never_widens(settings):
    settings.WORKFLOWHUB_PERMISSION_FACTORY = "tests.runs.test_policy.OnlyPhysics"
    mine, other = make_run(make_workflow(title="physics-1")), make_run()
    seen = visible(make_actor("viewer"), WorkflowRun.objects.all())
    assert mine in seen and other not in seen
    assert not allow(make_actor("viewer"), Action.START_RUN)


def test_a_token_is_shown_once_and_kept_as_a_digest():
    actor = make_actor("operator")
    token, plain = actions.issue_token(actor, name="laptop")
    assert plain.startswith(token.prefix) and plain not in str(ApiToken.objects.values())
    assert token.role == Role.OPERATOR
    assert plain not in str(AuditEntry.objects.values())


def test_a_token_has_at_most_its_users_role():
    with pytest.raises(Invalid, match="role"):
        actions.issue_token(make_actor("viewer"), role=Role.EDITOR)


def test_a_token_issues_no_further_tokens():
    actor = make_actor("operator", cap=Role.OPERATOR)
    with pytest.raises(Denied):
        actions.issue_token(actor)


def test_a_token_that_ended_yesterday_is_refused():
    with pytest.raises(Invalid):
        actions.issue_token(make_actor(), expires_at=timezone.now() - timedelta(days=1))


def test_others_tokens_are_revoked_by_administrators_only():
    token, _ = actions.issue_token(make_actor("operator"))
    with pytest.raises(Denied):
        actions.revoke_token(make_actor("operator"), token)
    actions.revoke_token(make_actor(), token)
    actions.revoke_token(make_actor(), token)
    assert ApiToken.objects.get(pk=token.pk).revoked_at
