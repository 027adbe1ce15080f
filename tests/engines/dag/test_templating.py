import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.dag.templating import (
    Reference,
    Scope,
    TemplateError,
    references,
    render,
    whole_reference,
)

SCOPE = Scope(
    params={"k": 21, "genome": "phix.fa", "deep": {"list": [1, {"x-y": True}]}, "unset": None},
    steps={
        "split": {"parts": ["a", "b"], "n": 2},
        "a.b": {"ok": 1},
        "mapped": [{"x": 1}, {"x": 2}],
    },
    outputs={"asm": {"contigs": "/out/contigs.fa"}},
    context={"folder": "/user/home"},
    run={"id": 7, "uuid": "u-1", "attempt": 2, "labels": {"team": "phage"}},
    item={"path": "p.fa"},
    index=3,
)


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("plain", "plain"),
        ("${params.k}", 21),
        ("${ params.k }", 21),
        ("k=${params.k}", "k=21"),
        ("${params.k}${params.k}", "2121"),
        ("${params.deep.list[1].x-y}", True),
        ('${params.deep["list"][0]}', 1),
        ("${params.deep}", {"list": [1, {"x-y": True}]}),
        ("<${params.deep.list}>", '<[1, {"x-y": true}]>'),
        ("${params.unset}", None),
        ("-${params.unset}", "-null"),
        ("${params.never_given}", None),
        ("${steps.split.result}", {"parts": ["a", "b"], "n": 2}),
        ("${steps.split.result.parts[1]}", "b"),
        ("${steps.split.outputs.n}", 2),
        ("${steps.split.outputs.nothing}", None),
        ("${steps.a.b.result.ok}", 1),
        ('${steps["a.b"].result.ok}', 1),
        ("${steps.mapped.result[1].x}", 2),
        ("${steps.asm.outputs.contigs}", "/out/contigs.fa"),
        ("${steps.skipped.result.any.thing}", None),
        ("${item.path}", "p.fa"),
        ("part ${index}", "part 3"),
        ("${index}", 3),
        ("${run.id}/${run.attempt}", "7/2"),
        ("${run.labels.team}", "phage"),
        ("${folder}/x", "/user/home/x"),
        ("$${params.k}", "${params.k}"),
        ("a $${b} ${params.k} $c {d}", "a ${b} 21 $c {d}"),
        ({"a": ["${params.k}", {"b": "${index}"}]}, {"a": [21, {"b": 3}]}),
        ({"${params.k}": 1}, {"${params.k}": 1}),
        (5, 5),
    ],
)
def test_a_template_gives(template, value):
    assert render(template, SCOPE) == value


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("${params.deep.lust}", 'there is no "lust" in it'),
        ("${params.deep.list[9]}", "no item 9, the list has 2"),
        ("${params.k.x}", '"x" can\'t be taken of a number'),
        ("${params.unset.x}", '"x" can\'t be taken of null'),
        ("${steps.split.result.none}", "${steps.split.result.none}"),
        ("${run.owner}", 'no "owner"'),
        ("${nowhere}", "not known here"),
    ],
)
def test_a_reference_that_gives_nothing_is_named(template, text):
    with pytest.raises(TemplateError) as caught:
        render(template, SCOPE)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    "template",
    [
        "${",
        "${}",
        "${params}",
        "${params.}",
        "${params.a b}",
        "${params.a",
        "${steps.a}",
        "${steps.result}",
        "${steps.a.state}",
        "${index.a}",
        "${params[0]}",
        "${a.b()}",
        "${__import__('os')}",
    ],
)
def test_what_is_no_reference_is_refused(template):
    with pytest.raises(TemplateError):
        references(template)


@pytest.mark.parametrize("template", ["${item}", "${index}"])
def test_item_and_index_exist_only_in_a_mapped_task(template):
    with pytest.raises(TemplateError):
        render(template, Scope())


def test_what_a_parameter_holds_is_never_read_as_a_template():
    scope = Scope(params={"a": "${params.secret}", "secret": 1})
    assert render(["${params.a}", "x${params.a}"], scope) == [
        "${params.secret}",
        "x${params.secret}",
    ]


def test_parameters_win_over_the_context():
    assert render("${folder}", Scope(params={"folder": "mine"}, context={"folder": "x"})) == "mine"


def test_references_are_found_in_every_depth():
    value = {"a": ["${steps.x.result} ${params.p}", {"b": "$${steps.no.result}"}]}
    assert references(value) == {
        Reference("steps", ("x", "result"), "${steps.x.result}"),
        Reference("params", ("p",), "${params.p}"),
    }


def test_a_whole_reference_is_told_from_a_text_with_one():
    assert whole_reference("${item}").root == "item"
    assert whole_reference("${item} ") is None
    assert whole_reference("$${item}") is None
    assert whole_reference(3) is None


def test_a_text_can_not_be_blown_up_without_end():
    scope = Scope(params={"a": "x" * 1_000_000})
    with pytest.raises(TemplateError, match="longer than"):
        render("${params.a}" * 11, scope)


@settings(deadline=None)
@given(st.text(alphabet='${}[]".ab params0-\\\x00', max_size=60))
def test_any_text_renders_or_says_why_not(text):
    try:
        render(text, SCOPE)
    except TemplateError as error:
        assert str(error)
