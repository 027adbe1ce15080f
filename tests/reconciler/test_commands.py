"""sync, check_engines and create_token from the command line; operators' jobs; the archive."""

from io import StringIO

import pytest
from django.core.files.storage import storages
from django.core.management import CommandError, call_command

from engines.models import Engine, EngineJob
from runs import actions, leases, logs
from runs.models import ApiToken, TaskTry
from runs.reconciler.once import lease_name
from runs.states import RunState
from tests.factories import make_engine, make_user


def said(*words):
    out = StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


def test_sync_of_one_run_leaves_the_others_alone(hub):
    one, other = hub.start(), hub.start()
    said("sync", "--run", str(one.pk))
    assert hub.seen(one).state == RunState.SCHEDULED
    assert hub.seen(other).state == RunState.PENDING


def test_sync_of_one_engine_leaves_the_others_alone(make_hub):
    one, other = make_hub(), make_hub()
    runs = one.start(), other.start()
    assert one.engine.name in said("sync", "--engine", one.engine.name)
    assert [one.seen(run).state for run in runs] == [RunState.SCHEDULED, RunState.PENDING]


def test_sync_says_what_another_process_looks_after(hub, settings):
    import uuid

    leases.acquire(lease_name(hub.engine.pk), uuid.uuid4(), settings.WORKFLOWHUB_LEASE)
    assert f"another process: {hub.engine.name}" in said("sync")


@pytest.mark.parametrize(
    "words", [["--engine", "nope"], ["--run", "999999"], ["--watch", "--run", "1"]]
)
@pytest.mark.django_db
def test_sync_refuses_nonsense(words):
    with pytest.raises(CommandError):
        call_command("sync", *words)


def test_check_engines_names_the_one_that_is_not_well(make_hub):
    good, bad = make_hub(), make_hub()
    bad.fake.down = True
    out = StringIO()
    with pytest.raises(CommandError, match=f"Not well: {bad.engine.name}"):
        call_command("check_engines", stdout=out)
    assert f"{good.engine.name} (remote): well, version" in out.getvalue()
    assert "well" in said("check_engines", good.engine.name)


@pytest.mark.django_db
def test_create_token_prints_the_token_and_nothing_else():
    user = make_user("editor", username="ada")
    plain = said("create_token", "ada", "--role", "viewer").strip()
    token = ApiToken.objects.get(digest=ApiToken.digest_of(plain))
    assert (token.user, token.role) == (user, "viewer")
    with pytest.raises(CommandError, match="no user bob"):
        call_command("create_token", "bob")
    with pytest.raises(CommandError, match="At most"):
        call_command("create_token", "ada", "--role", "administrator")


def test_a_test_of_the_connection_is_answered_even_while_the_breaker_is_open(hub):
    Engine.objects.update(failures=9, breaker_until="2100-01-01T00:00Z")
    job = actions.request_engine_job(hub.actor, hub.engine, EngineJob.Action.TEST)
    hub.sync()
    job.refresh_from_db()
    assert job.state == EngineJob.State.DONE and job.result["version"]
    engine = Engine.objects.get()
    assert (engine.health, engine.breaker_until) == ("healthy", None)


def test_a_test_that_fails_says_why(hub):
    hub.fake.token = "other"
    job = actions.request_engine_job(hub.actor, hub.engine, EngineJob.Action.TEST)
    hub.sync()
    job.refresh_from_db()
    assert job.state == EngineJob.State.FAILED and "401" in job.message


def test_settings_that_are_not_saved_are_tested_and_their_secrets_forgotten(hub):
    job = actions.request_engine_test(
        hub.actor, kind="remote", config={"url": hub.fake.url, "token": "hush-hush"}
    )
    assert job.encrypted_secrets
    hub.sync()
    job.refresh_from_db()
    assert job.state == EngineJob.State.DONE and job.encrypted_secrets == ""


def test_sync_now_looks_at_everything(hub, settings):
    run = hub.start()
    hub.sync()
    hub.fake.engine.finish()
    job = actions.request_engine_job(hub.actor, hub.engine, EngineJob.Action.SYNC)
    hub.sync()
    job.refresh_from_db()
    assert job.state == EngineJob.State.DONE
    assert hub.seen(run).state == RunState.COMPLETED


def test_what_an_engine_cannot_import_is_told(hub):
    job = EngineJob.objects.create(
        engine=hub.engine, kind="remote", action=EngineJob.Action.IMPORT_RUNS
    )
    hub.sync()
    job.refresh_from_db()
    assert job.state == EngineJob.State.FAILED and "no workflows of their own" in job.message


def test_logs_of_ended_tries_outlive_their_engine(hub):
    run = hub.run_to_end(hub.start())
    hub.sync()
    rows = TaskTry.objects.filter(task_run__run=run).select_related("task_run__run__engine")
    assert all(row.log_complete and storages["logs"].exists(row.log) for row in rows)
    hub.fake.down = True
    chunk = logs.read(rows[0])
    assert chunk.complete and "starts, try 1" in chunk.lines[0].text
    assert chunk.lines[0].time is not None
    assert {line.stream for line in chunk.lines} == {"stdout", "stderr"}
    asked = hub.fake.requests.total()
    hub.fake.down = False
    hub.sync()
    assert not any("log" in name for name in list(hub.fake.requests)[asked:])


def test_an_engine_that_gives_no_logs_is_not_asked_for_them(hub):
    Engine.objects.update(capabilities={"live_logs": "It keeps none."})
    run = hub.start()
    hub.sync()
    Engine.objects.update(capabilities={"live_logs": "It keeps none."})
    from tests.adapters.remote.adapter import Adapter

    kept = Adapter.capabilities
    try:
        Adapter.capabilities = {**kept, "live_logs": "It keeps none."}
        hub.run_to_end(run)
        hub.sync()
    finally:
        Adapter.capabilities = kept
    assert not any("log" in name for name in hub.fake.requests)


@pytest.mark.django_db
def test_an_engine_of_a_kind_that_is_gone_stops_no_other():
    make_engine("remote", config={"url": "http://127.0.0.1:1"})
    Engine.objects.update(kind="gone")
    said("sync")
    assert "gone" in Engine.objects.get().health_message
