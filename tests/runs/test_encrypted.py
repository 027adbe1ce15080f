"""Whatever is encrypted: found when no key reads it, and put under the first key."""

import pytest
from cryptography.fernet import Fernet, InvalidToken
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from engines.dag.confidential import seal
from engines.dag.models import Document, Execution, Step
from engines.models import Engine, EngineJob
from engines.secrets import decrypt, encrypt
from engines.states import RunState, TaskState
from runs import encrypted, fsck
from runs.models import IdempotencyKey, Secret
from tests.factories import make_engine, make_secret, make_user

pytestmark = pytest.mark.django_db
OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))


def make_execution(**kw):
    document, _ = Document.objects.get_or_create(digest="d", format="workflowhub", text="")
    kw.setdefault("external_id", "wh-1-1")
    kw.setdefault("secrets", seal({"token": "plain-secret"}))
    return Execution.objects.create(
        engine=make_engine(), document=document, run_uuid="1", title="t", max_parallel=1,
        created_at=timezone.now(), **kw,
    )  # fmt: skip


def everything():
    """One of each place; the encrypted text of each."""
    engine = make_engine(secrets={"token": "of-the-engine"})
    job = EngineJob.objects.create(engine=engine, kind="local", action="test")
    EngineJob.objects.filter(pk=job.pk).update(encrypted_secrets=encrypt("of-the-job"))
    secret = make_secret()
    execution = make_execution()
    answer = IdempotencyKey.objects.create(
        user=make_user(), key="k", request_digest="d", body={"encrypted": encrypt("answer")}
    )
    IdempotencyKey.objects.create(user=answer.user, key="l", request_digest="d", body={"id": 3})
    return lambda: [
        Engine.objects.get(pk=engine.pk).encrypted_secrets,
        EngineJob.objects.get(pk=job.pk).encrypted_secrets,
        Secret.objects.get(pk=secret.pk).encrypted,
        Execution.objects.get(pk=execution.pk).secrets,
        IdempotencyKey.objects.get(pk=answer.pk).body["encrypted"],
    ]


def test_every_column_that_is_encrypted_is_known():
    columns = {(place.rows().model.__name__, place.column) for place in encrypted.PLACES}
    assert columns == {
        ("Engine", "encrypted_secrets"),
        ("EngineJob", "encrypted_secrets"),
        ("Secret", "encrypted"),
        ("Execution", "secrets"),
        ("IdempotencyKey", "body"),
    }


def test_rotation_puts_everything_under_the_first_key(settings, capsys):
    settings.WORKFLOWHUB_SECRET_KEYS = [OLD]
    tokens = everything()
    plain = [decrypt(token) for token in tokens()]
    settings.WORKFLOWHUB_SECRET_KEYS = [NEW, OLD]
    call_command("rotate_secrets")
    assert capsys.readouterr().out == "5 encrypted values are under the first key now.\n"
    with pytest.raises(InvalidToken):
        Fernet(OLD).decrypt(tokens()[0])
    settings.WORKFLOWHUB_SECRET_KEYS = [NEW]
    assert [decrypt(token) for token in tokens()] == plain
    assert not any(broken.check.code == "I10b" for broken in fsck.run_checks())


def test_what_no_key_reads_is_named_and_the_rest_is_rotated(settings, capsys):
    settings.WORKFLOWHUB_SECRET_KEYS = [Fernet.generate_key().decode()]
    make_secret("lost", workflow="etl")
    settings.WORKFLOWHUB_SECRET_KEYS = [OLD]
    kept = make_secret("kept")
    settings.WORKFLOWHUB_SECRET_KEYS = [NEW, OLD]
    with pytest.raises(CommandError, match="old key behind the new one"):
        call_command("rotate_secrets")
    said = capsys.readouterr()
    assert said.err == "None of the keys reads the secret etl/lost.\n"
    assert Fernet(NEW).decrypt(Secret.objects.get(pk=kept.pk).encrypted) == b"plain-secret"


def test_a_value_that_is_set_while_all_are_rotated_stays(settings, monkeypatch):
    settings.WORKFLOWHUB_SECRET_KEYS = [NEW, OLD]
    secret = make_secret()

    def rotate(token):
        Secret.objects.filter(pk=secret.pk).update(encrypted=encrypt("a newer value"))
        return encrypt(decrypt(token))

    monkeypatch.setattr(encrypted, "rotate", rotate)
    assert encrypted.rotate_all().turned == 0
    assert decrypt(Secret.objects.get().encrypted) == "a newer value"


def test_pages_of_rows_are_all_seen(monkeypatch):
    monkeypatch.setattr(encrypted, "BATCH", 2)
    for number in range(5):
        make_secret(f"s{number}")
    assert encrypted.rotate_all().turned == 5


def test_fsck_finds_what_no_key_reads(settings):
    settings.WORKFLOWHUB_SECRET_KEYS = [OLD]
    everything()
    assert list(encrypted.unreadable()) == []
    settings.WORKFLOWHUB_SECRET_KEYS = [NEW]
    broken = {one.check.code: one for one in fsck.run_checks()}["I10b"]
    assert broken.number == 5
    assert "the secret token" in broken.examples
    assert "the secrets of the execution wh-1-1" in broken.examples


def test_fsck_finds_and_deletes_secrets_that_nothing_can_use():
    over = make_execution(state=RunState.COMPLETED)
    hooked = make_execution(state=RunState.FAILED, external_id="wh-2-1")
    Step.objects.create(
        execution=hooked, name="on_failure", position=1, kind="hook", state=TaskState.SCHEDULED
    )
    running = make_execution(state=RunState.RUNNING, external_id="wh-3-1")
    [broken] = fsck.run_checks(fix=True, codes=["I10c"])
    assert (broken.number, broken.mended) == (1, 1)
    assert broken.examples == ("the execution wh-1-1 has ended and still keeps its secrets",)
    assert Execution.objects.get(pk=over.pk).secrets == ""
    assert all(Execution.objects.get(pk=row.pk).secrets for row in (hooked, running))
    assert list(fsck.run_checks(codes=["I10c"])) == []
