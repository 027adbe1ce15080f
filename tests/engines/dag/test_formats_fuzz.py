"""Whatever is posted, reading ends, and says what is wrong instead of raising."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines.dag.formats import FORMATS, guess, parse
from engines.dag.formats.document import load
from engines.dag.formats.events import DocumentError

# The machine may be busy: what counts is that each example ends, not how fast.
FUZZ = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
WORDS = st.sampled_from(
    """title name steps handler with needs when for_each repeat trigger until max all_done retry
    timeout limit delay parameters labels outputs type default required pattern enum
    workflow_name base_context step_name app params depends_on workflow_outputs dag nodes id
    dependencies config input overrides callable argv url seconds a b python shell http
    on_success on_failure""".split()  # noqa: SIM905
)
TEXTS = st.one_of(
    WORDS,
    st.text(max_size=20),
    st.sampled_from(
        [
            "${params.a}",
            "${steps.a.result.b[0]}",
            "${item}",
            "${",
            "$${",
            "(a+)+",
            "5m",
            "a and",
            "{{ a }}",
            "{{ a.output.b[0] }}",
            "{{ input.a }}",
            "{{",
            "${{ a }}",
            '{{ "a" }}',
        ]
    ),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | TEXTS, inner, max_size=6),
    max_leaves=25,
)
STEPS = st.lists(st.dictionaries(WORDS, VALUES, max_size=6), max_size=4)
NODES = st.lists(
    st.fixed_dictionaries(
        {"id": st.sampled_from(["a", "b", "c.d"]), "handler": WORDS | TEXTS},
        optional={"config": VALUES, "dependencies": st.lists(TEXTS, max_size=2) | VALUES},
    ),
    max_size=4,
)
DOCUMENTS = (
    VALUES
    | st.builds(
        lambda top, steps: {**top, "steps": steps},
        st.dictionaries(WORDS, VALUES, max_size=5),
        STEPS,
    )
    | st.builds(lambda nodes: {"name": "a", "dag": {"nodes": nodes}}, NODES)
)
YAMLISH = st.lists(
    st.sampled_from(
        ["steps:", "- ", "  ", "\n", "name: a", "{", "}", "[", "]", "&a ", "*a", "!!str ", "<<: ",
         "? ", ": ", "|", ">", "'", '"', "#", "---", "...", "%YAML 1.2", "\t", "\x85", "\ufeff",
         "0x1f", "1e999", ".nan", "~", "\\u0000"]
    ),
    max_size=40,
).map("".join)  # fmt: skip


def check(text):
    for name in FORMATS:
        parsed = parse(text, name)
        assert (parsed.graph is None) == bool(parsed.problems)
        lines = len(text.splitlines()) + 2  # YAML has more line ends than \n
        for problem in (*parsed.problems, *parsed.warnings):
            assert problem.message
            assert 0 <= problem.line <= lines
    assert guess(text) in {None, *FORMATS}


@FUZZ
@given(st.text(max_size=200) | YAMLISH)
def test_any_text_is_read_or_refused(text):
    check(text)


@FUZZ
@given(DOCUMENTS)
def test_any_document_is_read_or_refused(value):
    check(json.dumps(value))


@FUZZ
@given(VALUES.map(lambda value: [value]))
def test_json_is_read_as_the_standard_library_reads_it(value):
    text = json.dumps(value, indent=1)
    try:
        document = load(text)
    except DocumentError:
        return  # what JSON or a database can't hold
    assert document.value == json.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 500_000,
        "{" * 500_000,
        '{"a":' * 100_000,
        "- " * 400_000,
        "? " * 400_000,
        "a: " * 300_000,
        "&a " * 300_000,
        "!" * 500_000,
        "'" * 500_001,
        '"' + "\\" * 500_001,
        "9" * 900_000,
        "a: " + "9" * 900_000,
        "#" * 900_000,
        "\n" * 900_000,
        " " * 900_000 + "{",
        "x" * 1_000_001,
        "steps: [" + "{}," * 150_000 + "]",
        "a: &a [" + "x," * 600 + "]\nb: [*a, *a]",
        "steps: [{name: a, handler: input, with: {x: '" + "${" * 400_000 + "'}}]",
        "steps: [{name: a, handler: input, with: {x: '" + "${params.a}" * 80_000 + "'}}]",
        "steps: [{name: a, handler: input, when: '" + "(" * 1900 + "'}]",
        '{"steps": [' + '{"workflow_name":' * 40 + "1" + "}" * 40 + "]}",
        "{name: a, dag: {nodes: [{id: a, handler: b, config: {x: '" + "{{" * 400_000 + "'}}]}}",
        "{name: a, dag: {nodes: [{id: a, handler: b, config: {x: '" + "{{a}}" * 40_000 + "'}}]}}",
        '{name: a, dag: {nodes: [{id: a, handler: b, config: {x: "' + "{{'a'}}" * 40_000 + '"}}]}',
    ],
    ids=lambda text: text[:12],
)
def test_large_and_deep_texts_are_refused_in_good_time(text):
    for name in FORMATS:
        assert parse(text, name).problems
    guess(text)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a: 1\nb: 2\na: 3", 3, '"a" stands here twice'),
        ('{"a": 1,\n "a": 2}', 2, '"a" stands here twice'),
        ("a: 1\nb: !!python/object:os.system x", 2, "tag"),
        ("a: 1\nb: .nan", 2, "JSON can hold"),
        ('{"a": 1,\n"b": NaN}', 2, "JSON can hold"),
        ('{"a": 1,\n"b": 1e999}', 2, "too large"),
        ("a: 1\nb: 99999999999999999999", 2, "64 bits"),
        ("a: 1\nb: \x00", 2, "NUL"),
        ('a: 1\nb: "\\0"', 2, "NUL"),
        ('{"a": "\\ud800"}', 1, "surrogate"),
        ("a: 1\nb: [", 3, "not YAML"),
        ('{"a": 1\n"b": 2}', 2, "expected a comma"),
        ("a: 1\n---\nb: 1", 2, "one document"),
        ("a: &x [*x]", 1, "part of"),
        ("a: 1\n? [b]\n: c", 2, "key must be a text"),
        ("", 1, "empty"),
        ("# nothing", 1, "empty"),
    ],
)
@pytest.mark.parametrize("form", FORMATS)
def test_a_text_that_is_no_document_says_why_and_where_in_every_format(form, text, line, said):
    (problem,) = parse(text, form).problems
    assert said in problem.message
    assert problem.line in {line, line - 1} if said == "not YAML" else problem.line == line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: " + "x" * 1_000_000, "The definition has 1,000,003 bytes; the most is 1,000,000"),
        ('{"a": "' + "ä" * 500_000 + '"}', "bytes; the most is 1,000,000"),
        ("[" * 51 + "]" * 51, "Nested deeper than 50 levels"),
        ('{"a":' * 51 + "1" + "}" * 51, "Nested deeper than 50 levels"),
        ("a: &a [[]]\n" * 1 + "b: " + "[" * 48 + "*a" + "]" * 48, "nest deeper than 50 levels"),
        ("[" + "1," * 200_001 + "1]", "more than 200,000 parts"),
        ("a: &a [" + "1," * 300 + "]\nb: [*a, *a, *a, *a]", "repeat"),
        ("a: &a [1]\n" + "".join(f"b{n}: &b{n} [{', '.join([f'*b{n - 1}' if n else '*a'] * 9)}]\n"
         for n in range(9)), "repeat"),
    ],
    ids=lambda text: text[:20],
)  # fmt: skip
@pytest.mark.parametrize("form", FORMATS)
def test_the_limits_hold_for_every_format(form, text, said):
    (problem,) = parse(text, form).problems
    assert said in problem.message


def test_yaml_words_are_those_of_yaml_1_2():
    value = load("[no, on, yes, 2020-01-01, 12:30, 0o17, 010, 1_000, null, True, 1e3, '1']").value
    assert value == [
        "no", "on", "yes", "2020-01-01", "12:30", 15, 10, "1_000", None, True, 1000.0, "1",
    ]  # fmt: skip


def test_anchors_can_be_used_in_moderation():
    assert load("a: &a {x: 1}\nb: *a\nc: [*a]").value == {
        "a": {"x": 1},
        "b": {"x": 1},
        "c": [{"x": 1}],
    }
