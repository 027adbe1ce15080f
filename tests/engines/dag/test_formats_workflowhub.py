import pytest

from engines.dag.formats import guess, parse, read
from engines.dag.graph import FailurePolicy, Retry


def graph_of(text):
    parsed = parse(text, "workflowhub")
    assert parsed.problems == ()
    return parsed.graph


def problems_of(text):
    parsed = parse(text, "workflowhub")
    assert parsed.graph is None
    return [(problem.line, problem.path, problem.message) for problem in parsed.problems]


def the_problem(text):
    (problem,) = problems_of(text)
    return problem


FULL = """\
title: Count bases
labels: {team: phage, 'example.org/n': 1, on: true}
parameters:
  genome: {type: string, required: true}
  k: {type: integer, default: 21}
max_parallel: 4
failure_policy: continue
timeout: 1h30m
steps:
  - name: split
    handler: python
    with: {callable: genome.split, path: "${params.genome}"}
  - name: count
    display_name: Count one part
    handler: shell
    for_each: ${steps.split.result.parts}
    when: ${params.k} > 3
    with: {argv: [wc, -c, "${item.path}"]}
    retry: {limit: 3, delay: 0, factor: 3, most: 1m}
    timeout: 90
  - name: all
    handler: output
    needs: split
    with: {counts: "${steps.count.result}"}
outputs: {counts: "${steps.all.result.counts}"}
"""


def test_every_key_reaches_the_graph():
    graph = graph_of(FULL)
    split, count, done = graph.steps
    assert graph.title == "Count bases"
    assert graph.labels == {"team": "phage", "example.org/n": "1", "on": "true"}
    assert graph.max_parallel == 4
    assert graph.failure_policy is FailurePolicy.CONTINUE
    assert graph.timeout == 5400
    assert graph.outputs == {"counts": "${steps.all.result.counts}"}
    assert graph.parameters_schema["required"] == ["genome"]
    assert graph.parameters_schema["properties"] == {
        "genome": {"type": "string"},
        "k": {"type": "integer", "default": 21},
    }
    assert graph.parameters_schema["additionalProperties"] is False
    assert split.handler == "python"
    assert split.config == {"callable": "genome.split", "path": "${params.genome}"}
    assert count.for_each == "${steps.split.result.parts}"
    assert count.when == "${params.k} > 3"
    assert count.retry == Retry(limit=3, delay=0, factor=3, most=60)
    assert count.timeout == 90
    assert (count.display_name, count.line) == ("Count one part", 13)
    assert done.needs == ("split", "count")


def test_a_definition_for_the_hub_has_tasks_permissions_and_schema():
    definition = read(FULL, "workflowhub")
    assert [(task.name, task.type, task.downstream) for task in definition.tasks] == [
        ("split", "python", ("count", "all")),
        ("count", "shell", ("all",)),
        ("all", "output", ()),
    ]
    assert definition.permissions == {"post_shell"}
    assert definition.title == "Count bases"
    assert definition.problems == ()
    assert definition.normalised["steps"][2]["needs"] == ["split", "count"]


def test_a_broken_definition_has_no_tasks_but_its_problems():
    definition = read("steps: 3", "workflowhub")
    assert definition.tasks == ()
    assert definition.problems


def test_without_shell_no_permission_is_needed():
    assert read("steps: [{name: a, handler: input}]", "workflowhub").permissions == frozenset()


def test_the_settings_say_how_a_silent_step_is_tried_again(settings):
    settings.WORKFLOWHUB_RETRIES = 2
    settings.WORKFLOWHUB_RETRY_DELAY = 7
    text = "steps: [{name: a, handler: input}, {name: b, handler: input, retry: 0}]"
    silent, said = graph_of(text).steps
    assert (silent.retry.limit, silent.retry.delay) == (2, 7)
    assert said.retry.limit == 0


def test_json_is_read_as_yaml_is():
    graph = graph_of('{"steps": [\n\t{"name": "a", "handler": "sleep", "with": {"seconds": 1}}]}')
    assert graph.steps[0].line == 2


def test_what_has_been_normalised_reads_the_same():
    from json import dumps

    first = parse(FULL, "workflowhub")
    again = parse(dumps(first.normalised), "workflowhub")
    assert [step.needs for step in again.graph.steps] == [step.needs for step in first.graph.steps]
    assert again.normalised == first.normalised


def test_an_unknown_key_is_named_with_line_step_and_the_nearest():
    text = "steps:\n  - name: a\n    handler: input\n    timeot: 3\n"
    assert the_problem(text) == (
        4,
        "steps.a.timeot",
        'Step "a": "timeot" is not a key that can stand here. Did you mean "timeout"?',
    )


@pytest.mark.parametrize(
    ("word", "ours"), [("depends_on", "needs"), ("uses", "handler"), ("if", "when")]
)
def test_words_of_other_systems_are_known(word, ours):
    text = f"steps: [{{name: a, handler: input, {word}: x}}]"
    assert f'Did you mean "{ours}"?' in the_problem(text)[2]


def test_a_cycle_is_shown_with_its_path():
    text = """\
steps:
  - {name: start, handler: input}
  - {name: a, handler: input, needs: [start, c]}
  - {name: b, handler: input, with: {x: "${steps.a.result}"}}
  - {name: c, handler: input, when: "${steps.b.result} == 1"}
"""
    line, path, message = the_problem(text)
    assert (line, path) == (3, "steps.a")
    assert message.endswith("in a cycle: b → c → a → b.") or "a → b → c → a" in message


def test_a_step_that_needs_itself_is_a_problem():
    assert "needs itself" in the_problem("steps: [{name: a, handler: input, needs: [a]}]")[2]
    text = "steps: [{name: a, handler: input, with: {x: '${steps.a.result}'}}]"
    assert "its own result" in the_problem(text)[2]


def test_a_double_name_says_where_the_first_one_is():
    text = "steps:\n  - {name: a, handler: input}\n  - {name: a, handler: input}\n"
    line, _, message = the_problem(text)
    assert line == 3
    assert "line 2" in message


@pytest.mark.parametrize(
    ("step", "text"),
    [
        ("{handler: input}", 'Step 1: "name" is missing'),
        ("{name: 3, handler: input}", '"name" must be a text'),
        ("{name: 'a b', handler: input}", '"a b" is not a name'),
        ("{name: -a, handler: input}", '"-a" is not a name'),
        (f"{{name: {'x' * 201}, handler: input}}", "is not a name"),
        ("{name: a}", '"handler" is missing'),
        ("{name: a, handler: pyton}", 'Did you mean "python"?'),
        ("{name: a, handler: input, needs: [b]}", 'there is no step "b" that it could need'),
        ("{name: a, handler: input, needs: 3}", '"needs" must be a list'),
        ("{name: a, handler: input, with: {x: '${steps.b.result}'}}", 'there is no step "b"'),
        ("{name: a, handler: input, with: {x: '${params.b}'}}", 'there is no parameter "b"'),
        ("{name: a, handler: input, with: {x: '${item}'}}", "only a step with for_each has it"),
        ("{name: a, handler: input, with: {x: '${run.owner}'}}", 'a run has no "owner"'),
        ("{name: a, handler: input, with: {x: '${sekrets.x}'}}", '"sekrets" is not known'),
        ("{name: a, handler: input, with: {x: ['${']}}", "never closes it"),
        ("{name: a, handler: input, with: 3}", '"with" must be an object'),
        ("{name: a, handler: input, when: 'x ='}", '"when": "x" is not a word'),
        ("{name: a, handler: input, when: '${item} == 1', for_each: [1]}", "only a step with"),
        ("{name: a, handler: input, for_each: 'x ${params.k}'}", "must be a list, or one"),
        ("{name: a, handler: input, for_each: {a: 1}}", "must be a list, or one"),
        ("{name: a, handler: python, with: {x: 1}}", 'needs "callable"'),
        ("{name: a, handler: python, with: {callable: '${params.k}'}}", "can't hold a reference"),
        ("{name: a, handler: shell, with: {argv: [ls, {a: 1}]}}", '"argv" holds an object'),
        ("{name: a, handler: http, with: {url: /x}}", "must begin with http"),
        ("{name: a, handler: sleep, with: {seconds: 1e9}}", "between 0 and 604800"),
        ("{name: a, handler: sleep, with: {second: 1, seconds: 1}}", 'Did you mean "seconds"?'),
        ("{name: a, handler: input, timeout: -1}", "must be more than nothing"),
        ("{name: a, handler: input, retry: {limit: 1000}}", "between 0 and 100"),
        ("{name: a, handler: input, retry: {max: 3}}", 'Did you mean "limit"?'),
        ("just a text", "Step 1: must be an object"),
    ],
)
def test_a_wrong_step_says_what_is_wrong(step, text):
    messages = [
        message for _, _, message in problems_of(f"parameters: {{k: {{}}}}\nsteps: [{step}]")
    ]
    assert any(text in message for message in messages), messages


@pytest.mark.parametrize(
    ("top", "text"),
    [
        ("labels: {'a b': x}", "is not a label"),
        ("labels: {a: [1]}", "must be a text"),
        ("max_parallel: 0", "between 1 and"),
        ("max_parallel: 1.5", "whole number"),
        ("max_parallel: true", "must be a number"),
        ("failure_policy: continu", 'Did you mean "continue"?'),
        ("timeout: soon", "seconds as a number"),
        ("timeout: 5000d", "at most ten years"),
        ("outputs: ${params.x}", "must be an object or a list"),
        ("outputs: {a: '${steps.b.result}'}", 'there is no step "b"'),
        ("parameters: {k: {type: whole}}", "type"),
        ("parameters: {k: {defalt: 1}}", 'Did you mean "default"?'),
        ("parameters: {k: {type: integer, default: x}}", "must be a whole number"),
        ("parameters: {k: {default: 1, required: true}}", "makes no sense beside a default"),
        ("parameters: {k: {pattern: '(a+)+'}}", "take for ever"),
        ("parameters: {'k k': {}}", "is not a name"),
        ("name: x", 'Did you mean "title"?'),
        ("title: 3", '"title" must be a text'),
    ],
)
def test_a_wrong_key_of_the_workflow_says_what_is_wrong(top, text):
    messages = [m for _, _, m in problems_of(f"{top}\nsteps: [{{name: a, handler: input}}]")]
    assert any(text in message for message in messages), messages


def test_one_reference_fits_any_argument():
    text = """\
parameters: {x: {}}
steps:
  - {name: a, handler: shell, with: {argv: "${params.x}", env: "${params.x}"}}
  - {name: b, handler: sleep, with: {seconds: "${params.x}"}}
  - {name: c, handler: http, with: {url: "${params.x}", expect: "${params.x}"}}
"""
    assert len(graph_of(text).steps) == 3


def test_a_wrong_reference_in_a_for_each_list_is_found():
    text = "steps: [{name: a, handler: input, for_each: [1, {x: '${params.none}'}]}]"
    assert the_problem(text)[1] == "steps.a.for_each[1].x"


@pytest.mark.parametrize("text", ["- a", "text", "3", '["a"]'])
def test_what_is_no_object_is_one_problem(text):
    assert "A definition is an object with steps" in the_problem(text)[2]


def test_a_dotted_step_can_be_referred_to():
    text = """\
steps:
  - {name: v1.2, handler: input}
  - {name: a.result, handler: input, with: {x: "${steps.v1.2.result}"}}
  - {name: end, handler: input, with: {x: '${steps["a.result"].result.x}'}}
"""
    assert [step.needs for step in graph_of(text).steps] == [(), ("v1.2",), ("a.result",)]


def test_at_most_fifty_problems_are_listed():
    text = "steps:\n" + "".join(f"  - {{name: s{n}, handler: no}}\n" for n in range(500))
    found = problems_of(text)
    assert len(found) == 51
    assert "first 50" in found[-1][2]


def test_ten_thousand_steps_are_read_in_seconds_and_one_more_is_refused():
    def chain(length):
        lines = ["steps:", "- {name: s0, handler: input}"]
        lines += [
            f"- {{name: s{n}, handler: input, with: {{x: '${{steps.s{n - 1}.result}}'}}}}"
            for n in range(1, length)
        ]
        return "\n".join(lines)

    assert len(graph_of(chain(10_000)).steps) == 10_000
    assert any("the most is 10,000" in message for _, _, message in problems_of(chain(10_001)))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("steps:\n- name: a", "workflowhub"),
        ('{\n  "title": "x",\n  "steps": []}', "workflowhub"),
        ('{"steps": [{"name": "x"}]}', "workflowhub"),
        ("title: x\nsteps: [", "workflowhub"),
        ('{"workflow_name": "x", "steps": []}', "bvbrc"),
        ('{"steps": [{"step_name": "x"}], "workflow_name": "y"}', "bvbrc"),
        ("from airflow import DAG\n", None),
        ("", None),
        ('{"nodes": []}', None),
    ],
)
def test_the_format_is_guessed(text, name):
    assert guess(text) == name


def test_an_unknown_format_is_an_error_of_the_caller():
    with pytest.raises(KeyError):
        parse("steps: []", "cwl")
