"""Who may come in, and with what."""

import base64
from datetime import timedelta

from django.test import Client
from django.utils import timezone

from runs.api.authentication import USED_PRECISION
from runs.models import ApiToken
from tests.api.conftest import Caller
from tests.factories import make_token, make_user, make_workflow

URL = "/api/v1/workflows"


def status(authorization: str) -> int:
    return Client(headers={"authorization": authorization}).get(URL).status_code


def test_a_token_is_taken_as_bearer_token_and_basic(api: Caller) -> None:
    basic = base64.b64encode(f"{api.user.username}:{api.token}".encode()).decode()
    for header in (
        f"Bearer {api.token}",
        f"bearer {api.token}",
        f"Token {api.token}",
        f"Basic {basic}",
    ):
        assert status(header) == 200, header


def test_basic_takes_no_password_and_no_foreign_name(api: Caller) -> None:
    for text in (f"{api.user.username}:pw", f"somebody:{api.token}", api.token, ":", ""):
        assert status(f"Basic {base64.b64encode(text.encode()).decode()}") == 401
    assert status("Basic %%%") == 401


def test_strangers_are_told_how_to_log_in(db: None) -> None:
    answer = Client().get(URL)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == "Bearer"
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:workflowhub:problem:not-logged-in"


def test_a_bad_token_is_refused_though_a_session_is_there(db: None) -> None:
    client = Client()
    client.force_login(make_user())
    assert client.get(URL).status_code == 200
    assert client.get(URL, headers={"authorization": "Bearer nonsense"}).status_code == 401
    assert client.get(URL, headers={"authorization": "Digest x"}).status_code == 401


def test_expired_revoked_and_disabled_tokens_are_refused(db: None) -> None:
    past = timezone.now() - timedelta(seconds=1)
    user = make_user()
    assert status(f"Bearer {make_token(user, expires_at=past)}") == 401
    assert status(f"Bearer {make_token(user, revoked_at=past)}") == 401
    good = make_token(user)
    assert status(f"Bearer {good}") == 200
    user.is_active = False
    user.save()
    assert status(f"Bearer {good}") == 401


def test_the_role_of_a_token_caps_its_user(db: None) -> None:
    plain = make_token(make_user("administrator"), "viewer")
    client = Client(headers={"authorization": f"Bearer {plain}"})
    assert client.get(URL).status_code == 200
    body = {"definition": "title: x", "format": "workflowhub"}
    refused = client.post(URL, body, "application/json")
    assert refused.status_code == 403
    assert "viewer" in refused.json()["detail"]


def test_the_use_of_a_token_is_written_at_most_once_a_minute(
    api: Caller, django_assert_num_queries
) -> None:
    api.get("workflows")
    token = ApiToken.objects.get(user=api.user)
    first = token.last_used_at
    assert first is not None
    api.get("workflows")
    token.refresh_from_db()
    assert token.last_used_at == first
    ApiToken.objects.update(last_used_at=first - USED_PRECISION)
    api.get("workflows")
    token.refresh_from_db()
    assert token.last_used_at >= first


def test_a_session_needs_its_csrf_token_to_change_anything(db: None) -> None:
    workflow = make_workflow()
    client = Client(enforce_csrf_checks=True)
    client.force_login(make_user())
    body = {"workflow": workflow.pk}
    refused = client.post("/api/v1/workflow-runs", body, "application/json")
    assert refused.status_code == 403
    assert "CSRF" in refused.json()["detail"]
    # A page sets the cookie; its scripts send it back.
    client.cookies["csrftoken"] = "a" * 32
    taken = client.post(
        "/api/v1/workflow-runs", body, "application/json", headers={"x-csrftoken": "a" * 32}
    )
    assert taken.status_code == 201


def test_a_user_without_a_role_may_nothing(db: None) -> None:
    client = Client()
    client.force_login(make_user(None))
    assert client.get(URL).status_code == 403
