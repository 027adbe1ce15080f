"""`${secrets.…}` and `${vars.…}`: where they may stand, what a step gets, what people see of it."""

import json
from dataclasses import replace

import pytest
from cryptography.fernet import Fernet
from django.db import connection
from django.test.utils import CaptureQueriesContext

from engines.base import RetrySpec
from engines.dag.confidential import seal
from engines.dag.formats import read
from engines.dag.models import Execution, Step
from engines.dag.templating import Scope, TemplateError, render
from engines.masking import MASK
from engines.secrets import decrypt
from engines.states import RunState, TaskState
from tests.engines.dag.driving import (
    Hand,
    execution,
    make_adapter,
    make_spec,
    python,
    step,
    step_row,
    submit,
    workflow,
)

SECRET = "plain-secret-5e8f"
TOKEN = python("a", "noop", arguments={"auth": "Bearer ${secrets.token}", "n": 1})


def read_steps(*steps, **more):
    return read(json.dumps(workflow(*steps, **more)), "workflowhub")


def problems(*steps, **more):
    return [problem.message for problem in read_steps(*steps, **more).problems]


# Where they may stand


def test_a_definition_says_which_it_names():
    hook = {"handler": "http", "with": {"url": "https://x/", "body": "${secrets.hook}"}}
    found = read_steps(
        python("a", "f", arguments={"deep": [{"t": "x-${secrets.a-1}-${secrets.b}"}]}),
        python("b", "f", when='${vars.mode} == "full"', arguments={"x": "${vars.a}"}),
        step("c", on_failure=hook, for_each=["${vars.item}"]),
        outputs={"x": "${vars.out}"},
        on_success=hook,
    )
    assert found.problems == ()
    assert found.secrets == {"a-1", "b", "hook"}
    assert found.variables == {"mode", "a", "item", "out"}


def test_a_definition_without_any_names_none():
    found = read_steps(
        step("a", **{"with": {"x": "$${secrets.a} ${params.k}"}}), parameters={"k": {}}
    )
    assert (found.secrets, found.variables) == (frozenset(), frozenset())


@pytest.mark.parametrize(
    "more",
    [
        {"when": '${secrets.a} == "x"'},
        {"for_each": "${secrets.a}"},
        {"for_each": ["x", {"y": "${secrets.a}"}]},
        {"repeat": {"until": '${secrets.a} == "x"', "max": 3}},
    ],
)
def test_a_secret_stands_only_among_arguments(more):
    [message] = problems(step("a", **more))
    assert "${secrets.a}: a secret can stand only among the arguments" in message


def test_the_runs_outputs_hold_no_secret():
    [message] = problems(step("a"), outputs={"x": ["${secrets.a}"]})
    assert "a secret can stand only among the arguments" in message


@pytest.mark.parametrize("name", ["${secrets.a}", "x.${secrets.a}"])
def test_no_secret_decides_which_function_is_called(name):
    [message] = problems(python("a", name))
    assert '"callable" can\'t hold a reference' in message


def test_a_secret_is_not_given_to_another_run():
    arguments = {"workflow": "other", "parameters": {"token": "${secrets.a}"}}
    [message] = problems(step("a", handler="workflow", **{"with": arguments}))
    assert "Name the secret in the workflow that uses it" in message


@pytest.mark.parametrize(
    ("handler", "arguments", "text"),
    [
        ("output", {"x": "${secrets.a}"}, "a secret is masked in it"),
        ("shell", {"argv": ["curl", "${secrets.a}"]}, "Put it into env"),
        ("http", {"url": "https://x/?t=${secrets.a}"}, "Use a header"),
        (
            "http",
            {"url": "${params.url}", "headers": {"A": "${secrets.a}"}},
            "whoever decides the address is sent the secret",
        ),
    ],
)
def test_a_doubtful_use_is_told(handler, arguments, text):
    found = read_steps(
        step("a", handler=handler, **{"with": arguments}), parameters={"url": {"type": "string"}}
    )
    assert found.problems == ()
    [warning] = found.warnings
    assert text in warning.message


@pytest.mark.parametrize(
    ("arguments", "handler"),
    [
        ({"argv": ["env"], "env": {"T": "${secrets.a}"}}, "shell"),
        ({"url": "https://${vars.host}/", "headers": {"A": "${secrets.a}"}}, "http"),
    ],
)
def test_a_use_as_it_should_be_is_not(arguments, handler):
    assert read_steps(step("a", handler=handler, **{"with": arguments})).warnings == ()


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ("${secrets}", "needs a name of letters"),
        ("${vars}", "needs a name of letters"),
        ('${vars["a b"]}', "needs a name of letters"),
        (f"${{secrets.{'x' * 101}}}", "100 at most"),
        ("${secrets.a.b}", "has no parts"),
        ("${vars.a[0]}", "has no parts"),
        ("${secrets[0]}", "needs a name"),
    ],
)
def test_what_is_no_name_is_refused(reference, text):
    [message] = problems(step("a", **{"with": {"x": reference}}))
    assert text in message


def test_other_formats_have_them_too():
    old = {
        "workflow_name": "n",
        "base_context": {"token": "context"},
        "steps": [
            {
                "step_name": "a",
                "app": "A",
                "params": {"t": "${token}", "s": "${secrets.token}", "v": "${vars.stage}"},
            }
        ],
    }
    found = read(json.dumps(old), "bvbrc")
    assert (found.problems, found.secrets, found.variables) == ((), {"token"}, {"stage"})
    old["steps"][0]["outputs"] = {"o": "${params.s}"}
    [problem] = read(json.dumps(old), "bvbrc").problems
    assert "a secret can stand only among" in problem.message
    config = {"url": "https://x/", "headers": {"A": "{{ secrets.token }}"}, "body": "{{ vars.v }}"}
    nodes = {"name": "n", "dag": {"nodes": [{"id": "a", "handler": "http", "config": config}]}}
    found = read(json.dumps(nodes), "orchestrator")
    assert (found.problems, found.secrets, found.variables) == ((), {"token"}, {"v"})


def test_a_template_gives_the_text():
    scope = Scope(secrets={"a": "s"}, variables={"a": "v", "list": "[1]"})
    assert render(["${secrets.a}", "x${vars.a}x", "${vars.list}"], scope) == ["s", "xvx", "[1]"]
    assert "'s'" not in repr(scope)
    with pytest.raises(TemplateError, match="sent without a secret of that name"):
        render("${secrets.b}", scope)
    with pytest.raises(TemplateError, match="sent without a variable of that name"):
        render("${vars.b}", scope)


# What an execution does with them


@pytest.mark.django_db
def test_a_step_gets_the_value_and_people_see_the_mask():
    _, run = submit(TOKEN, secrets={"token": SECRET})
    taken = Hand().take()
    assert taken.inputs == {"callable": "noop", "auth": f"Bearer {SECRET}", "n": 1}
    assert taken.secrets == (SECRET,)
    assert step_row(run, "a").inputs == {"callable": "noop", "auth": f"Bearer {MASK}", "n": 1}
    assert SECRET not in repr(taken)


@pytest.mark.django_db
def test_what_is_kept_is_encrypted():
    spec = make_spec(workflow(TOKEN), secrets={"token": SECRET})
    assert SECRET not in repr(spec)
    make_adapter().submit(spec)
    kept = Execution.objects.values().get()
    assert SECRET not in str(kept)
    assert json.loads(decrypt(kept["secrets"])) == {"token": SECRET}


@pytest.mark.django_db
def test_variables_are_seen_wherever_a_parameter_is():
    adapter, run = submit(
        step("a", when='${vars.mode} == "full"', **{"with": {"x": "${vars.mode}"}}),
        step("b", for_each=["${vars.mode}", "y"], **{"with": {"x": "${item}-${vars.mode}"}}),
        step("c", when='${vars.mode} != "full"'),
        outputs={"all": ["${steps.a.result.x}", "${steps.b.result}", "${vars.mode}"]},
        variables={"mode": "full"},
    )
    Hand().run_all()
    assert adapter.find(run).result == {
        "all": ["full", [{"x": "full-full"}, {"x": "y-full"}], "full"]
    }
    assert step_row(run, "c").state == TaskState.SKIPPED


@pytest.mark.django_db
def test_each_item_and_each_hook_gets_its_secret():
    hook = {"handler": "python", "with": {"callable": "f", "token": "${secrets.hook}"}}
    _, run = submit(
        step("a", for_each=[1, 2], **{"with": {"t": "${item}${secrets.token}"}}),
        on_success=hook,
        secrets={"token": SECRET, "hook": "of-the-hook-77"},
    )
    hand = Hand()
    first = hand.take()
    second = hand.end(first)
    assert [first.inputs["t"], second.inputs["t"]] == [f"1{SECRET}", f"2{SECRET}"]
    last = hand.end(second)
    assert execution(run).state == RunState.COMPLETED
    assert last.inputs["token"] == "of-the-hook-77"
    assert last.secrets == ("of-the-hook-77",)
    assert execution(run).secrets, "the hook may need another try"
    hand.end(last)
    assert execution(run).secrets == ""
    assert step_row(run, "on_success").inputs["token"] == MASK


@pytest.mark.django_db
@pytest.mark.parametrize("state", [TaskState.COMPLETED, TaskState.FAILED])
def test_secrets_are_forgotten_with_the_end(state):
    _, run = submit(TOKEN, python("b", "noop", "a"), secrets={"token": SECRET})
    hand = Hand()
    second = hand.end(hand.take(), state)
    if second is not None:
        assert execution(run).secrets
        hand.end(second)
    assert execution(run).state in {RunState.COMPLETED, RunState.FAILED}
    assert execution(run).secrets == ""


@pytest.mark.django_db
def test_secrets_are_forgotten_when_a_run_is_cancelled():
    adapter, run = submit(TOKEN, python("b", "noop"), secrets={"token": SECRET})
    hand = Hand()
    taken = hand.take()
    adapter.cancel(run)
    assert execution(run).secrets, "a step still runs"
    hand.end(taken, TaskState.CANCELED, reason="canceled", stopped=True)
    assert execution(run).state == RunState.CANCELED
    assert execution(run).secrets == ""


@pytest.mark.django_db
def test_a_retry_is_sent_with_the_values_of_its_own_time():
    adapter = make_adapter()
    spec = make_spec(workflow(TOKEN), secrets={"token": SECRET})
    adapter.submit(spec)
    hand = Hand()
    hand.end(hand.take(), TaskState.FAILED)
    again = make_spec(workflow(TOKEN), uuid=spec.uuid, attempt=2, secrets={"token": "newer-value"})
    adapter.retry(again, RetrySpec(previous_external_id=spec.external_id, tasks=(("a", -1),)))
    assert hand.take().inputs["auth"] == "Bearer newer-value"


@pytest.mark.django_db
def test_a_second_try_gets_it_again():
    _, run = submit(replace_retry(TOKEN), secrets={"token": SECRET})
    hand = Hand()
    again = hand.end(hand.take(), TaskState.FAILED)
    Step.objects.filter(execution__external_id=run).update(ready_at="2020-01-01T00:00Z")
    again = again or hand.take()
    assert again.inputs["auth"] == f"Bearer {SECRET}"


def replace_retry(step):
    return {**step, "retry": {"limit": 1, "delay": 0}}


@pytest.mark.django_db
def test_a_key_that_was_lost_fails_the_step_and_says_so(settings):
    _, run = submit(TOKEN, secrets={"token": SECRET})
    settings.WORKFLOWHUB_SECRET_KEYS = [Fernet.generate_key().decode()]
    assert Hand().take() is None
    row = step_row(run, "a")
    assert row.state == TaskState.FAILED
    assert "WORKFLOWHUB_SECRET_KEYS" in row.error
    assert execution(run).secrets == ""


@pytest.mark.django_db
def test_a_run_that_was_sent_without_one_fails_and_names_it():
    _, run = submit(TOKEN)
    assert Hand().take() is None
    assert "${secrets.token}: the run was sent without a secret" in step_row(run, "a").error


@pytest.mark.django_db
def test_a_step_without_secrets_costs_no_further_statement():
    def statements(*steps, **more):
        submit(*steps, **more)
        hand = Hand()
        with CaptureQueriesContext(
            connection,
        ) as asked:
            assert hand.take() is not None
        return len(asked)

    plain = python("a", "noop", arguments={"auth": "x"})
    without = statements(plain)
    assert statements(plain, step("b", "a", **{"with": {"t": "${secrets.token}"}})) == without
    assert statements(TOKEN, secrets={"token": SECRET}) == without + 1


def test_nothing_is_sealed_as_nothing():
    assert seal({}) == ""


def test_the_run_as_it_is_sent_shows_no_secret():
    spec = make_spec(workflow(step("a")), secrets={"token": SECRET}, variables={"v": "x"})
    assert SECRET not in repr(replace(spec, attempt=2))
