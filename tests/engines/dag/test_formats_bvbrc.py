import json

import pytest

from engines.dag.formats import parse, read
from engines.dag.templating import Scope, render
from engines.parameters import ParameterErrors, clean_parameters

# As the format's description prints it.
DOCUMENT = {
    "workflow_name": "my-pipeline",
    "version": "1.0",
    "base_context": {
        "base_url": "https://www.bv-brc.org",
        "workspace_output_folder": "/user/home/output",
    },
    "steps": [
        {
            "step_name": "step1",
            "app": "GenomeAssembly2",
            "params": {
                "output_path": "${workspace_output_folder}/Assembly",
                "output_file": "assembly_output",
            },
            "outputs": {"contigs": "${params.output_path}/.${params.output_file}/contigs.fa"},
            "depends_on": [],
        },
        {
            "step_name": "step2",
            "app": "GenomeAnnotation",
            "params": {
                "contigs": "${steps.step1.outputs.contigs}",
                "output_path": "${workspace_output_folder}/Annotation",
            },
            "outputs": {},
            "depends_on": ["step1"],
        },
    ],
    "workflow_outputs": ["${steps.step2.outputs.genome}"],
}


def parsed(**changes):
    return parse(json.dumps({**DOCUMENT, **changes}, indent=2), "bvbrc")


def one_step(**step):
    return parsed(steps=[{"step_name": "a", "app": "App", **step}], workflow_outputs=[])


def messages(result):
    return [problem.message for problem in result.problems]


def test_the_printed_document_is_taken_with_a_warning_about_its_undeclared_output():
    result = parsed()
    assert result.problems == ()
    (warning,) = result.warnings
    assert 'step "step2" declares no output "genome"' in warning.message
    assert warning.path == "workflow_outputs[0]"
    assert warning.line > 1
    first, second = result.graph.steps
    assert (first.handler, first.config["app"]) == ("app", "GenomeAssembly2")
    assert second.needs == ("step1",)
    assert result.graph.title == "my-pipeline"
    assert result.normalised == DOCUMENT


def test_two_steps_run_at_a_time_unless_the_setting_says_otherwise(settings):
    assert parsed().graph.max_parallel == 2
    settings.WORKFLOWHUB_BVBRC_MAX_PARALLEL = 5
    assert parsed().graph.max_parallel == 5


def test_the_whole_document_renders_step_by_step():
    graph = parsed().graph
    params = clean_parameters(
        graph.parameters_schema, {"workspace_output_folder": "/somewhere/else"}
    )
    first, second = graph.steps
    scope = Scope(params=params, context=graph.context)
    assert render(first.config, scope)["params"] == {
        "output_path": "/somewhere/else/Assembly",
        "output_file": "assembly_output",
    }
    outputs = {"step1": render(first.outputs, scope)}
    contigs = "/somewhere/else/Assembly/.assembly_output/contigs.fa"
    assert outputs["step1"] == {"contigs": contigs}
    scope = Scope(params=params, context=graph.context, outputs=outputs)
    assert render(second.config, scope)["params"]["contigs"] == contigs
    scope = Scope(params=params, steps={"step2": {"genome": "g.gto"}}, outputs=outputs)
    assert render(graph.outputs, scope) == ["g.gto"]
    assert render(graph.outputs, Scope(params=params, steps={"step2": {}})) == [None]


def test_a_start_may_only_override_what_the_context_names():
    schema = parsed().graph.parameters_schema
    with pytest.raises(ParameterErrors) as caught:
        clean_parameters(schema, {"workspace_output_foldr": "/x", "base_url": 3})
    assert set(caught.value.errors) == {"workspace_output_foldr", "base_url"}


def test_a_dependency_that_a_reference_implies_is_added_with_a_warning():
    steps = [*DOCUMENT["steps"]]
    steps[1] = {key: value for key, value in steps[1].items() if key != "depends_on"}
    result = parsed(steps=steps)
    assert result.graph.steps[1].needs == ("step1",)
    assert any("added to depends_on" in warning.message for warning in result.warnings)
    assert result.normalised["steps"][1]["depends_on"] == ["step1"]


def test_the_tasks_are_shown_with_their_apps():
    tasks = read(json.dumps(DOCUMENT), "bvbrc").tasks
    assert [(task.name, task.type) for task in tasks] == [
        ("step1", "GenomeAssembly2"),
        ("step2", "GenomeAnnotation"),
    ]


def test_unknown_keys_are_refused_and_the_context_is_open():
    assert '"owner" is not a key' in messages(parsed(owner="me"))[0]
    assert 'Step "a": "retry" is not a key' in messages(one_step(retry=3))[0]
    assert parsed(base_context={**DOCUMENT["base_context"], "any": [1], "x y": {}}).problems == ()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"workflow_name": None}, '"workflow_name" is missing'),
        ({"version": 1}, '"version" must be a text'),
        ({"steps": []}, "at least one step"),
        ({"steps": {}}, '"steps" must be a list'),
        ({"steps": ["a"]}, "must be an object"),
        ({"base_context": []}, '"base_context" must be an object'),
        ({"base_context": {}}, '"workspace_output_folder" is not known'),
        ({"workflow_outputs": "x"}, '"workflow_outputs" must be a list'),
        ({"workflow_outputs": ["${steps.step3.outputs.x}"]}, 'Did you mean "step'),
        ({"workflow_outputs": ["${params.x}"]}, "is not known"),
    ],
)
def test_a_wrong_workflow_says_what_is_wrong(changes, text):
    found = messages(parsed(**changes))
    assert any(text in message for message in found), found


@pytest.mark.parametrize(
    ("step", "text"),
    [
        ({"app": None}, '"app" is missing'),
        ({"app": "${base_url}"}, "can't hold a reference"),
        ({"depends_on": "b"}, '"depends_on" must be a list'),
        ({"depends_on": ["b"]}, 'no step "b"'),
        ({"depends_on": ["a"]}, "needs itself"),
        ({"params": {"x": "${params.y}"}}, 'no param "y"'),
        ({"params": {"x": "${params.y}", "y": "${params.x}"}}, "in a cycle: x → y → x"),
        ({"params": {"x": "a ${params.y}", "y": [1]}}, "can't be put within one"),
        ({"params": {"x": "${nowhere}"}}, '"nowhere" is not known'),
        ({"params": {"x": "${steps.a.outputs.b}"}}, "its own outputs"),
        ({"outputs": {"x": "${params.none}"}}, 'no param "none"'),
        ({"params": {"x": "${"}}, "never closes it"),
        ({"params": {"x": "a$", "y": "{b}", "z": "${params.x}${params.y}"}}, "isn't meant"),
        ({"params": {"x": "a$", "z": "${params.x}${base_url}"}}, "isn't meant"),
    ],
)
def test_a_wrong_step_says_what_is_wrong(step, text):
    found = messages(one_step(**step))
    assert any(text in message for message in found), found


def test_a_steps_own_params_are_filled_into_each_other():
    params = {"b": "${params.a}/b", "a": "${base_url}", "n": 3, "c": "${params.n}", "d": "$${x}"}
    outputs = {"o": "${params.b}-${params.n}", "p": "${params.c}", "q": "${params.d}"}
    step = one_step(params=params, outputs=outputs).graph.steps[0]
    scope = Scope(context=DOCUMENT["base_context"])
    url = "https://www.bv-brc.org"
    assert render(step.outputs, scope) == {"o": f"{url}/b-3", "p": 3, "q": "${x}"}
    assert render(step.config["params"], scope) == {
        "b": f"{url}/b",
        "a": url,
        "n": 3,
        "c": 3,
        "d": "${x}",
    }


def test_params_that_double_each_other_without_end_are_refused():
    params = {f"p{n}": f"${{params.p{n + 1}}}${{params.p{n + 1}}}" for n in range(40)}
    assert any("too large" in m for m in messages(one_step(params={**params, "p40": "xx"})))
    lists = {f"p{n}": [f"${{params.p{n + 1}}}"] * 2 for n in range(40)}
    assert any("too large" in m for m in messages(one_step(params={**lists, "p40": "xx"})))


def test_a_reference_in_the_context_is_a_warning():
    result = parsed(base_context={**DOCUMENT["base_context"], "x": "${base_url}", "run": 1})
    said = [warning.message for warning in result.warnings]
    assert any("not resolved" in message for message in said)
    assert any("means something else" in message for message in said)
