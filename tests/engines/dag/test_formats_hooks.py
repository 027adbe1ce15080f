"""Hooks in a document: what is read, and what is refused with a sentence that helps."""

import json

import pytest
from django.conf import settings
from jsonschema import Draft202012Validator

from engines.dag.formats import parse, read
from engines.dag.formats.document import load
from engines.dag.formats.hooks import HOOK_KEYS
from engines.dag.graph import Retry, hooks_of

SCHEMA = json.loads((settings.BASE_DIR / "static/schema/workflowhub.schema.json").read_text())
FULL = """\
parameters: {url: {type: string}}
steps:
  - name: a
    handler: input
    with: {n: 1}
    on_success: {handler: output, with: {n: "${ended.result.n}", own: "${steps.a.result}"}}
    on_failure:
      handler: http
      display_name: Tell somebody
      with: {url: "${params.url}", body: {error: "${ended.error}", b: "${steps.b.result}"}}
      retry: {limit: 2, delay: 1}
      timeout: 5m
  - {name: b, handler: input, needs: a}
on_success: {handler: shell, with: {argv: [echo, "${ended.name}"]}}
on_failure: {handler: python, with: {callable: tell, state: "${ended.state}", run: "${run.id}"}}
"""


def graph_of(text):
    parsed = parse(text, "workflowhub")
    assert parsed.problems == ()
    return parsed.graph


def message_of(text):
    parsed = parse(text, "workflowhub")
    assert parsed.graph is None
    (problem,) = parsed.problems
    return problem.message


def of_step(hook):
    return f"steps: [{{name: a, handler: input, on_failure: {hook}}}]"


def of_run(hook):
    return f"{{steps: [{{name: a, handler: input}}], on_failure: {hook}}}"


def test_hooks_reach_the_graph_under_their_names():
    graph = graph_of(FULL)
    assert list(hooks_of(graph)) == ["a.on_success", "a.on_failure", "on_success", "on_failure"]
    hook = graph.steps[0].on_failure
    assert (hook.handler, hook.timeout, hook.line) == ("http", 300, 7)
    assert hook.display_name == "Tell somebody"
    assert hook.retry == Retry(limit=2, delay=1, factor=2, most=300)
    assert hook.config["url"] == "${params.url}"


def test_a_reference_of_a_hook_is_no_need():
    graph = graph_of(FULL)
    assert [step.needs for step in graph.steps] == [(), ("a",)]
    assert all(hook.needs == () for hook in hooks_of(graph).values())


def test_the_tasks_of_a_workflow_dont_list_hooks_but_their_handlers_count_for_permissions():
    definition = read(FULL, "workflowhub")
    assert [task.name for task in definition.tasks] == ["a", "b"]
    assert definition.permissions == {"post_shell"}


@pytest.mark.parametrize("place", [of_step, of_run])
def test_a_shell_hook_anywhere_takes_the_permission(place):
    assert read(place("{handler: shell, with: {argv: [ls]}}"), "workflowhub").permissions == {
        "post_shell"
    }


def test_what_has_been_normalised_reads_the_same():
    first = parse(FULL, "workflowhub")
    again = parse(json.dumps(first.normalised), "workflowhub")
    assert {name: hook.config for name, hook in hooks_of(again.graph).items()} == {
        name: hook.config for name, hook in hooks_of(first.graph).items()
    }


@pytest.mark.parametrize("place", [of_step, of_run])
@pytest.mark.parametrize("word", ["drain", "continue", "cancel"])
def test_a_failure_policy_in_a_hooks_place_says_where_it_belongs(place, word):
    message = message_of(place(word))
    assert '"on_failure" is a hook' in message
    assert f"failure_policy: {word}" in message


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        ("notify", '"on_failure" must be an object with keys like handler, with, retry, timeout'),
        ("[1]", "must be an object"),
        ("{with: {}}", 'Step "a", on_failure: "handler" is missing.'),
        ("{handler: magic}", 'Step "a", on_failure: "handler" can\'t be "magic"'),
        ("{handler: workflow, with: {workflow: x}}", "a hook can't wait for another run"),
        ("{handler: input, when: 'true'}", 'a hook has no "when": it runs once, after the end.'),
        ("{handler: input, for_each: [1]}", 'a hook has no "for_each"'),
        ("{handler: input, needs: a}", 'a hook has no "needs"'),
        ("{handler: input, repeat: {max: 3}}", 'a hook has no "repeat"'),
        ("{handler: input, trigger: all_done}", 'a hook has no "trigger"'),
        ("{handler: input, name: x}", 'a hook has no "name"'),
        ("{handler: input, on_failure: {handler: input}}", 'a hook has no "on_failure"'),
        ("{handler: input, withh: {}}", '"withh" is not a key that can stand here. Did you mean'),
        ("{handler: sleep}", 'on_failure: the handler sleep needs "seconds" under "with".'),
        ("{handler: input, retry: often}", "on_failure: "),
        ("{handler: input, timeout: soon}", "on_failure: "),
        (
            "{handler: input, with: {x: '${ended.reason}'}}",
            "what ended has name, state, error, result",
        ),
        ("{handler: input, with: {x: '${ended}'}}", "what ended has name, state, error, result"),
        ("{handler: input, with: {x: '${item}'}}", "${item}: only a step with for_each has it."),
        ("{handler: input, with: {x: '${steps.b.result}'}}", 'there is no step "b"'),
        ("{handler: input, with: {x: '${params.k}'}}", 'there is no parameter "k"'),
        ("{handler: input, with: {x: '${endedd.name}'}}", "Did you mean"),
    ],
)
def test_a_wrong_hook_says_what_is_wrong(hook, said):
    assert said in message_of(of_step(hook))


def test_a_problem_in_the_runs_hook_says_so():
    assert message_of(of_run("{with: {}}")) == 'on_failure: "handler" is missing.'


@pytest.mark.parametrize(
    "place",
    ["with: {x: '${ended.name}'}", "when: '${ended.state} == 1'", "for_each: '${ended.result}'"],
)
def test_only_hooks_know_what_ended(place):
    message = message_of(f"steps: [{{name: a, handler: input, {place}}}]")
    assert "only a hook (on_success, on_failure) has it." in message


def test_no_step_may_be_called_what_a_hook_is():
    text = """\
steps:
  - {name: a, handler: input, on_success: {handler: input}}
  - {name: a.on_success, handler: input}
  - {name: on_failure, handler: input}
  - {name: a.on_failure, handler: input}
on_failure: {handler: input}
"""
    problems = parse(text, "workflowhub").problems
    assert [(problem.line, problem.message) for problem in problems] == [
        (3, 'Step "a.on_success": a hook of the step "a" has this name; give another.'),
        (4, 'Step "on_failure": a hook of the workflow has this name; give another.'),
    ]


@pytest.mark.parametrize(
    ("hook", "fits"),
    [
        ("{handler: http, with: {url: 'https://example.org'}, retry: 3, timeout: 5m}", True),
        ("{handler: sleep, with: {seconds: 1}, display_name: x}", True),
        ("null", True),
        ("drain", False),
        ("{}", False),
        ("{handler: magic}", False),
        ("{handler: workflow, with: {workflow: x}}", False),
        ("{handler: sleep}", False),
        ("{handler: http, with: {url: 3}}", False),
        ("{handler: input, when: 'true'}", False),
        ("{handler: input, retry: often}", False),
    ],
)
@pytest.mark.parametrize("place", [of_step, of_run])
def test_reader_and_json_schema_agree_on_hooks(place, hook, fits):
    text = place(hook)
    assert (parse(text, "workflowhub").problems == ()) is fits
    assert Draft202012Validator(SCHEMA).is_valid(load(text).value) is fits


def test_the_json_schema_knows_every_key_of_a_hook_and_every_rule_of_a_step():
    hook, step = SCHEMA["$defs"]["hook"], SCHEMA["$defs"]["step"]
    assert set(hook["properties"]) == set(HOOK_KEYS)
    assert len(hook["allOf"]) == len(step["allOf"])
    assert [*hook["properties"]["handler"]["enum"], "workflow"] == (
        step["properties"]["handler"]["enum"]
    )
