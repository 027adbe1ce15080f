import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.dag.templating import Scope, TemplateError, compile_expression, evaluate

SCOPE = Scope(
    params={"k": 21, "mode": "exact", "none": None, "yes": True, "tags": ["a", 1]},
    steps={"check": {"ok": True, "n": 0}},
)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("true", True),
        ("null", False),
        ("${params.k}", True),
        ("${params.k} == 21", True),
        ("${params.k} == 21.0", True),
        ("${params.k} != 21", False),
        ("${params.k} > 3 and ${params.k} <= 21", True),
        ("${params.k} < -1 or ${params.mode} == 'exact'", True),
        ('${params.mode} == "exact"', True),
        ('${params.mode} >= "exact"', True),
        ("not ${params.yes}", False),
        ("not not ${params.yes}", True),
        ("not ${params.k} == 3 and true", True),
        ("${params.yes} == 1", False),
        ("1 == true", False),
        ("${params.none} == null", True),
        ("1 in ${params.tags}", True),
        ("true in ${params.tags}", False),
        ('"b" not in ${params.tags}', True),
        ('"act" in ${params.mode}', True),
        ("${params.mode} in ['fast', 'exact']", True),
        ('"ok" in ${steps.check.result}', True),
        ("(1 == 2 or 2 == 2) and not (1 == 2)", True),
        ("1 == 2 and 1 == 1 or true", True),
        ("${steps.skipped.result.n} == null", True),
        ("[] == []", True),
    ],
)
def test_a_condition_holds_or_not(text, holds):
    assert evaluate(text, SCOPE) is holds


def test_what_need_not_be_asked_is_not_asked():
    assert evaluate("false and ${params.mode} > 3", SCOPE) is False
    assert evaluate("true or ${params.mode} > 3", SCOPE) is True


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1 ==",
        "1 = 1",
        "(1",
        "1)",
        "params.k",
        "${params.k",
        "${steps.a}",
        "a.b()",
        "1 + 1",
        "1 not 2",
        "1 2",
        "'open",
        "__import__('os')",
        "in",
        "[1, ",
        "(" * 500 + "1" + ")" * 500,
        "[" * 500 + "1" + "]" * 500,
        "not " * 400 + "1",
        "1 == 1 and " * 500 + "1",
        "9" * 30,
    ],
)
def test_what_is_no_condition_is_refused_when_it_is_checked(text):
    with pytest.raises(TemplateError):
        compile_expression(text)


@pytest.mark.parametrize("text", ["${params.k} < 'a'", "null > 1", "1 in 2", "true < false"])
def test_values_that_can_not_be_compared_are_named(text):
    with pytest.raises(TemplateError):
        evaluate(text, SCOPE)


def test_the_references_of_a_condition_are_known_without_running_it():
    found = compile_expression("${steps.check.result.ok} and ${params.k} > 1").references
    assert {reference.text for reference in found} == {"${steps.check.result.ok}", "${params.k}"}


@settings(deadline=None)
@given(st.text(alphabet="()[]!=<>andornti ${}params.k\"'12,", max_size=60) | st.text(max_size=60))
def test_any_text_is_evaluated_or_says_why_not(text):
    try:
        evaluate(text, SCOPE)
    except TemplateError as error:
        assert str(error)
