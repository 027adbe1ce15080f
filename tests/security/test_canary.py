"""Secrets are planted, everything is exercised, and every output is searched for them."""

import base64
import io
import json
import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from cryptography.fernet import Fernet
from django.conf import settings as hub_settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.test import Client
from django.urls import reverse

from engines import http
from engines.base import EngineError
from engines.connect import connect, connect_with
from engines.exchange import Response
from engines.http import HttpDoor
from engines.models import Engine, EngineJob
from engines.secrets import decrypt
from engines.testing.fake_http import FakeHttpEngine, Fault
from runs.models import ApiToken, AuditEntry, RunEvent
from runs.models.access import Role
from runs.web.urls import urlpatterns
from tests.api.test_authorisation import RIGHTS, VIEWS
from tests.factories import make_engine, make_run, make_user, make_workflow
from tests.web.test_access import address

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "canary-engine-5e8f1c"
SECOND = 'canary-"second"-%41/å-77'
PASSWORD = "canary-password-90b1"
KEY = "canary-secret-key-" + "x" * 40


class Planted:
    """The secrets, and in which other spellings they might come out."""

    def __init__(self, fernet: str, token: str) -> None:
        self.words = [SECRET, PASSWORD, KEY, fernet, token]
        self.words += [base64.b64encode(word.encode()).decode() for word in (SECRET, token)]

    def check(self, text: str, where: str) -> None:
        for word in self.words:
            assert word not in text, f"{where} holds {word[:14]}…"


@pytest.fixture
def user(transactional_db: None) -> Any:
    return make_user(username="ada", password=PASSWORD, is_staff=True, is_superuser=True)


@pytest.fixture
def planted(user: Any, settings: Any) -> Planted:
    fernet = Fernet.generate_key().decode()
    settings.SECRET_KEY = KEY
    settings.WORKFLOWHUB_SECRET_KEYS = [fernet]
    token = ApiToken.issue(user=user, role=Role.ADMINISTRATOR, name="planted")[1]
    planted = Planted(fernet, token)
    planted.token = token
    return planted


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Everything that is logged, as the hub's own handler writes it."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.getLogger().handlers[0].formatter)
    root = logging.getLogger()
    levels = {name: logging.getLogger(name).level for name in ("engines", "runs", "workflowhub")}
    root.addHandler(handler)
    for name in levels:
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def fake() -> Iterator[FakeHttpEngine]:
    with FakeHttpEngine(token=SECRET, hang=1) as fake:
        yield fake


@pytest.fixture
def engine(fake: FakeHttpEngine, planted: Planted) -> Engine:
    return make_engine("remote", config={"url": fake.url}, secrets={"token": SECRET})


def every_text_of_the_database() -> Iterator[tuple[str, str]]:
    """(table.column, value) of every value, read past the models."""
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')
            names = [column[0] for column in cursor.description]
            for row in cursor.fetchall():
                yield from ((f"{table}.{name}", str(v)) for name, v in zip(names, row, strict=True))


def test_no_answer_of_the_api_holds_a_secret(
    planted: Planted, engine: Engine, logged: io.StringIO
) -> None:
    run = make_run(make_workflow(format="remote-json"), engine=engine, state="FAILED")
    api = Client(headers={"authorization": f"Bearer {planted.token}"})
    api.raise_request_exception = False
    task = run.task_runs.first().pk
    job = EngineJob.objects.create(engine=engine, kind="remote", action="test")
    ids = {"workflows": run.workflow_id, "engines": engine.pk, "task-runs": task}
    ids |= {"engine-jobs": job.pk, "tokens": ApiToken.objects.first().pk}
    for name, rights in RIGHTS.items():
        if name == "api-token":
            continue
        path = VIEWS[name][1]
        url = path.format(id=next((ids[kind] for kind in ids if f"/{kind}" in path), run.pk))
        for method in rights:
            for body in (b"{}", b"{", b'{"x":1}', json.dumps({"config": {"token": 3}}).encode()):
                answer = api.generic(method, url, body, content_type="application/json")
                text = b"".join(answer) if answer.streaming else answer.content
                planted.check(text.decode() + str(dict(answer.items())), f"{method} {url}")
    planted.check(logged.getvalue(), "the log")


def test_what_is_given_as_a_secret_is_never_said_again(
    planted: Planted, fake: FakeHttpEngine, logged: io.StringIO
) -> None:
    api = Client(headers={"authorization": f"Bearer {planted.token}"})
    good = {"url": fake.url, "token": SECRET}
    bodies: list[dict[str, Any]] = [
        {"name": "remote-1", "kind": "remote", "config": good},
        {"name": "remote-1", "kind": "remote", "config": good},
        {"name": "NOT A NAME", "kind": "remote", "config": good},
        {"name": "remote-2", "kind": "nonsense", "config": good},
        {"name": "remote-2", "kind": "remote", "config": {**good, "url": "nowhere"}},
        {"name": "remote-2", "kind": "remote", "config": {**good, "token": [SECRET]}},
        {"name": "remote-2", "kind": "remote", "config": {**good, "token": {"a": SECRET}}},
        {"name": "remote-2", "kind": "remote", "config": {**good, "token": SECRET + "\x00"}},
        {"name": "remote-2", "kind": "remote", "config": {**good, "token": SECRET * 1000}},
        {"name": "remote-2", "kind": "remote", "config": {**good, "unknown": SECRET}},
        {"name": "remote-2", "kind": "local", "config": good},
    ]
    codes = []
    for body in bodies:
        for path in ("engines", "engines/test"):
            given = body if path == "engines" else {k: v for k, v in body.items() if k != "name"}
            key = {"Idempotency-Key": f"k{len(codes)}"}
            answer = api.post(f"/api/v1/{path}", given, "application/json", headers=key)
            codes.append(answer.status_code)
            planted.check(answer.content.decode(), f"the answer to {body}")
    assert codes[:2] == [201, 202]
    assert set(codes[2:]) <= {202, 400, 409}
    pk = Engine.objects.get(name="remote-1").pk
    for config in ({"token": SECRET}, {"token": None}, {"token": [SECRET]}, {"token": SECRET}):
        answer = api.patch(f"/api/v1/engines/{pk}", {"config": config}, "application/json")
        planted.check(answer.content.decode(), f"the answer to {config}")
    assert Engine.objects.get(pk=pk).secrets == {"token": SECRET}
    for place, text in every_text_of_the_database():
        planted.check(text, place)
    planted.check(logged.getvalue(), "the log")


def test_no_page_holds_a_secret(
    planted: Planted, engine: Engine, user: Any, logged: io.StringIO
) -> None:
    run = make_run(make_workflow(format="remote-json"), engine=engine, state="FAILED")
    browser = Client(raise_request_exception=False)
    answer = browser.post(reverse("login"), {"username": "ada", "password": PASSWORD})
    assert answer.status_code == 302
    for one in urlpatterns:
        if one.name in {"logout", "issue_token"}:
            continue
        url = address(str(one.name), run)
        for answer in (browser.get(url), browser.post(url, {"c.token": SECRET, "name": "x"})):
            text = b"".join(answer) if answer.streaming else answer.content
            planted.check(text.decode(), url)
        EngineJob.objects.all().delete()
        Engine.objects.filter(pk=engine.pk).update(enabled=True)
    Client().post(reverse("login"), {"username": "ada", "password": PASSWORD + "-wrong"})
    wrong = {"old_password": PASSWORD, "new_password1": "canary", "new_password2": "other"}
    planted.check(browser.post(reverse("change_password"), wrong).content.decode(), "password")
    for model in ("engines_engine", "engines_enginejob", "runs_apitoken", "auth_user",
                  "runs_idempotencykey", "runs_auditentry", "axes_accessattempt"):  # fmt: skip
        listed = browser.get(reverse(f"admin:{model}_changelist"))
        planted.check(listed.content.decode(), model)
    for url in (
        reverse("admin:engines_engine_change", args=[engine.pk]),
        reverse("admin:engines_engine_deed", args=[engine.pk, "edit"]),
        reverse("admin:auth_user_change", args=[user.pk]),
        reverse("admin:runs_apitoken_change", args=[ApiToken.objects.first().pk]),
    ):
        page = browser.get(url)
        planted.check(page.content.decode(), url)
        assert user.password not in page.content.decode()
        assert Engine.objects.get(pk=engine.pk).encrypted_secrets not in page.content.decode()
    for place, text in every_text_of_the_database():
        planted.check(text, place)
    planted.check(logged.getvalue(), "the log")


def test_no_error_of_an_engine_holds_a_secret(
    planted: Planted, engine: Engine, fake: FakeHttpEngine, logged: io.StringIO, settings: Any
) -> None:
    """Each fault, with the engine's answer quoted in the error."""
    settings.WORKFLOWHUB_ENGINE_DEADLINE = 0.2
    adapter = connect(engine)
    said = [repr(adapter), str(adapter), repr(vars(adapter).get("door", ""))]
    for fault in Fault:
        fake.inject(fault, method="GET", times=3)
        for call in (adapter.health, lambda: list(adapter.observe(None, ["wh-x"]))):
            try:
                said.append(repr(call()))
            except EngineError as error:
                said += [str(error), repr(error), repr(error.__cause__), repr(error.__context__)]
    fake.token = "another"
    with pytest.raises(EngineError) as refused:
        list(adapter.observe(None, ["wh-x"]))
    said.append(repr(refused.value))
    door = HttpDoor("http://127.0.0.1:9", token=SECRET, basic=None, headers={"X-Key": SECRET})
    said.append(repr(door))
    planted.check("\n".join(said) + logged.getvalue(), "an error")


@pytest.mark.parametrize("secret", [SECRET, SECOND])
def test_an_engine_that_repeats_our_secret_is_not_quoted(
    settings: Any, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may come back as it was, within JSON, or written for a URL."""
    spelled = [secret, json.dumps(secret)[1:-1], quote(secret), quote(secret, safe=""),
               quote_plus(secret), base64.b64encode(f"ada:{secret}".encode()).decode()]  # fmt: skip
    for text in spelled:
        for status in (400, 401, 404, 500):
            answer = Response(status=status, headers={}, body=f"bad token {text} here".encode())
            monkeypatch.setattr(http, "send", lambda *_, answer=answer: answer)
            door = HttpDoor("http://127.0.0.1:9", basic=("ada", secret))
            with pytest.raises(EngineError) as refused:
                door.post("/runs", {})
            assert text not in str(refused.value)


def test_no_command_prints_a_secret(
    planted: Planted, engine: Engine, logged: io.StringIO, capfd: Any
) -> None:
    make_run(make_workflow(format="remote-json"), engine=engine)
    bad = make_engine("remote", config={"url": "http://127.0.0.1:9"}, secrets={"token": SECRET})
    assert bad.secrets == {"token": SECRET}
    out = io.StringIO()
    for name in ("check_engines", "fsck", "check"):
        try:
            call_command(name, stdout=out, stderr=out)
        except (CommandError, SystemExit) as error:
            out.write(str(error))
    captured = capfd.readouterr()
    planted.check(out.getvalue() + captured.out + captured.err + logged.getvalue(), "a command")


def test_secrets_are_in_the_database_encrypted_and_nowhere_else(
    planted: Planted, engine: Engine
) -> None:
    assert SECRET in decrypt(engine.encrypted_secrets)
    for place, text in every_text_of_the_database():
        planted.check(text, place)
    assert AuditEntry.objects.filter(detail__icontains="canary").count() == 0
    assert RunEvent.objects.filter(detail__icontains="canary").count() == 0
    assert hub_settings.SECRET_KEY == KEY


def test_settings_that_are_tested_are_forgotten_with_their_secrets(
    planted: Planted, fake: FakeHttpEngine
) -> None:
    adapter = connect_with("remote", {"url": fake.url, "token": SECRET})
    planted.check(repr(adapter), "repr")
