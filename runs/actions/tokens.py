"""API tokens: issued once in plain, revoked for good."""

from datetime import datetime
from typing import Any

from django.db import transaction

from engines.clock import database_now
from runs import audit
from runs.errors import Denied, Invalid
from runs.models import ApiToken
from runs.models.access import Role
from runs.policy import LADDER, Action, Actor, require, user_role


def issue_token(
    actor: Actor,
    *,
    user: Any = None,
    role: Role | None = None,
    name: str = "",
    expires_at: datetime | None = None,
) -> tuple[ApiToken, str]:
    """A token for oneself, or by an administrator for somebody else; and its plain text, once.

    The role is at most that of its user (an administrator may have a token for a runner).
    """
    user = user or actor.user
    own = user_role(user) if user else None
    if own is None or actor.role is None:
        raise Denied(
            "Only a user with a role can have a token: let an administrator put the user into "
            f"one of the groups {', '.join(Role.values)}."
        )
    if actor.user != user:
        require(actor, Action.MANAGE_TOKENS)
    if actor.cap is not None and actor.user == user:
        raise Denied("A token can't issue further tokens: log in with a password.")
    role = role or own
    allowed = [*LADDER[: LADDER.index(own) + 1]] if own in LADDER else [own]
    if own == Role.ADMINISTRATOR:
        allowed.append(Role.RUNNER)
    if role not in allowed:
        raise Invalid({"role": f"At most {own.label}: {user.get_username()} has no more."})
    if expires_at and expires_at <= database_now():
        raise Invalid({"expires_at": "It lies in the past."})
    name = name.replace("\x00", "\ufffd")
    with transaction.atomic():
        token, plain = ApiToken.issue(user=user, role=role, name=name, expires_at=expires_at)
        audit.record(actor, "issue_token", token, role=role)
    return token, plain


def revoke_token(actor: Actor, token: ApiToken) -> None:
    """Ends a token for good; twice is fine."""
    if actor.user is None or token.user_id != actor.user.pk:
        require(actor, Action.MANAGE_TOKENS)
    if token.revoked_at is None:
        with transaction.atomic():
            token.revoked_at = database_now()
            token.save(update_fields=["revoked_at"])
            audit.record(actor, "revoke_token", token)
