"""`trigger` and `repeat` in a document of the format workflowhub."""

import pytest
import yaml

from engines.dag.formats import parse, read
from engines.dag.graph import Repeat, TriggerRule


def parse_step(step, *others):
    """The document with the step under the name b beside a."""
    steps = [{"name": "a", "handler": "input"}, {"name": "b", "handler": "input", **step}, *others]
    document = {"parameters": {"k": {"type": "integer"}}, "steps": steps}
    return parse(yaml.safe_dump(document), "workflowhub")


def spec_of(step):
    parsed = parse_step(step)
    assert parsed.problems == ()
    return next(spec for spec in parsed.graph.steps if spec.name == "b")


def problem_of(step):
    parsed = parse_step(step)
    assert parsed.graph is None
    assert len(parsed.problems) == 1, parsed.problems
    return parsed.problems[0].message


@pytest.mark.parametrize("rule", TriggerRule)
def test_a_step_has_the_rule_that_it_says(rule):
    assert spec_of({"needs": "a", "trigger": rule.value}).trigger == rule


def test_without_a_rule_every_need_must_end_well():
    assert spec_of({"needs": "a"}).trigger == TriggerRule.ALL_SUCCESS
    assert spec_of({"trigger": None}).trigger == TriggerRule.ALL_SUCCESS


def test_a_need_that_a_reference_implies_is_one():
    step = {"trigger": "all_done", "with": {"x": "${steps.a.result}"}}
    assert spec_of(step).needs == ("a",)


@pytest.mark.parametrize(
    ("repeat", "expected"),
    [
        (5, Repeat(most=5)),
        ({"max": 5}, Repeat(most=5)),
        ({"until": "${result.done}"}, Repeat(until="${result.done}", most=100)),
        ({"until": True, "max": 3}, Repeat(until="true", most=3)),
        ({"max": 2, "delay": "1m"}, Repeat(most=2, delay=60)),
        ({"max": 10_000, "delay": 0}, Repeat(most=10_000, delay=0)),
    ],
)
def test_a_step_repeats_as_it_says(repeat, expected):
    assert spec_of({"repeat": repeat}).repeat == expected


def test_the_condition_and_the_arguments_see_what_there_is():
    step = {
        "with": {"n": "${index}", "was": "${previous.x}", "k": "${params.k}"},
        "repeat": {"until": '${result.x} > ${params.k} and ${index} < 9 and ${vars.v} != "x"'},
    }
    assert spec_of(step).needs == ()


def test_a_step_that_the_condition_names_is_a_need():
    step = {"repeat": {"until": "${steps.a.result.limit} < ${result}"}}
    assert spec_of(step).needs == ("a",)


@pytest.mark.parametrize(
    ("step", "text"),
    [
        ({"trigger": "all_done"}, '"trigger" can\'t be all_done: the step needs no other'),
        ({"trigger": "one_failed", "needs": []}, "can't be one_failed"),
        ({"trigger": "all_failed", "needs": "a"}, "must be one of all_success, all_done, one_fai"),
        ({"trigger": "all_dome", "needs": "a"}, 'Did you mean "all_done"?'),
        ({"trigger": 3, "needs": "a"}, "must be one of all_success"),
        ({"trigger_rule": "all_done", "needs": "a"}, 'Did you mean "trigger"?'),
        ({"until": "true"}, 'Did you mean "repeat"?'),
        ({"repeat": 0}, '"max" must be between 1 and 10000'),
        ({"repeat": 10_001}, '"max" must be between 1 and 10000'),
        ({"repeat": {"max": 1.5}}, '"max" must be a whole number'),
        ({"repeat": "often"}, '"repeat" must be an object'),
        ({"repeat": True}, '"repeat" must be an object'),
        ({"repeat": {}}, '"repeat" needs "until", "max" or both'),
        ({"repeat": {"delay": 5}}, '"repeat" needs "until", "max" or both'),
        ({"repeat": {"times": 3}}, 'Did you mean "max"?'),
        ({"repeat": {"max": 3, "delay": "soon"}}, '"delay" must be seconds'),
        ({"repeat": {"until": 3}}, '"until" must be a condition as a text'),
        ({"repeat": {"until": "result == 1"}}, '"until": "result" is not a word of conditions'),
        ({"repeat": {"until": "${previous} == 1"}}, "only the arguments of a step with repeat"),
        ({"repeat": {"until": "${item} == 1"}}, "only a step with for_each has it"),
        (
            {"repeat": {"until": "${steps.b.result} == 1"}},
            "What the pass before gave is ${previous}",
        ),
        ({"repeat": {"until": "${secrets.s} == 1"}}, "secret"),
        ({"repeat": 3, "for_each": [1]}, '"repeat" can\'t stand beside for_each'),
        ({"repeat": 3, "with": {"x": "${result}"}}, "only the condition until of a step with rep"),
        ({"repeat": 3, "with": {"x": "${item}"}}, "only a step with for_each has it"),
        ({"repeat": 3, "when": "${index} == 1"}, "only a step with for_each or repeat has it"),
        ({"with": {"x": "${previous}"}}, "only the arguments of a step with repeat have it"),
        ({"with": {"x": "${result.done}"}}, "A step's result is ${steps.NAME.result}."),
        ({"when": "${result} == 1"}, "only the condition until of a step with repeat has it"),
        ({"for_each": [1], "with": {"x": "${previous}"}}, "only the arguments of a step with rep"),
    ],
)
def test_a_wrong_step_says_what_is_wrong(step, text):
    assert text in problem_of(step)


def test_the_outputs_of_a_run_know_no_pass():
    document = {"steps": [{"name": "a", "handler": "input"}], "outputs": {"x": "${previous}"}}
    [problem] = parse(yaml.safe_dump(document), "workflowhub").problems
    assert "only the arguments of a step with repeat" in problem.message


def test_another_formats_own_names_may_be_the_same_words():
    text = """{workflow_name: w, base_context: {result: 1, previous: 2},
    steps: [{step_name: a, app: A, params: {x: "${result}", y: "${previous}"}}]}"""
    assert parse(text, "bvbrc").problems == ()


def test_the_canonical_form_shows_both():
    step = {"needs": "a", "repeat": {"until": "${result}", "max": 3}, "trigger": "all_done"}
    parsed = parse_step(step)
    shown = parsed.normalised["steps"][1]
    assert list(shown) == ["name", "handler", "needs", "trigger", "repeat"]
    assert (shown["trigger"], shown["repeat"]) == ("all_done", {"until": "${result}", "max": 3})


def test_the_hub_is_told_of_both():
    text = """
    steps:
      - {name: a, handler: input, repeat: 3}
      - {name: b, handler: input, needs: a, trigger: one_failed}
    """
    a, b = read(text, "workflowhub").tasks
    assert (a.trigger_rule, a.repeats) == ("", True)
    assert (b.trigger_rule, b.repeats) == ("one_failed", False)
