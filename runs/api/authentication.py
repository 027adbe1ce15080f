"""Who calls: an API token (Bearer, Token, or Basic as user:token), or a browser's session with CSRF."""

import base64
import binascii
from datetime import datetime, timedelta
from typing import Any

from django.db import OperationalError, connection
from django.db.models import Q
from rest_framework import authentication, exceptions
from rest_framework.request import Request

from engines.clock import database_now
from runs.models import ApiToken

# `last_used_at` is written at most this often, so that reading does not write.
USED_PRECISION = timedelta(minutes=1)
LONGEST_HEADER = 1000
SCHEMES = {"bearer", "token", "basic"}
REFUSED = "The token is unknown, revoked or expired."


class TokenAuthentication(authentication.BaseAuthentication):
    """`request.auth` is the ApiToken, whose role caps what its user may do."""

    def authenticate(self, request: Request) -> tuple[Any, ApiToken] | None:
        header = request.META.get("HTTP_AUTHORIZATION", "")
        scheme, _, rest = header.strip().partition(" ")
        if scheme.lower() not in SCHEMES:
            if header:
                raise exceptions.AuthenticationFailed(
                    "Send Authorization: Bearer <token>, Token <token>, or Basic with user:token."
                )
            return None
        if len(header) > LONGEST_HEADER:
            raise exceptions.AuthenticationFailed(REFUSED)
        name, plain = _basic(rest) if scheme.lower() == "basic" else (None, rest.strip())
        token = find_token(plain)
        if token is None or (name is not None and token.user.get_username() != name):
            raise exceptions.AuthenticationFailed(REFUSED)
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class SessionAuthentication(authentication.SessionAuthentication):
    """A browser that is logged in; everything but reading needs its CSRF token."""


def find_token(plain: str) -> ApiToken | None:
    """The usable token with this plain text; notes that it was used."""
    now = database_now()
    token = (
        ApiToken.objects.select_related("user")
        .filter(digest=ApiToken.digest_of(plain), revoked_at=None, user__is_active=True)
        .filter(Q(expires_at=None) | Q(expires_at__gt=now))
        .first()
    )
    if token and (token.last_used_at is None or now - token.last_used_at >= USED_PRECISION):
        _note_use(token, now)
    return token


def _note_use(token: ApiToken, now: datetime) -> None:
    # The condition lets one of many requests at once do the writing.
    unnoted = Q(last_used_at=None) | Q(last_used_at__lte=now - USED_PRECISION)
    try:
        ApiToken.objects.filter(unnoted, pk=token.pk).update(last_used_at=now)
    except OperationalError:
        # A database that has no room left can still be read.
        if connection.in_atomic_block:
            raise


def _basic(encoded: str) -> tuple[str, str]:
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise exceptions.AuthenticationFailed(
            "The Basic credentials are not user:token in base64."
        ) from None
    name, _, plain = text.partition(":")
    return name, plain
