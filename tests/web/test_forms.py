"""Forms made from declarations."""

from typing import Any

import pytest
from django.http import QueryDict

from engines.config import ConfigField, FieldType
from runs.web.forms import (
    BadValues,
    config_fields,
    labels_text,
    parameter_fields,
    posted_fields,
    read_config,
    read_json,
    read_labels,
    read_parameters,
)

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["name", "table"],
    "properties": {
        "name": {"type": "string", "title": "Name", "description": "Of the sample."},
        "table": {"enum": ["standard", "bacterial"]},
        "depth": {"type": "integer", "default": 30, "minimum": 1},
        "share": {"type": "number"},
        "circular": {"type": "boolean", "default": True},
        "maybe": {"type": "boolean"},
        "words": {"type": "array", "items": {"type": "string"}},
        "sides": {"type": "array", "items": {"enum": ["left", "right"]}},
        "more": {"type": "object"},
    },
}


def posted(**values: Any) -> QueryDict:
    data = QueryDict(mutable=True)
    for name, value in values.items():
        data.setlist(f"p.{name}", value if isinstance(value, list) else [value])
    return data


def test_each_type_gets_its_control() -> None:
    fields = {field.name: field for field in parameter_fields(SCHEMA, {}, {})}
    assert {name: field.widget for name, field in fields.items()} == {
        "name": "text",
        "table": "select",
        "depth": "number",
        "share": "number",
        "circular": "checkbox",
        "maybe": "select",
        "words": "lines",
        "sides": "multi",
        "more": "json",
    }
    assert fields["name"].required
    assert fields["name"].help == "Of the sample."
    assert fields["depth"].value == "30"
    assert fields["depth"].least == 1
    assert not fields["depth"].required
    assert fields["circular"].value is True


def test_values_come_back_in_their_types() -> None:
    data = posted(
        name="x",
        table='"bacterial"',
        depth="12",
        share="0.5",
        words="a\r\nb\r\n",
        sides=['"left"'],
        more='{"k": [1]}',
        maybe="false",
    )
    assert read_parameters(SCHEMA, data) == {
        "name": "x",
        "table": "bacterial",
        "depth": 12,
        "share": 0.5,
        "circular": False,
        "maybe": False,
        "words": ["a", "b"],
        "sides": ["left"],
        "more": {"k": [1]},
    }


def test_what_is_left_empty_is_left_out() -> None:
    assert read_parameters(SCHEMA, posted(name="x", depth="")) == {"name": "x", "circular": False}


def test_what_is_no_number_is_told_at_its_field() -> None:
    with pytest.raises(BadValues) as caught:
        read_parameters(SCHEMA, posted(depth="many", more="{"))
    assert caught.value.errors == {
        "depth": 'must be a whole number, not "many".',
        "more": "is not JSON: put texts in double quotes.",
    }


def test_what_was_typed_stays_beside_its_error() -> None:
    fields = {
        field.name: field
        for field in posted_fields(SCHEMA, posted(depth="many"), {"depth": "must be a number."})
    }
    assert fields["depth"].value == "many"
    assert fields["depth"].error == "must be a number."
    assert fields["circular"].value is False


def test_an_error_inside_a_parameter_is_told_at_it() -> None:
    fields = {f.name: f for f in parameter_fields(SCHEMA, {}, {"words[1]": "must be a text."})}
    assert fields["words"].error == "[1] must be a text."


@pytest.mark.parametrize("schema", [{}, {"properties": 3}, {"properties": {"a": None}}])
def test_an_odd_schema_breaks_nothing(schema: dict[str, Any]) -> None:
    read_parameters(schema, posted())
    parameter_fields(schema, {}, {})


def test_json_is_an_object() -> None:
    assert read_json('{"a": 1}') == {"a": 1}
    assert read_json("  ") == {}
    for text in ("[1]", "{", "[" * 100_000):
        with pytest.raises(BadValues):
            read_json(text)


def test_labels_are_lines_or_parted_by_commas() -> None:
    assert read_labels("a=1, b=2\nc\n\n") == [
        {"key": "a", "value": "1"},
        {"key": "b", "value": "2"},
        {"key": "c", "value": ""},
    ]
    assert labels_text({"b": "2", "a": ""}) == "a\nb=2"


FIELDS = (
    ConfigField(name="url", label="URL", type=FieldType.URL, required=True),
    ConfigField(name="slots", label="Slots", type=FieldType.INTEGER, default=4),
    ConfigField(name="verify", label="Verify", type=FieldType.BOOLEAN, default=True),
    ConfigField(name="token", label="Token", type=FieldType.SECRET),
)


def test_a_secret_never_shows_its_value() -> None:
    fields = config_fields(FIELDS, {"token": "hunter2"}, {}, kept=frozenset({"token"}))
    secret = next(field for field in fields if field.name == "token")
    assert secret.value == ""
    assert secret.kept


def test_settings_come_back_in_their_types() -> None:
    data = QueryDict("c.url=https://a.example&c.slots=8&c.token=")
    assert read_config(FIELDS, data) == {
        "url": "https://a.example",
        "slots": 8,
        "verify": False,
        "token": "",
    }
    cleared = QueryDict("c.url=https://a.example&c.slots=x&clear.token=on")
    assert read_config(FIELDS, cleared)["token"] is None
    assert read_config(FIELDS, cleared)["slots"] == "x"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("http://127.0.0.1/", "http://127.0.0.1/"),
        ("two words", "two words"),
        ("7", '"7"'),
        ("true", '"true"'),
        (" padded ", '" padded "'),
        ("[draft]", '"[draft]"'),
        ("", '""'),
        (7, "7"),
        ({"a": [1]}, '{\n  "a": [\n    1\n  ]\n}'),
    ],
)
def test_a_parameter_of_any_type_is_shown_as_what_gives_it_back(value: Any, shown: str) -> None:
    schema = {"properties": {"x": {"default": value}}}
    [field] = parameter_fields(schema, {}, {})
    assert field.value == shown
    assert read_parameters(schema, posted(x=shown)) == {"x": value}


def test_what_begins_like_json_must_be_json() -> None:
    with pytest.raises(BadValues, match="is not JSON"):
        read_parameters({"properties": {"x": {}}}, posted(x='{"a": '))
