"""Sessions, forms and tokens: nobody acts in another's name."""

import base64
from html.parser import HTMLParser
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from runs.models import WorkflowRun
from runs.web.urls import urlpatterns
from tests.api.test_authorisation import RIGHTS, VIEWS
from tests.factories import make_engine, make_run, make_token, make_user, make_workflow
from tests.web.test_access import address

pytestmark = pytest.mark.django_db


@pytest.fixture
def run() -> WorkflowRun:
    return make_run(make_workflow(), engine=make_engine())


@pytest.fixture
def strict() -> Client:
    client = Client(enforce_csrf_checks=True)
    client.force_login(make_user(is_staff=True))
    return client


def test_every_form_needs_its_token(strict: Client, run: WorkflowRun) -> None:
    wrong = {}
    for one in urlpatterns:
        answer = strict.post(address(str(one.name), run), {"note": "x"})
        if answer.status_code not in {403, 404, 405}:
            wrong[one.name] = answer.status_code
    assert wrong == {}
    for name, args in (("runs_workflow_add", []), ("runs_workflowrun_deed", [run.pk, "cancel"])):
        assert strict.post(reverse(f"admin:{name}", args=args), {}).status_code == 403


@pytest.mark.parametrize(
    ("name", "method"),
    [(name, m) for name, rights in RIGHTS.items() for m in rights if m != "GET"],
)
def test_every_call_by_session_needs_the_token(
    strict: Client, run: WorkflowRun, name: str, method: str
) -> None:
    url = VIEWS[name][1].format(id=run.pk)
    answer = strict.generic(method, url, b"{}", content_type="application/json")
    assert answer.status_code == 403
    assert "CSRF" in answer.json()["detail"]


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/", "//evil.example/", "/\\evil.example/", "\\\\evil.example",
        "http:evil.example", "javascript:alert(1)", "/\t/evil.example", "///evil.example",
        " //evil.example", "data:text/html,x", "https:/evil.example",
    ],
)  # fmt: skip
def test_nothing_leads_to_another_site(target: str) -> None:
    make_user(username="ada", password="pw")
    data = {"username": "ada", "password": "pw", "next": target}
    client = Client()
    answer = client.post(reverse("login"), data)
    assert answer["Location"] == reverse("overview")
    assert client.get(reverse("login"), {"next": target})["Location"] == reverse("overview")
    themed = client.post(reverse("set_theme"), {"theme": "dark", "next": target})
    assert themed["Location"] == reverse("account")
    out = client.post(reverse("logout"), {"next": target})
    assert out["Location"] == reverse("login")


def test_the_cookies_of_a_session_are_kept_from_scripts_and_other_sites() -> None:
    make_user(username="ada", password="pw")
    client = Client()
    answer = client.post(reverse("login"), {"username": "ada", "password": "pw"})
    session = answer.cookies["sessionid"]
    assert (session["httponly"], session["samesite"]) == (True, "Lax")
    assert client.get(reverse("account")).headers["X-Frame-Options"] == "DENY"
    csrf = client.get(reverse("account")).cookies.get("csrftoken") or client.cookies["csrftoken"]
    assert csrf["samesite"] == "Lax"


def test_a_log_in_begins_another_session() -> None:
    make_user(username="ada", password="pw")
    client = Client()
    client.get(reverse("login"))
    client.cookies["sessionid"] = "fixed-by-somebody-else-000000000"
    client.post(reverse("login"), {"username": "ada", "password": "pw"})
    assert client.cookies["sessionid"].value != "fixed-by-somebody-else-000000000"


def test_log_out_takes_a_post() -> None:
    client = Client()
    client.force_login(make_user())
    assert client.get(reverse("logout")).status_code == 405
    assert client.get(reverse("account")).status_code == 200


def test_every_answer_says_how_it_may_be_used(strict: Client, run: WorkflowRun) -> None:
    stranger = Client()
    urls = [address(str(one.name), run) for one in urlpatterns]
    urls += ["/nothing/here/", "/admin/", "/admin/login/", "/api/v1/health/live", "/metrics"]
    urls += ["/api/v1/workflows", "/api/schema", "/docs", reverse("admin:runs_workflow_add")]
    for client in (strict, stranger):
        for url in urls:
            answer = client.get(url)
            assert answer["X-Content-Type-Options"] == "nosniff", url
            assert answer["X-Frame-Options"] == "DENY", url
            assert answer["Referrer-Policy"] == "same-origin", url
            policy = answer["Content-Security-Policy"]
            assert "frame-ancestors 'none'" in policy, url
            assert "default-src 'none'" in policy, url
            assert "script-src 'self';" in f"{policy};", url
            assert "unsafe-eval" not in policy, url
    for status, url in ((403, reverse("cancel_run", args=[run.pk])), (404, "/x/")):
        answer = strict.post(url, {})
        assert answer.status_code in {status, 403}
        assert "default-src 'none'" in answer["Content-Security-Policy"]


class Scripts(HTMLParser):
    """What the content policy forbids: it would be dead code, or need the policy opened."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[Any]) -> None:
        names = dict(attrs)
        if tag == "script" and not names.get("src") and names.get("type") != "application/json":
            self.found.append("script")
        self.found += [name for name in names if name.startswith("on")]


@pytest.mark.parametrize("name", ["index", "login", "runs_workflowrun_changelist"])
def test_the_admin_runs_no_script_of_its_pages(name: str) -> None:
    client = Client()
    if name != "login":
        client.force_login(make_user(is_staff=True))
    scripts = Scripts()
    scripts.feed(client.get(reverse(f"admin:{name}")).content.decode())
    assert scripts.found == []


def test_a_token_is_taken_from_the_header_only(run: WorkflowRun) -> None:
    token = make_token()
    for name in ("token", "access_token", "api_key", "Authorization", "key"):
        assert Client().get(f"/api/v1/workflows?{name}={token}").status_code == 401
        client = Client()
        client.cookies[name] = token
        assert client.get("/api/v1/workflows").status_code == 401
    page = Client(headers={"authorization": f"Bearer {token}"}).get(reverse("runs"))
    assert page.status_code == 302  # a token opens no page


def test_a_token_is_only_what_its_role_says(run: WorkflowRun) -> None:
    user = make_user("administrator", password="pw", username="ada")
    client = Client(headers={"authorization": f"Bearer {make_token(user, 'viewer')}"})
    for name, rights in RIGHTS.items():
        for method, action in rights.items():
            if method == "GET" or action == "view":
                continue
            url = VIEWS[name][1].format(id=run.pk)
            answer = client.generic(method, url, b"{}", content_type="application/json")
            assert answer.status_code == 403, (name, method)
    basic = base64.b64encode(b"ada:pw").decode()
    refused = Client(headers={"authorization": f"Basic {basic}"}).get("/api/v1/workflows")
    assert refused.status_code == 401


def test_guessing_a_password_is_stopped_for_that_name_and_address(settings: Any) -> None:
    make_user(username="ada", password="pw")
    for _ in range(settings.AXES_FAILURE_LIMIT):
        Client().post(reverse("admin:login"), {"username": "ada", "password": "guess"})
    locked = Client().post(reverse("login"), {"username": "ada", "password": "pw"})
    assert locked.status_code == 429
