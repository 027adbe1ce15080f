"""`{{ … }}` of the format orchestrator: how it is spelled as a reference, and what is refused."""

import pytest

from engines.dag.templating import Scope, render
from tests.engines.dag.test_formats_orchestrator import graph, node, parsed


def config_of(value, *others):
    """A value of a node's config, as it is rendered."""
    return (
        graph(*others, node("a", "step", *[other["id"] for other in others], x=value))
        .steps[-1]
        .config["x"]
    )


@pytest.mark.parametrize(
    ("template", "reference"),
    [
        ("{{ b }}", "${steps.b.result}"),
        ("{{b.x}}", "${steps.b.result.x}"),
        ("{{ b.output }}", "${steps.b.result}"),
        ("{{ b.output.x.y }}", "${steps.b.result.x.y}"),
        ("{{ b.output.output }}", "${steps.b.result.output}"),
        ("{{ b.list[0].x }}", "${steps.b.result.list[0].x}"),
        ('{{ b["a key"] }}', '${steps.b.result["a key"]}'),
        ("{{ b['a key'] }}", '${steps.b.result["a key"]}'),
        ("{{ c.d.x }}", '${steps["c.d"].result.x}'),
        ("{{ run.id }}", "${run.id}"),
        ("one {{ b.x }}, two {{ b.y }}", "one ${steps.b.result.x}, two ${steps.b.result.y}"),
        ("{{ depth }}", "${params.depth}"),
        ("{{ params.depth }}{{ depth.x }}", "${params.depth}${params.depth.x}"),
        ("{{ input.depth }}{{ runtime.depth }}", "${params.depth}${params.depth}"),
    ],
)
def test_a_template_is_spelled_as_the_reference_that_it_means(template, reference):
    assert config_of(template, node("b"), node("c.d")) == reference
    assert config_of([{"k": template}], node("b"), node("c.d")) == [{"k": reference}]


@pytest.mark.parametrize("handler", ["call_external_service", "external_service"])
def test_the_answer_of_an_external_service_is_its_data(handler):
    asked = node("b", handler, url="http://example.org")
    assert config_of("{{ b.data }} {{ b.output.data[0] }} {{ b.status }}", asked) == (
        "${steps.b.result.body} ${steps.b.result.body[0]} ${steps.b.result.status}"
    )
    assert config_of("{{ b.data }}", node("b")) == "${steps.b.result.data}"


@pytest.mark.parametrize(
    "text",
    ["${params.x}", "$${x}", "${", "a } b }} c", '{{ "{{ x }}" }}', "{{ '${x}' }}", "$ {", "$"],
)
def test_what_is_no_template_stays_as_it_is(text):
    plain = {'{{ "{{ x }}" }}': "{{ x }}", "{{ '${x}' }}": "${x}"}.get(text, text)
    assert render(config_of(text), Scope()) == plain
    whole = render(config_of(f"{text} {{{{ b }}}}", node("b")), Scope(steps={"b": 1}))
    assert whole == f"{plain} 1"


def test_a_whole_template_keeps_its_type_and_one_within_a_text_is_written_out():
    scope = Scope(steps={"b": {"n": 3, "list": [1, "x"]}})
    assert render(config_of("{{ b.list }}", node("b")), scope) == [1, "x"]
    assert render(config_of("{{ b.n }} of {{ b.list }}", node("b")), scope) == '3 of [1, "x"]'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ b.x", "never closes it"),
        ("{{ }}", "is not a template"),
        ("{{ b | upper }}", "Filters and calls are not taken"),
        ("{{ b.x + 1 }}", "is not a template"),
        ("{{ b() }}", "is not a template"),
        ("{{ b[x] }}", "is not a template"),
        ("{% if b %}{{ b. }}", "is not a template"),
        ("costs ${{ b.x }}", "can't be written out"),
        ("{{ bb.x }}", 'there is no node "bb". Did you mean "b"?'),
        ("{{ input }}", 'there is no node "input"'),
        ("{{ input[0] }}", "the name of a parameter must follow input"),
        ("{{ run.x }}", 'a run has no "x"'),
        ("{{ 0 }}", "is not the name of a parameter"),
        ("{{ overrides }}", "can't be called"),
    ],
)
def test_a_template_that_means_nothing_is_refused_where_it_stands(text, said):
    result = parsed(node("b"), {"id": "a", "handler": "step", "config": {"x": text}})
    (problem,) = result.problems
    assert said in problem.message
    assert problem.message.startswith('Node "a": ')
    assert problem.path == "dag.nodes.a.config.x"
    assert problem.line == 15
