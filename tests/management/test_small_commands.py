"""`manage.py create_token` and `check_engines`."""

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from engines.clock import database_now
from engines.models import Engine
from runs.models.access import ApiToken, Role
from tests.factories import make_engine, make_user

pytestmark = pytest.mark.django_db


def test_a_token_is_printed_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    user = make_user(Role.OPERATOR, username="ada")
    call_command("create_token", "ada", "--role", "viewer", "--name", "a script")
    printed = capsys.readouterr().out
    token = ApiToken.objects.get()
    assert printed == printed.strip() + "\n"
    assert token.digest == ApiToken.digest_of(printed.strip())
    assert (token.user, token.role, token.name) == (user, Role.VIEWER, "a script")
    assert token.expires_at is None


def test_a_token_may_end_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    make_user(Role.OPERATOR, username="ada")
    call_command("create_token", "ada", "--days", "7")
    left = ApiToken.objects.get().expires_at - database_now()
    assert timedelta(days=6.9) < left <= timedelta(days=7)


def test_a_token_never_allows_more_than_its_user() -> None:
    make_user(Role.VIEWER, username="ada")
    with pytest.raises(CommandError):
        call_command("create_token", "ada", "--role", "administrator")
    assert not ApiToken.objects.exists()


def test_a_token_for_nobody_is_refused() -> None:
    with pytest.raises(CommandError, match="There is no user ada"):
        call_command("create_token", "ada")


def test_engines_are_asked_and_the_worst_decides(capsys: pytest.CaptureFixture[str]) -> None:
    make_engine(name="built-in")
    make_engine(name="off", enabled=False)
    broken = make_engine(name="broken")
    Engine.objects.filter(pk=broken.pk).update(kind="gone")
    with pytest.raises(CommandError, match=r"Not well: .*broken"):
        call_command("check_engines")
    said = capsys.readouterr().out
    assert "built-in (local): " in said
    assert "broken (gone): No engine kind is called 'gone'." in said
    assert "off (" not in said


def test_an_unknown_engine_is_said() -> None:
    with pytest.raises(CommandError, match="There is no engine nowhere"):
        call_command("check_engines", "nowhere")
