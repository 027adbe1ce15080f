import pytest

from engines.parameters import ParameterErrors, check_schema, clean_parameters

SCHEMA = {
    "type": "object",
    "properties": {
        "genome": {"type": "string", "minLength": 1},
        "k": {"type": "integer", "minimum": 1, "maximum": 31, "default": 21},
        "mode": {"enum": ["fast", "exact"], "default": "fast"},
        "filter": {
            "type": "object",
            "properties": {"quality": {"type": "number", "default": 0.5}},
            "additionalProperties": False,
        },
        "samples": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
    },
    "required": ["genome"],
    "additionalProperties": False,
}


def errors_of(values, schema=SCHEMA):
    with pytest.raises(ParameterErrors) as caught:
        clean_parameters(schema, values)
    return caught.value.errors


def test_defaults_are_filled_in_at_the_top_and_in_nested_objects():
    assert clean_parameters(SCHEMA, {"genome": "phix.fa", "filter": {}}) == {
        "genome": "phix.fa",
        "k": 21,
        "mode": "fast",
        "filter": {"quality": 0.5},
    }


def test_the_values_given_are_not_changed():
    values = {"genome": "phix.fa"}
    clean_parameters(SCHEMA, values)
    assert values == {"genome": "phix.fa"}


def test_an_empty_schema_takes_anything():
    assert clean_parameters({}, {"a": [1, {"b": None}]}) == {"a": [1, {"b": None}]}


def test_every_wrong_field_is_named_with_a_sentence():
    assert errors_of({"k": 99, "mode": "slow", "samples": ["a", 2], "colour": 1}) == {
        "genome": "is required.",
        "k": "must be at most 31.",
        "colour": "is not a parameter.",
        "mode": 'must be one of "fast", "exact".',
        "samples[1]": "must be a text, not 2.",
    }


def test_an_unknown_parameter_gets_the_nearest_name():
    assert errors_of({"genom": "x"})["genom"] == 'is not a parameter. Did you mean "genome"?'


def test_true_is_not_a_whole_number():
    assert errors_of({"genome": "x", "k": True}) == {"k": "must be a whole number, not true."}


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), "a\x00b", "\ud800", 2**70, object(), {1: 2}]
)
def test_what_no_database_keeps_is_refused_even_without_a_schema(value):
    assert list(errors_of({"a": value}, {})) == ["a"]


def test_a_value_nested_too_deep_is_refused():
    value = []
    for _ in range(200):
        value = [value]
    assert "nested deeper" in str(errors_of({"a": value}, {}))


def test_parameters_that_are_no_object_are_refused():
    assert errors_of(["a"]) == {"": "must be an object of names and values."}


def test_a_reference_to_elsewhere_is_never_fetched():
    schema = {"properties": {"a": {"$ref": "http://127.0.0.1:9/schema.json"}}}
    assert "" in errors_of({"a": 1}, schema)
    assert check_schema(schema) == [
        ("properties.a.$ref", "may only refer to a part of this schema (#/…).")
    ]


def test_a_schema_that_refers_to_itself_for_ever_ends_in_an_error():
    assert "" in errors_of({"a": 1}, {"$ref": "#"})


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "whole"},
        {"properties": {"a": {"minimum": "x"}}},
        {"properties": {"a": {"enum": 3}}},
    ],
)
def test_a_schema_that_is_none_refuses_the_values_instead_of_raising(schema):
    assert "can't be checked" in errors_of({"a": 1}, schema)[""]


def test_a_good_schema_has_no_problems():
    assert check_schema(SCHEMA) == []
    assert check_schema({"properties": {"pattern": {"type": "string"}}}) == []


def test_a_bad_schema_is_named_by_its_path():
    assert check_schema({"properties": {"k": {"type": "whole"}}})[0][0] == "properties.k.type"


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*", "((ab)?c*)+", "(?:x{2,}){3,}", "("])
def test_a_pattern_that_can_take_for_ever_is_refused(pattern):
    assert check_schema({"properties": {"a": {"pattern": pattern}}})


@pytest.mark.parametrize(
    "pattern", ["^[a-z(+)]+$", r"^\d{4}-\d\d$", "^(ab)+$", "^(a|b)$", "(?:a+)b"]
)
def test_an_ordinary_pattern_is_taken(pattern):
    assert check_schema({"properties": {"a": {"pattern": pattern}}}) == []
