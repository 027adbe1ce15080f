"""Log-in, log-out, password, tokens, theme."""

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse

from runs.models import ApiToken
from tests.factories import make_user


@pytest.fixture
def ada(db: None) -> Client:
    client = Client()
    client.force_login(make_user("operator", username="ada", password="a-long-password-1"))
    return client


@pytest.mark.django_db
def test_log_in_leads_to_where_one_was_going(client: Client) -> None:
    make_user(username="ada", password="pw")
    target = reverse("runs")
    where = client.get(target)["Location"]
    assert where == f"{reverse('login')}?next={target}"
    data = {"username": "ada", "password": "pw", "next": target}
    assert client.post(reverse("login"), data)["Location"] == target
    assert client.get(target).status_code == 200


@pytest.mark.django_db
def test_log_in_leads_to_no_other_site(client: Client) -> None:
    make_user(username="ada", password="pw")
    data = {"username": "ada", "password": "pw", "next": "https://evil.example/"}
    assert client.post(reverse("login"), data)["Location"] == reverse("overview")


@pytest.mark.django_db
def test_a_wrong_password_says_nothing_about_the_user(client: Client) -> None:
    make_user(username="ada", password="pw")
    answers = {
        client.post(reverse("login"), {"username": name, "password": "no"})
        .content.decode()
        .replace(name, "")
        .count("Please enter a correct username and password")
        for name in ("ada", "nobody-at-all")
    }
    assert answers == {1}


@pytest.mark.django_db
def test_guessing_passwords_is_stopped_in_words(client: Client) -> None:
    make_user(username="ada", password="pw")
    for _ in range(settings.AXES_FAILURE_LIMIT):
        client.post(reverse("login"), {"username": "ada", "password": "guess"})
    response = client.post(reverse("login"), {"username": "ada", "password": "pw"})
    assert response.status_code == 429
    assert "Too many tries" in response.content.decode()
    assert client.get(reverse("runs")).status_code == 302


def test_a_live_part_whose_session_has_ended_loads_its_page_anew(client: Client) -> None:
    response = client.get(reverse("login"), headers={"HX-Request": "true"})
    assert (response.status_code, response["HX-Refresh"]) == (204, "true")


def test_log_out_ends_the_session(ada: Client) -> None:
    assert ada.post(reverse("logout"))["Location"] == reverse(settings.LOGOUT_REDIRECT_URL)
    assert ada.get(reverse("runs")).status_code == 302


def test_a_token_is_shown_once(ada: Client) -> None:
    data = {"name": "laptop", "role": "viewer", "days": "30"}
    response = ada.post(reverse("issue_token"), data)
    plain = response.context["plain"]
    assert plain in response.content.decode()
    assert "no-store" in response["Cache-Control"]
    token = ApiToken.objects.get()
    assert (token.name, token.role, token.digest) == ("laptop", "viewer", ApiToken.digest_of(plain))
    assert token.expires_at is not None
    assert plain not in ada.get(reverse("account")).content.decode()


@pytest.mark.parametrize("role", ["administrator", "editor", "king", ""])
def test_nobody_gives_a_token_more_than_they_have(ada: Client, role: str) -> None:
    assert ada.post(reverse("issue_token"), {"role": role}).status_code == 400
    assert not ApiToken.objects.exists()


def test_a_token_is_revoked_after_a_question(ada: Client) -> None:
    ada.post(reverse("issue_token"), {"role": "viewer"})
    token = ApiToken.objects.get()
    url = reverse("revoke_token", args=[token.pk])
    assert f"Revoke the token {token.prefix}" in ada.get(url).content.decode()
    for _ in range(2):
        ada.post(url)
    token.refresh_from_db()
    assert token.revoked_at is not None


def test_somebody_elses_token_is_not_there(ada: Client) -> None:
    token, _ = ApiToken.issue(user=make_user(), role="viewer")
    assert ada.post(reverse("revoke_token", args=[token.pk])).status_code == 404
    token.refresh_from_db()
    assert token.revoked_at is None


def test_a_new_password_ends_the_other_sessions(ada: Client) -> None:
    other = Client()
    other.post(reverse("login"), {"username": "ada", "password": "a-long-password-1"})
    assert other.get(reverse("runs")).status_code == 200
    url = reverse("change_password")
    new = {"new_password1": "quite-another-9", "new_password2": "quite-another-9"}
    assert ada.post(url, {"old_password": "wrong", **new}).status_code == 400
    assert ada.post(url, {"old_password": "a-long-password-1", **new}).status_code == 302
    assert ada.get(reverse("runs")).status_code == 200
    assert other.get(reverse("runs")).status_code == 302


def test_the_theme_is_kept_in_a_cookie(ada: Client) -> None:
    ada.post(reverse("set_theme"), {"theme": "dark"})
    assert 'data-theme="dark"' in ada.get(reverse("overview")).content.decode()
    ada.post(reverse("set_theme"), {"theme": '"><script>'})
    assert 'data-theme="dark"' in ada.get(reverse("overview")).content.decode()
