"""The secrets and variables that a run is sent with: which ones count, and when there are none."""

import json

import pytest
from cryptography.fernet import Fernet
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from engines.base import EngineRejected
from engines.dag.models import Execution
from engines.secrets import decrypt
from runs import actions
from runs.errors import Invalid
from runs.models import RunEvent, Secret, Workflow, WorkflowRun
from runs.named import users_of, uses_of, values_of
from runs.policy import Actor
from runs.reconciler.once import once
from runs.reconciler.specs import unsaid
from runs.states import Cause, Reason, RunState
from tests.engines.dag.driving import make_spec
from tests.factories import make_engine, make_secret, make_variable

pytestmark = pytest.mark.django_db
VALUE = "plain-secret-5e8f"


def post(title="etl", **arguments):
    """A workflow with one step, posted as people do."""
    steps = [{"name": "a", "handler": "python", "with": {"callable": "f", **arguments}}]
    return actions.post_workflow(Actor(), definition={"title": title, "steps": steps})[0]


def secretive(title="etl"):
    return post(title, token="${secrets.token}", stage="${vars.stage}")


@pytest.fixture
def local():
    return make_engine("local")


def sent(run):
    """(secrets, variables) that the built-in engine was sent with a run."""
    row = Execution.objects.get(external_id=WorkflowRun.objects.get(pk=run.pk).external_id)
    return json.loads(decrypt(row.secrets)), row.variables


# Which one counts


def test_a_posted_workflow_keeps_the_names_that_it_refers_to():
    workflow = secretive()
    assert (workflow.secrets, workflow.variables) == (["token"], ["stage"])
    assert (post("plain").secrets, post("plain").variables) == ([], [])


def test_posting_needs_none_of_them_to_be_there():
    assert secretive().version == 1


def test_a_workflows_own_comes_before_the_one_for_all():
    one, other = secretive("one"), secretive("other")
    make_secret(value="for-all-of-them")
    make_secret(value="only-for-one", workflow="one")
    make_secret(value="of-a-third-one", workflow="third")
    make_variable(value="all")
    make_variable(value="other", workflow="other")
    found = values_of([one, other])
    assert found[one.pk].secrets == {"token": "only-for-one"}
    assert found[one.pk].variables == {"stage": "all"}
    assert found[other.pk].secrets == {"token": "for-all-of-them"}
    assert found[other.pk].variables == {"stage": "other"}
    assert not found[one.pk].problems
    assert "only-for-one" not in repr(found)


def test_a_new_version_of_the_title_sees_the_same():
    secretive()
    make_secret(workflow="etl")
    newer = post("etl", token="x-${secrets.token}")
    assert newer.version == 2
    assert values_of([newer])[newer.pk].secrets == {"token": "plain-secret"}


def test_values_of_many_workflows_cost_two_statements_and_of_none_none():
    naming = [secretive(f"w{number}") for number in range(5)]
    make_secret()
    make_variable()
    with CaptureQueriesContext(connection) as asked:
        assert len(values_of(naming)) == 5
    assert len(asked) == 2
    plain = post("plain")
    with CaptureQueriesContext(connection) as asked:
        assert values_of([plain]) == {}
    assert len(asked) == 0


def test_what_a_definition_names_is_told_with_where_it_is_from():
    workflow = secretive()
    make_variable(workflow="")
    own = make_variable(workflow="etl")
    found = {(use.kind, use.name): use.row for use in uses_of(workflow)}
    assert found == {("secret", "token"): None, ("variable", "stage"): own}


def test_the_newest_versions_that_use_a_name_are_found():
    secretive("b")
    secretive("a")
    secretive("old")
    post("old")
    Workflow.objects.filter(title="gone", pk=secretive("gone").pk).update(
        archived_at=timezone.now()
    )
    assert users_of(Workflow.objects.all()) == {
        ("secret", "token"): ["a", "b"],
        ("variable", "stage"): ["a", "b"],
    }


# Starting and sending


def test_a_run_is_sent_with_what_its_definition_names(local):
    workflow = secretive()
    make_secret(value=VALUE)
    make_secret("another", value="another-secret")
    make_variable(value="blue")
    run = actions.start_run(Actor(), workflow)
    once()
    assert sent(run) == ({"token": VALUE}, {"stage": "blue"})


def test_a_new_value_counts_from_the_next_run_on(local):
    workflow = post("etl", token="${secrets.token}")
    make_secret(value=VALUE)
    first = actions.start_run(Actor(), workflow)
    actions.set_secret(Actor(), name="token", value="another-value")
    once()
    assert sent(first)[0] == {"token": "another-value"}, "not sent before it changed"
    actions.set_secret(Actor(), name="token", value="a-third-value")
    second = actions.start_run(Actor(), workflow)
    once()
    assert sent(first)[0] == {"token": "another-value"}
    assert sent(second)[0] == {"token": "a-third-value"}


def test_a_run_without_its_values_is_refused_and_they_are_named():
    workflow = secretive()
    with pytest.raises(Invalid) as refused:
        actions.start_run(Actor(), workflow)
    assert set(refused.value.errors) == {"secrets.token", "variables.stage"}
    said = refused.value.errors["secrets.token"]
    assert said == (
        "There is no secret token for etl. Add it under Secrets and variables, for this workflow or "
        "for all."
    )
    assert not WorkflowRun.objects.exists()


def test_a_held_run_needs_them_when_it_is_started():
    run = actions.start_run(Actor(), secretive(), hold=True)
    make_variable()
    with pytest.raises(Invalid, match=r"secrets\.token"):
        actions.start_held_run(Actor(), run)
    make_secret()
    assert actions.start_held_run(Actor(), run).reason == ""


def test_the_same_uuid_again_is_the_same_run_whatever_became_of_the_secret():
    workflow = post("etl", token="${secrets.token}")
    make_secret()
    run = actions.start_run(Actor(), workflow)
    Secret.objects.all().delete()
    assert actions.start_run(Actor(), workflow, uuid=run.uuid) == run


def ended(run):
    run.refresh_from_db()
    return run.state, run.reason, run.error


def test_a_secret_that_vanished_before_the_run_was_sent_fails_it(local):
    make_secret()
    run = actions.start_run(Actor(), post("etl", token="${secrets.token}"))
    plain = actions.start_run(Actor(), post("plain"))
    Secret.objects.all().delete()
    once()
    state, reason, error = ended(run)
    assert (state, reason) == (RunState.FAILED, Reason.REJECTED)
    assert error.startswith("There is no secret token for etl.")
    event = RunEvent.objects.get(run=run, cause=Cause.REJECT)
    assert event.actor_kind == RunEvent.ActorKind.RECONCILER
    assert not Execution.objects.filter(external_id=run.external_id).exists()
    assert Execution.objects.filter(external_id=plain.external_id).exists()


def test_a_secret_that_no_key_reads_is_refused_and_fails_what_waits(local, settings):
    make_secret()
    workflow = post("etl", token="${secrets.token}")
    run = actions.start_run(Actor(), workflow)
    settings.WORKFLOWHUB_SECRET_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(Invalid, match="The secret token can't be read.*WORKFLOWHUB_SECRET_KEYS"):
        actions.start_run(Actor(), workflow)
    once()
    state, reason, error = ended(run)
    assert (state, reason) == (RunState.FAILED, Reason.REJECTED)
    assert "The secret token can't be read" in error


def test_a_retry_needs_them_too(local):
    make_secret()
    run = actions.start_run(Actor(), post("etl", token="${secrets.token}"))
    Secret.objects.all().delete()
    once()
    run.refresh_from_db()
    with pytest.raises(Invalid, match=r"secrets\.token"):
        actions.restart_run(Actor(), run)
    make_secret(value="given-again")
    actions.restart_run(Actor(), run)
    once()
    assert sent(run)[0] == {"token": "given-again"}


def test_runs_that_are_sent_together_ask_once_for_all(local):
    make_secret()
    make_variable()
    for number in range(3):
        actions.start_run(Actor(), secretive(f"w{number}"))
    with CaptureQueriesContext(connection) as asked:
        once()
    tables = [query["sql"] for query in asked.captured_queries]
    assert sum('FROM "runs_secret"' in sql for sql in tables) == 1
    assert sum('FROM "runs_variable"' in sql for sql in tables) == 1
    assert Execution.objects.count() == 3


def test_runs_that_name_none_ask_for_none(local):
    actions.start_run(Actor(), post("plain"))
    with CaptureQueriesContext(connection) as asked:
        once()
    assert not any("runs_secret" in query["sql"] for query in asked.captured_queries)


def test_what_an_engine_says_of_a_run_holds_none_of_its_secrets():
    spec = make_spec({}, secrets={"token": VALUE})
    with pytest.raises(EngineRejected) as refused, unsaid(spec):
        raise EngineRejected(f"bad token {VALUE}, sorry")
    assert str(refused.value) == "bad token ••••••, sorry"
    with pytest.raises(KeyError, match="x"), unsaid(make_spec({})):
        raise KeyError("x")
