"""The parameters and labels that a definition declares."""

from collections.abc import Mapping
from typing import Any

from engines.dag.formats.report import Report, Section, kind
from engines.parameters import ParameterErrors, check_schema, clean_parameters
from engines.selectors import LABEL_KEY

MAX_NAME = 200
MAX_PARAMETERS = 500
MAX_LABELS = 50
KEYWORDS = (
    "type",
    "title",
    "description",
    "default",
    "required",
    "examples",
    "enum",
    "const",
    "format",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "items",
    "minItems",
    "maxItems",
    "uniqueItems",
    "properties",
    "additionalProperties",
    "anyOf",
)
MEANT = {
    "min": "minimum",
    "max": "maximum",
    "choices": "enum",
    "options": "enum",
    "values": "enum",
    "regex": "pattern",
    "value": "default",
    "label": "title",
    "help": "description",
    "optional": "required",
}


def read_parameters(report: Report, top: Section) -> dict[str, Any]:
    """`parameters: {name: {type, default, required: true, …}}` as a JSON Schema of an object that
    takes nothing else."""
    declared = top.mapping("parameters")
    if len(declared) > MAX_PARAMETERS:
        top.wrong("parameters", f"are {len(declared)}; the most is {MAX_PARAMETERS}.")
    properties: dict[str, Any] = {}
    required: list[str] = []
    for name, value in declared.items():
        path = ("parameters", name)
        properties[name] = {}
        if not is_name(name):
            report.problem(path, f'"{name[:200]}" is not a name: use letters, digits, _ and -.')
            continue
        if value is None:
            continue
        if not isinstance(value, Mapping):
            report.problem(path, f"must be an object like {{default: {value}}}, not {kind(value)}.")
            continue
        one = Section(report, value, path, KEYWORDS, MEANT)
        needed = value.get("required", False)
        # Within an object `required` keeps the meaning of JSON Schema: the names of its properties.
        schema = {key: item for key, item in value.items() if key != "required"}
        if isinstance(needed, list):
            schema["required"] = needed
        elif not isinstance(needed, bool):
            one.wrong("required", f"must be true or false, not {kind(needed)}.")
        elif needed:
            required.append(name)
            if "default" in schema:
                one.wrong("required", "makes no sense beside a default: remove one of them.")
        if _check(report, path, schema):
            properties[name] = schema
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    return schema | {"required": required} if required else schema


def read_labels(report: Report, top: Section) -> dict[str, str]:
    """`labels: {key: value}`; numbers and booleans are taken as texts."""
    labels: dict[str, str] = {}
    declared = top.mapping("labels")
    if len(declared) > MAX_LABELS:
        top.wrong("labels", f"are {len(declared)}; the most is {MAX_LABELS}.")
    for key, value in declared.items():
        path = ("labels", key)
        if len(key) > MAX_NAME or not LABEL_KEY.match(key):
            report.problem(path, f'"{key[:100]}" is not a label: use letters, digits, - _ . and /.')
        elif value is not None and not isinstance(value, (str, int, float)):
            report.problem(path, f"a label's value must be a text, not {kind(value)}.")
        elif len(text := label_text(value)) > MAX_NAME:
            report.problem(path, f"the label has {len(text)} characters; the most is {MAX_NAME}.")
        else:
            labels[key] = text
    return labels


def label_text(value: Any) -> str:
    """A label's value as a text: nothing is empty, true is `true`."""
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def is_name(name: str) -> bool:
    """Whether a parameter may be called so: what a reference can spell with a dot."""
    return 0 < len(name) <= MAX_NAME and name.isascii() and name.replace("-", "_").isidentifier()


def _check(report: Report, path: tuple[str, str], schema: Mapping[str, Any]) -> bool:
    wrong = check_schema(schema)
    for inner, text in wrong:
        where = f'"{inner}" ' if inner else ""
        report.problem((*path, *inner.split(".")[:1]), f"{where}{text}")
    if wrong or "default" not in schema:
        return not wrong
    try:
        clean_parameters({"properties": {"default": dict(schema)}}, {"default": schema["default"]})
    except ParameterErrors as error:
        for inner, text in error.errors.items():
            report.problem((*path, "default"), f'"{inner}" {text}')
    return True
