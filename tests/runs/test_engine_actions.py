"""Registering engines: validation, secrets that stay secret, jobs asked once."""

import pytest
from cryptography.fernet import Fernet

from engines.models import Engine, EngineJob
from engines.states import HealthState
from runs import actions
from runs.errors import Conflict, Denied, Invalid, Stale
from runs.models import AuditEntry
from tests.factories import make_actor, make_engine, make_run

pytestmark = pytest.mark.django_db

REMOTE = {"url": "http://127.0.0.1:9", "token": "s3cr3t-value"}


def remote(**kw):
    return actions.create_engine(
        make_actor(), name=kw.pop("name", "prod"), kind="remote", config=REMOTE, **kw
    )


def test_a_new_engine_keeps_its_secret_encrypted_and_asks_for_a_test():
    engine = Engine.objects.get(pk=remote(selector="tier=gold", priority=5).pk)
    assert engine.secrets == {"token": "s3cr3t-value"}
    assert "token" not in engine.config
    assert "s3cr3t" not in engine.encrypted_secrets
    assert EngineJob.objects.get(engine=engine).action == EngineJob.Action.TEST
    assert "s3cr3t" not in str(AuditEntry.objects.values())


def test_an_edit_leaves_what_others_wrote_since_the_engine_was_read():
    read = remote()
    actions.edit_engine(make_actor(), Engine.objects.get(pk=read.pk), priority=5)
    Engine.objects.filter(pk=read.pk).update(health=HealthState.HEALTHY)
    actions.edit_engine(make_actor(), read, selector="tier=gold")
    kept = Engine.objects.get(pk=read.pk)
    assert (kept.priority, kept.selector, kept.health) == (5, "tier=gold", HealthState.HEALTHY)
    assert kept.version == 3


def test_only_administrators_manage_engines():
    with pytest.raises(Denied):
        actions.create_engine(make_actor("editor"), name="x", kind="local")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "Not A Name"}, "name"),
        ({"kind": "nonsense"}, "kind"),
        ({"config": {"url": "ftp://x"}}, "config.url"),
        ({"config": {}}, "config.url"),
        ({"config": {**REMOTE, "colour": "red"}}, "config.colour"),
        ({"selector": "a=="}, None),
        ({"selector": "(("}, "selector"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_wrong_settings_are_named_and_nothing_is_saved(change, field):
    values = {"name": "prod", "kind": "remote", "config": REMOTE, **change}
    if field is None:
        actions.create_engine(make_actor(), **values)
        return
    with pytest.raises(Invalid) as caught:
        actions.create_engine(make_actor(), **values)
    assert field in caught.value.errors
    assert not Engine.objects.exists()


def test_a_name_is_taken_once():
    remote()
    with pytest.raises(Invalid) as caught:
        remote()
    assert "name" in caught.value.errors


def test_an_edit_keeps_the_secret_that_is_left_out_and_removes_it_on_none():
    engine = remote()
    engine = actions.edit_engine(make_actor(), engine, config={"url": "http://127.0.0.1:10"})
    assert engine.secrets == {"token": "s3cr3t-value"}
    engine = actions.edit_engine(
        make_actor(), engine, config={"url": "http://127.0.0.1:10", "token": None}
    )
    assert engine.secrets == {}


def test_an_edit_of_an_older_version_is_stale():
    engine = remote()
    actions.edit_engine(make_actor(), engine, enabled=False, expected_version=1)
    with pytest.raises(Stale):
        actions.edit_engine(make_actor(), engine, enabled=True, expected_version=1)


def test_the_same_job_asked_twice_waits_once():
    engine = make_engine()
    first = actions.request_engine_job(make_actor("operator"), engine, EngineJob.Action.SYNC)
    second = actions.request_engine_job(make_actor("operator"), engine, EngineJob.Action.SYNC)
    assert first == second


def test_settings_are_tested_before_they_are_saved():
    job = actions.request_engine_test(make_actor(), kind="remote", config=REMOTE)
    assert job.engine is None and "s3cr3t" not in str(job.config)


def test_an_engine_with_history_is_not_deleted():
    engine = make_engine()
    make_run(engine=engine)
    with pytest.raises(Conflict, match="Disable"):
        actions.delete_engine(make_actor(), engine)
    spare = make_engine()
    actions.delete_engine(make_actor(), spare)
    assert list(Engine.objects.all()) == [engine]


def test_a_secret_whose_key_is_gone_is_entered_again(settings):
    engine = remote()
    settings.WORKFLOWHUB_SECRET_KEYS = [Fernet.generate_key().decode()]
    engine = Engine.objects.get(pk=engine.pk)
    assert engine.kept_secrets == {}
    engine = actions.edit_engine(make_actor(), engine, config={**REMOTE, "token": "new-value"})
    assert Engine.objects.get(pk=engine.pk).secrets == {"token": "new-value"}
