"""The format orchestrator: nodes with `{{ … }}`, and what a start may give and override."""

import json

import pytest

from engines.dag.formats import guess, parse, read
from engines.dag.templating import Scope
from engines.dag.values import inputs_of
from engines.parameters import ParameterErrors, clean_parameters
from tests.engines.dag.driving import Hand, execution, make_adapter, make_spec, step_row

# As the format's description prints it.
DOCUMENT = {
    "name": "user summary",
    "dag": {
        "nodes": [
            {"id": "input", "handler": "input", "dependencies": []},
            {
                "id": "get_user",
                "handler": "call_external_service",
                "dependencies": ["input"],
                "config": {"url": "https://users.example.org/{{ input.user_id }}"},
            },
            {
                "id": "summary",
                "handler": "llm_service",
                "dependencies": ["get_user"],
                "config": {"prompt": "Summarise {{ get_user.output.data.posts }}"},
            },
            {"id": "output", "handler": "output", "dependencies": ["summary"]},
        ]
    },
}


def node(id, handler="step", *dependencies, **config):
    return {"id": id, "handler": handler, "dependencies": [*dependencies], "config": config}


def parsed(*nodes):
    return parse(json.dumps({"name": "flow", "dag": {"nodes": nodes}}, indent=1), "orchestrator")


def graph(*nodes):
    result = parsed(*nodes)
    assert result.problems == ()
    return result.graph


def refused(*nodes):
    result = parsed(*nodes)
    assert result.graph is None
    return " ".join(problem.message for problem in result.problems)


def test_the_printed_document_is_taken_without_a_word():
    result = parse(json.dumps(DOCUMENT, indent=1), "orchestrator")
    assert (result.problems, result.warnings) == ((), ())
    first, get_user, summary, output = result.graph.steps
    assert result.graph.title == "user summary"
    assert first.config == {"user_id": "${params.user_id}"}
    assert (get_user.handler, get_user.needs) == ("http", ("input",))
    assert get_user.config == {"url": "https://users.example.org/${steps.input.result.user_id}"}
    assert summary.handler == "python"
    assert summary.config == {
        "callable": "llm_service",
        "prompt": "Summarise ${steps.get_user.result.body.posts}",
    }
    assert output.config == {"summary": "${steps.summary.result}"}
    assert result.normalised == DOCUMENT


def test_it_is_told_by_its_dag_whole_or_broken():
    text = json.dumps(DOCUMENT)
    assert guess(text) == guess(text[:-1]) == guess(json.dumps(DOCUMENT, indent=2)[:-3])
    assert guess(text) == "orchestrator"
    assert guess("name: x\ndag:\n  nodes: [") == "orchestrator"


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([], "must list at least one node"),
        ([3], "Node 1: must be an object, not the number 3"),
        ([{"handler": "step"}], 'Node 1: "id" is missing'),
        ([{"id": "a b", "handler": "step"}], "is not a name"),
        ([node("a"), node("a")], "stands already at line 5"),
        ([{"id": "a"}], '"handler" is missing'),
        ([node("a", "{{ b }}")], "can't hold a template"),
        ([node("a", "step", "b")], 'there is no node "b" that it could need'),
        ([node("a", "step", "a")], "it needs itself"),
        ([node("a", "step", "b"), node("b", "step", "a")], "the nodes wait for each other"),
        ([node("a", "step", x="{{ a.y }}")], "refers to its own result"),
        ([node("a", "http")], 'the handler http needs "url" under "config"'),
        ([node("a", "external_service", uri="http://x")], 'Did you mean "url"?'),
        ([node("a", "external_service", url="ftp://x")], "must begin with http"),
        ([node("a", "sleep", seconds="long")], "must be a number"),
        ([node("a", "step", callable="b")], 'the handler names "step"'),
        ([node("a", "python", callable="{{ b }}")], "can't hold a reference"),
        ([{"id": "a", "handler": "step", "needs": []}], 'Did you mean "dependencies"?'),
        ([{"id": "a", "handler": "step", "retry": 3}], '"retry" is not a key'),
        ([{"id": "a", "handler": "step", "config": []}], "must be an object"),
        ([node("a", "input", x=1), node("b", "input", x=2)], "has another value"),
        ([node("a", "input", **{"a key": 1})], "is not the name of a parameter"),
        ([node("a", "input", overrides=1)], "can't be called"),
    ],
)
def test_what_is_wrong_with_a_node_is_said(nodes, said):
    assert said in refused(*nodes)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"dag": {"nodes": [node("a")]}}, '"name" is missing'),
        ({"name": "", "dag": {"nodes": [node("a")]}}, "must not be empty"),
        ({"name": "x"}, '"dag" must be an object with keys like nodes'),
        ({"name": "x", "dag": {}}, '"nodes" must list at least one node'),
        ({"name": "x", "dag": {"nodes": {}}}, "must be a list"),
        ({"name": "x", "nodes": []}, 'Did you mean "dag"?'),
        ({"name": "x", "dag": {"steps": []}}, 'Did you mean "nodes"?'),
        ([], "A definition is an object"),
    ],
)
def test_what_is_wrong_with_the_document_is_said(document, said):
    result = parse(json.dumps(document), "orchestrator")
    assert said in " ".join(problem.message for problem in result.problems)


def test_a_template_implies_its_dependency_with_a_warning():
    result = parsed(node("b"), {"id": "a", "handler": "step", "config": {"x": "{{ b.x }}"}})
    assert result.graph.steps[1].needs == ("b",)
    assert result.normalised["dag"]["nodes"][1]["dependencies"] == ["b"]
    (warning,) = result.warnings
    assert "added to dependencies" in warning.message


def test_a_name_near_another_is_taken_with_a_warning():
    result = parsed(node("total"), node("a", "call_external_servise", x="{{ totl }}"))
    said = [warning.message for warning in result.warnings]
    assert any('Did you mean "call_external_service"?' in text for text in said)
    assert any('{{ totl }} is taken as a parameter. Did you mean "total"?' in text for text in said)


def test_our_own_handlers_keep_their_names_and_their_permission():
    document = {
        "name": "x",
        "dag": {
            "nodes": [
                node("a", "shell", argv=["ls"]),
                node("b", "sleep", seconds=0),
                node("c", "python", callable="f", x=1),
            ]
        },
    }
    found = read(json.dumps(document), "orchestrator")
    assert [task.type for task in found.tasks] == ["shell", "sleep", "python"]
    assert found.permissions == {"post_shell"}


INPUT = node("input", "input", depth=3, mode=None, base="{{ run.hub }}")
WORK = node("work", "http", "input", url="{{ input.base }}/{{ input.who }}", method="GET")


def start(nodes, values):
    """The rendered config of each step, for a run that is started with these values."""
    found = graph(*nodes)
    params = clean_parameters(found.parameters_schema, values)
    results = {}
    for spec in found.steps:
        scope = Scope(params=params, steps=results, run={"hub": "http://hub"})
        results[spec.name] = inputs_of(spec, scope)
    return results


def test_parameters_are_the_config_of_input_nodes_and_the_names_that_templates_use():
    schema = graph(INPUT, WORK).parameters_schema
    assert schema["properties"]["depth"] == {"default": 3}
    assert schema["properties"]["base"] == {"description": "When left out: {{ run.hub }}"}
    assert schema["required"] == ["who"]
    assert start([INPUT, WORK], {"who": "ann"})["input"] == {
        "depth": 3,
        "mode": None,
        "who": "ann",
        "base": "http://hub",
    }


def test_a_start_gives_other_values_and_no_unknown_ones():
    given = {"who": 7, "base": "http://there", "mode": ["any", {"json": True}]}
    results = start([INPUT, WORK], given)
    assert results["work"]["url"] == "http://there/7"
    assert results["input"]["mode"] == ["any", {"json": True}]
    with pytest.raises(ParameterErrors) as caught:
        start([INPUT, WORK], {"deph": 3})
    assert caught.value.errors == {
        "deph": 'is not a parameter. Did you mean "depth"?',
        "who": "is required.",
    }


def test_an_override_replaces_what_the_document_declares_and_is_data():
    overrides = {"work": {"url": "http://x/{{ input.depth }}${run.id}"}, "input": {"base": "b"}}
    results = start([INPUT, WORK], {"who": "ann", "overrides": overrides})
    assert results["work"] == {"url": "http://x/{{ input.depth }}${run.id}", "method": "GET"}
    assert results["input"]["base"] == "b"


def test_an_override_spares_the_template_that_it_replaces():
    first, second = node("b"), node("a", "step", "b", x="{{ b.gone.away }}")
    results = start([first, second], {"overrides": {"a": {"x": 1}}})
    assert results["a"] == {"callable": "step", "x": 1}


@pytest.mark.parametrize(
    ("overrides", "path"),
    [
        ({"wrk": {"url": "http://x"}}, "overrides.wrk"),
        ({"work": {"headers": {}}}, "overrides.work.headers"),
        ({"work": {"handler": "shell"}}, "overrides.work.handler"),
        ({"work": {"url": 3}}, "overrides.work.url"),
        ({"work": "http://x"}, "overrides.work"),
        ({"program": {"argv": ["rm"]}}, "overrides.program"),
        ({"call": {"callable": "other"}}, "overrides.call.callable"),
        ({"made": {"callable": "other"}}, "overrides.made.callable"),
        ({"other": {"workflow": "another"}}, "overrides.other"),
        ([], "overrides"),
    ],
)
def test_an_override_reaches_nothing_that_was_not_declared_or_that_chooses_the_code(
    overrides, path
):
    nodes = [
        INPUT,
        WORK,
        node("program", "shell", argv=["ls"]),
        node("call", "python", callable="f", x=1),
        node("made", "f", x=1),
        node("other", "workflow", workflow="flow"),
    ]
    schema = graph(*nodes).parameters_schema
    with pytest.raises(ParameterErrors) as caught:
        clean_parameters(schema, {"who": "ann", "overrides": overrides})
    assert list(caught.value.errors) == [path]


def test_a_node_with_a_secret_takes_no_override_that_could_send_it_elsewhere():
    hidden = node("a", "http", url="http://x", headers={"Authorization": "{{ secrets.token }}"})
    assert "overrides" not in graph(hidden).parameters_schema["properties"]
    assert read(json.dumps({"name": "x", "dag": {"nodes": [hidden]}}), "orchestrator").secrets == {
        "token"
    }


@pytest.mark.django_db
def test_it_runs_on_the_engine_like_every_other_format():
    nodes = [
        node("input", "input", depth=2),
        node("work", "double", "input", x="{{ input.depth }}"),
        node("output", "output", "work"),
    ]
    definition = {"name": "flow", "dag": {"nodes": nodes}}
    adapter, values = make_adapter(), {"depth": 5, "overrides": {"work": {"x": "{{ input }}"}}}
    spec = make_spec(definition, format="orchestrator", parameters=values)
    adapter.submit(spec)
    assert Hand().run_all() == ["input", "work", "output"]
    assert step_row(spec.external_id, "input").inputs == {"depth": 5}
    assert step_row(spec.external_id, "work").inputs == {"callable": "double", "x": "{{ input }}"}
    ended = execution(spec.external_id)
    assert (ended.state, ended.result) == (
        "COMPLETED",
        {"work": {"callable": "double", "x": "{{ input }}"}},
    )


@pytest.mark.django_db
@pytest.mark.parametrize("own", ["http://127.0.0.1:8000", ""])
def test_a_hub_that_knows_its_address_tells_it_and_another_says_so(settings, own):
    settings.WORKFLOWHUB_OWN_URL = own
    document = {"name": "flow", "dag": {"nodes": [node("a", "input", hub="{{ run.hub }}")]}}
    spec = make_spec(document, format="orchestrator")
    make_adapter().submit(spec)
    Hand().run_all()
    row = step_row(spec.external_id, "a")
    assert (row.inputs, row.error) == (
        ({"hub": own}, "") if own else (None, '${run.hub}: there is no "hub" in it.')
    )
