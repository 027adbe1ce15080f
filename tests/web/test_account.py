"""Log-in, log-out, password, tokens, theme, time zone."""

from datetime import UTC, datetime

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from runs.models import ApiToken, Preference, WorkflowRun
from tests.factories import make_run, make_user


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


def test_times_are_shown_in_the_zone_that_one_chose(ada: Client) -> None:
    run = make_run()
    moment = datetime(2026, 7, 1, 22, 30, tzinfo=UTC)
    WorkflowRun.objects.filter(pk=run.pk).update(created_at=moment)
    url = reverse("run", args=[run.pk])
    assert "2026-07-01 22:30:00 UTC" in ada.get(url).content.decode()
    page = ada.get(reverse("account")).content.decode()
    assert "<option>Asia/Tokyo</option>" in page
    given = {"time_zone": "Asia/Tokyo", "default_view": ""}
    assert ada.get(reverse("set_preferences")).status_code == 405
    assert ada.post(reverse("set_preferences"), given).status_code == 302
    assert "2026-07-02 07:30:00 JST" in ada.get(url).content.decode()
    assert "<option selected>Asia/Tokyo</option>" in ada.get(reverse("account")).content.decode()
    other = Client()
    other.force_login(make_user("viewer"))
    assert "2026-07-01 22:30:00 UTC" in other.get(url).content.decode()
    ada.post(reverse("set_preferences"), {"time_zone": ""})
    assert "2026-07-01 22:30:00 UTC" in ada.get(url).content.decode()


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd"])
def test_a_time_zone_that_there_is_not_is_refused(ada: Client, zone: str) -> None:
    answer = ada.post(reverse("set_preferences"), {"time_zone": zone}, follow=True)
    assert "There is no such time zone" in answer.content.decode()
    assert not Preference.objects.exists()


def test_a_zone_that_is_known_no_more_shows_the_hubs(ada: Client) -> None:
    user = ada.get(reverse("account")).context["user"]
    Preference.objects.create(user_id=user.pk, time_zone="Nowhere/Atlantis")
    assert "UTC.</span>" in ada.get(reverse("account")).content.decode()


def test_the_zone_of_one_request_is_gone_with_the_next(ada: Client, client: Client) -> None:
    ada.post(reverse("set_preferences"), {"time_zone": "Asia/Tokyo"})
    ada.get(reverse("account"))
    assert timezone.get_current_timezone_name() == "UTC"
    client.get(reverse("login"))
    assert timezone.get_current_timezone_name() == "UTC"


def test_dates_of_a_filter_are_in_the_users_zone(ada: Client) -> None:
    run = make_run()
    moment = datetime(2026, 7, 1, 22, 30, tzinfo=UTC)
    WorkflowRun.objects.filter(pk=run.pk).update(created_at=moment)
    url = f"{reverse('runs')}?since=2026-07-02&until=2026-07-03"
    assert ada.get(url).context["rows"] == []
    ada.post(reverse("set_preferences"), {"time_zone": "Asia/Tokyo"})
    assert [row.pk for row, _ in ada.get(url).context["rows"]] == [run.pk]


def test_the_visitors_settings_cost_no_statement_of_their_own(ada: Client) -> None:
    ada.post(reverse("set_preferences"), {"time_zone": "Asia/Tokyo"})
    with CaptureQueriesContext(connection) as asked:
        ada.get(reverse("engines"))
    assert sum("runs_preference" in query["sql"] for query in asked.captured_queries) == 1
    assert sum("auth_user" in query["sql"] and "auth_user_groups" not in query["sql"]
               for query in asked.captured_queries) == 1  # fmt: skip
