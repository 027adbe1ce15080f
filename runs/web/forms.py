"""Forms that follow from a declaration: a workflow's parameters from their JSON Schema, an engine's
settings from its adapter's fields, labels from lines. They only turn texts into values and back;
what is right is decided by runs.actions, whose errors are put beside the fields again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engines.config import ConfigField, FieldType
from engines.parameters import TYPES

LONG_TEXT = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One control of a form. `widget`: text, number, checkbox, select, multi, lines, json, area or
    secret. `value` is what the control shows: a text, a bool, or a list for `multi`."""

    name: str
    label: str
    widget: str
    value: Any = ""
    kind: str = ""
    help: str = ""
    required: bool = False
    placeholder: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    least: Any = None
    most: Any = None
    step: str = "any"
    error: str = ""
    # Only a secret: whether a value is kept already.
    kept: bool = False


class BadValues(ValueError):
    """Texts that can't be turned into values. `errors`: name -> sentence."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__("; ".join(errors.values()))
        self.errors = dict(errors)


def properties_of(schema: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The parameters that a schema names, in its order."""
    found = schema.get("properties")
    if not isinstance(found, Mapping):
        return {}
    return {str(name): sub if isinstance(sub, Mapping) else {} for name, sub in found.items()}


def takes_others(schema: Mapping[str, Any]) -> bool:
    """Whether parameters may be given that the schema doesn't name."""
    return schema.get("additionalProperties", True) is not False


def parameter_fields(
    schema: Mapping[str, Any], values: Mapping[str, Any], errors: Mapping[str, str]
) -> list[Field]:
    """A control for each parameter. `errors` by path: what is below a parameter is told at it."""
    required = schema.get("required")
    needed = set(required) if isinstance(required, (list, tuple)) else set()
    return [
        replace(
            _parameter(name, sub, values.get(name, sub.get("default"))),
            required=name in needed and "default" not in sub,
            error=_error_of(name, errors),
        )
        for name, sub in properties_of(schema).items()
    ]


def read_parameters(schema: Mapping[str, Any], posted: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a posted form holds (a QueryDict; controls are called `p.<name>`). An empty
    control is left out, so its default counts. Raises BadValues."""
    values: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for name, sub in properties_of(schema).items():
        field = _parameter(name, sub, None)
        try:
            value = _read(field, sub, posted, f"p.{name}")
        except ValueError as error:
            errors[name] = str(error)
            continue
        if value is not None:
            values[name] = value
    if errors:
        raise BadValues(errors)
    return values


def posted_fields(schema: Mapping[str, Any], posted: Any, errors: Mapping[str, str]) -> list[Field]:
    """The controls again, with what the person typed and what is wrong with it."""
    return [
        replace(
            field,
            value=posted.getlist(f"p.{field.name}")
            if field.widget == "multi"
            else f"p.{field.name}" in posted
            if field.widget == "checkbox"
            else posted.get(f"p.{field.name}", ""),
        )
        for field in parameter_fields(schema, {}, errors)
    ]


def read_json(text: str) -> dict[str, Any]:
    """An object of parameters from a text. Raises BadValues saying where it stops being JSON."""
    if not text.strip():
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        said = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deep"
        raise BadValues({"": f"is not JSON{where}: {said}."}) from None
    if not isinstance(value, dict):
        raise BadValues({"": "must be an object of names and values."})
    return value


def read_labels(text: str) -> list[dict[str, str]]:
    """`key=value` pairs, one a line or parted by commas, as runs.labels takes them."""
    pairs = [pair.strip() for line in text.splitlines() for pair in line.split(",")]
    parts = [pair.partition("=") for pair in pairs if pair]
    return [{"key": key.strip(), "value": value.strip()} for key, _, value in parts]


def labels_text(labels: Mapping[str, str]) -> str:
    return "\n".join(f"{key}={value}" if value else key for key, value in sorted(labels.items()))


def config_fields(
    declared: Sequence[ConfigField],
    values: Mapping[str, Any],
    errors: Mapping[str, str],
    *,
    kept: frozenset[str] = frozenset(),
) -> list[Field]:
    """A control for each setting of an engine. A secret never shows its value, only that there is
    one (`kept`)."""
    widgets = {
        FieldType.INTEGER: "number",
        FieldType.NUMBER: "number",
        FieldType.BOOLEAN: "checkbox",
        FieldType.CHOICE: "select",
        FieldType.SECRET: "secret",
    }
    return [
        Field(
            name=field.name,
            label=field.label,
            widget=widgets.get(field.type, "text"),
            value="" if field.secret else _shown(values.get(field.name, field.default)),
            kind=field.type,
            help=field.help,
            required=field.required,
            choices=field.choices,
            least=field.least,
            most=field.most,
            step="1" if field.type == FieldType.INTEGER else "any",
            error=errors.get(field.name, ""),
            kept=field.name in kept,
        )
        for field in declared
    ]


def read_config(declared: Sequence[ConfigField], posted: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a posted form holds (controls `c.<name>`). A text that is no number is
    passed on: the action says what is wrong with it. A secret left empty is kept, one whose box
    `clear.<name>` is ticked is removed."""
    values: dict[str, Any] = {}
    for field in declared:
        text = str(posted.get(f"c.{field.name}", ""))
        if field.type == FieldType.BOOLEAN:
            values[field.name] = f"c.{field.name}" in posted
        elif field.secret and f"clear.{field.name}" in posted:
            values[field.name] = None
        elif field.type in {FieldType.INTEGER, FieldType.NUMBER} and text.strip():
            try:
                values[field.name] = _number(text, whole=field.type == FieldType.INTEGER)
            except ValueError:
                values[field.name] = text
        else:
            values[field.name] = text
    return values


def _parameter(name: str, schema: Mapping[str, Any], value: Any) -> Field:
    label = str(schema.get("title") or name)
    kind = schema.get("type")
    field = Field(
        name=name,
        label=label,
        widget="json",
        value="" if value is None else json.dumps(value, indent=2, ensure_ascii=False),
        kind=TYPES.get(kind, "JSON") if isinstance(kind, str) else "JSON",
        help=str(schema.get("description") or ""),
    )
    options = schema.get("enum")
    if isinstance(options, list) and options and len(options) <= 1000:
        choices = tuple((json.dumps(option), _shown(option)) for option in options)
        chosen = json.dumps(value) if value is not None else ""
        kinds = f"one of {len(choices)}"
        return replace(field, widget="select", choices=choices, value=chosen, kind=kinds)
    if kind is None:
        shown = "" if value is None else _as_any(value)
        return replace(field, value=shown, kind="a text or JSON")
    if kind == "boolean":
        return _boolean(field, schema, value)
    if kind in {"integer", "number"}:
        return replace(
            field,
            widget="number",
            value=_shown(value),
            least=schema.get("minimum"),
            most=schema.get("maximum"),
            step="1" if kind == "integer" else "any",
        )
    if kind == "string":
        return _text(field, schema, value)
    if kind == "array":
        return _array(field, schema, value)
    return field


def _boolean(field: Field, schema: Mapping[str, Any], value: Any) -> Field:
    if "default" in schema:
        return replace(field, widget="checkbox", value=bool(value))
    choices = (("true", "yes"), ("false", "no"))
    chosen = "" if value is None else json.dumps(bool(value))
    return replace(field, widget="select", choices=choices, value=chosen)


def _text(field: Field, schema: Mapping[str, Any], value: Any) -> Field:
    text = _shown(value)
    long = "\n" in text or len(text) > LONG_TEXT or schema.get("format") == "textarea"
    examples = schema.get("examples")
    hint = _shown(examples[0]) if isinstance(examples, list) and examples else ""
    return replace(field, widget="area" if long else "text", value=text, placeholder=hint)


def _array(field: Field, schema: Mapping[str, Any], value: Any) -> Field:
    items = schema.get("items")
    items = items if isinstance(items, Mapping) else {}
    options = items.get("enum")
    chosen = value if isinstance(value, list) else []
    if isinstance(options, list) and options and len(options) <= 200:
        return replace(
            field,
            widget="multi",
            choices=tuple((json.dumps(option), _shown(option)) for option in options),
            value=[json.dumps(one) for one in chosen],
        )
    if items.get("type") in {"string", "integer", "number"} and all(
        isinstance(one, (str, int, float)) and "\n" not in str(one) for one in chosen
    ):
        return replace(
            field,
            widget="lines",
            value="\n".join(_shown(one) for one in chosen),
            kind=f"{field.kind}, one a line",
        )
    return field


def _read(field: Field, schema: Mapping[str, Any], posted: Any, key: str) -> Any:
    if field.widget == "checkbox":
        return key in posted
    if field.widget == "multi":
        return [_json(text) for text in posted.getlist(key)] or None
    text = str(posted.get(key, "")).replace("\r\n", "\n")
    if not text.strip():
        return None
    if field.widget == "json" and "type" not in schema:
        return _any(text)
    if field.widget in {"select", "json"}:
        return _json(text)
    if field.widget == "number":
        return _number(text, whole=schema.get("type") == "integer")
    if field.widget == "lines":
        kind = schema["items"]["type"]
        lines = [line.strip() for line in text.split("\n") if line.strip()]
        if kind == "string":
            return lines
        return [_number(line, whole=kind == "integer") for line in lines]
    return text


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON: put texts in double quotes.") from None


def _any(text: str) -> Any:
    """A value of whatever type: JSON, or a text that doesn't begin like any."""
    try:
        return _json(text)
    except ValueError:
        if text.lstrip().startswith(("{", "[", '"')):
            raise
        return text.strip()


def _as_any(value: Any) -> str:
    """What `_any` reads as the value."""
    if isinstance(value, str) and value == value.strip():
        try:
            if value and _any(value) == value:
                return value
        except ValueError:
            pass
    return json.dumps(value, indent=2, ensure_ascii=False)


def _number(text: str, *, whole: bool) -> int | float:
    try:
        return int(text) if whole else float(text)
    except ValueError:
        said = "a whole number" if whole else "a number"
        raise ValueError(f'must be {said}, not "{text[:60]}".') from None


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _error_of(name: str, errors: Mapping[str, str]) -> str:
    if name in errors:
        return errors[name]
    for path, text in errors.items():
        if path.startswith((f"{name}.", f"{name}[")):
            return f"{path[len(name) :].lstrip('.')} {text}"
    return ""
