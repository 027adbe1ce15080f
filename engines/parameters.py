"""The parameters of a run: checked against a workflow's JSON Schema, field by field, with sentences
that a form can show beside the field. Pure; called by the actions that start runs and by the
definition formats."""

import math
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, UnknownType, ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable

MAX_DEPTH = 50
MAX_INTEGER = 2**63 - 1
MAX_PATTERN = 200
MAX_WORDS = 300  # as many as a suggestion looks at

# What a JSON Schema calls a type -> what people call it.
TYPES = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


class ParameterErrors(ValueError):
    """`errors`: path of a parameter, like `samples[0].name`, -> a sentence without its subject,
    like `must be a whole number.` The path "" is the parameters as a whole."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{path or 'parameters'}: {t}" for path, t in errors.items()))
        self.errors = dict(errors)


def clean_parameters(schema: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with the schema's defaults filled in, at the top and in nested objects.

    An empty schema takes anything that JSON can hold. Raises ParameterErrors naming every wrong
    field; also for what no database keeps (NaN, NUL, integers beyond 64 bits, too deep a nesting).
    """
    if not isinstance(values, Mapping):
        raise ParameterErrors({"": "must be an object of names and values."})
    unfit = dict(unfit_values(values))
    if unfit:
        raise ParameterErrors(unfit)
    merged: dict[str, Any] = _with_defaults(schema, values)
    if not schema:
        return merged
    # The empty registry keeps `$ref` from fetching anything.
    validator = Draft202012Validator(schema, registry=Registry())
    errors: dict[str, str] = {}
    try:
        for error in validator.iter_errors(merged):
            for path, text in _sentences(error):
                errors.setdefault(path, text)
    except (Unresolvable, UnknownType, RecursionError, re.error, TypeError, ValueError):
        # A schema that an engine brought may be none: that is no fault of the values' sender.
        errors[""] = "can't be checked: the workflow's schema of its parameters is not right."
    if errors:
        raise ParameterErrors(dict(sorted(errors.items())))
    return merged


def check_schema(schema: Any) -> list[tuple[str, str]]:
    """What is wrong with a JSON Schema (draft 2020-12): (path, sentence) pairs, none if it is fine.

    Refuses also what is valid but dangerous: references to elsewhere, and patterns that can take
    exponential time.
    """
    if not isinstance(schema, (Mapping, bool)):
        return [("", "must be an object.")]
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        return [(join_path(error.absolute_path), _sentence(error))]
    except RecursionError:
        return [("", "is nested too deep.")]
    return list(_dangers(schema, (), 0))


def join_path(parts: Any) -> str:
    """('samples', 0, 'name') -> `samples[0].name`."""
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def suggestion(word: str, known: Any) -> str:
    """` Did you mean "x"?` for the nearest of the known words, or nothing."""
    near = get_close_matches(word[:100], sorted(known)[:MAX_WORDS], n=1, cutoff=0.6)
    return f' Did you mean "{near[0]}"?' if near else ""


def unfit_values(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """(path, sentence) of every part of a value that JSON or a database can't hold."""
    if depth > MAX_DEPTH:
        yield path, f"is nested deeper than {MAX_DEPTH} levels."
    elif isinstance(value, str):
        if "\x00" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
            yield path, "holds a character that can't be kept (NUL or half a surrogate pair)."
    elif isinstance(value, bool) or value is None:
        return
    elif isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            yield path, "is a whole number beyond 64 bits: give it as a text."
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield path, "must be a finite number."
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                yield path, "must have texts for names."
                continue
            yield from unfit_values(key, path, depth + 1)
            yield from unfit_values(item, f"{path}.{key}" if path else key, depth + 1)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from unfit_values(item, f"{path}[{index}]", depth + 1)
    else:
        yield path, f"is of a type that JSON can't hold: {type(value).__name__}."


def _with_defaults(schema: Any, value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    properties = properties if isinstance(properties, Mapping) else {}
    merged = {name: _with_defaults(properties.get(name), item) for name, item in value.items()}
    for name, sub in properties.items():
        if name not in merged and isinstance(sub, Mapping) and "default" in sub:
            merged[name] = sub["default"]
    return merged


def _sentences(error: ValidationError) -> Iterator[tuple[str, str]]:
    path = list(error.absolute_path)
    schema: Any = error.schema
    limit: Any = error.validator_value
    if error.validator == "required" and isinstance(error.instance, Mapping):
        for name in limit:
            if name not in error.instance:
                yield join_path([*path, name]), "is required."
    elif error.validator == "additionalProperties" and isinstance(error.instance, Mapping):
        known = list(schema.get("properties", ()))
        patterns = list(schema.get("patternProperties", ()))
        for name in error.instance:
            if name not in known and not any(re.search(pattern, name) for pattern in patterns):
                yield join_path([*path, name]), "is not a parameter." + suggestion(name, known)
    else:
        yield join_path(path), _sentence(error)


def _sentence(error: ValidationError | SchemaError) -> str:
    rule: Any = error.validator
    limit: Any = error.validator_value
    value: Any = error.instance
    if rule == "type":
        names = [limit] if isinstance(limit, str) else limit
        kinds = " or ".join(TYPES.get(name, name) for name in names)
        return f"must be {kinds}, not {_said(value)}."
    if rule == "enum":
        return f"must be one of {', '.join(_said(item) for item in limit)}."
    if rule == "pattern":
        return f"must match the pattern {limit}"
    plain = {
        "const": f"must be {_said(limit)}.",
        "minimum": f"must be at least {limit}.",
        "maximum": f"must be at most {limit}.",
        "exclusiveMinimum": f"must be more than {limit}.",
        "exclusiveMaximum": f"must be less than {limit}.",
        "multipleOf": f"must be a multiple of {limit}.",
        "minLength": f"must have at least {limit} characters.",
        "maxLength": f"must have at most {limit} characters.",
        "minItems": f"must have at least {limit} items.",
        "maxItems": f"must have at most {limit} items.",
        "uniqueItems": "must not hold the same item twice.",
    }
    if rule in plain:
        return plain[rule]
    text = error.message if len(error.message) <= 300 else f"does not fit the rule {rule}"
    return text if text.endswith(".") else f"{text}."


def _said(value: Any) -> str:
    """A value as a sentence may name it: short, and containers only by their kind."""
    if isinstance(value, str):
        return f'"{value[:60]}…"' if len(value) > 60 else f'"{value}"'
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    if isinstance(value, Mapping):
        return "an object"
    return "a list" if isinstance(value, (list, tuple)) else str(value)


def _dangers(schema: Any, path: tuple[Any, ...], depth: int) -> Iterator[tuple[str, str]]:
    if depth > MAX_DEPTH:
        yield join_path(path), f"is nested deeper than {MAX_DEPTH} levels."
        return
    if isinstance(schema, Mapping):
        for key, item in schema.items():
            here = (*path, key)
            named = path and path[-1] in {"properties", "$defs"}
            if not named and key in {"$ref", "$dynamicRef"} and not str(item).startswith("#"):
                yield join_path(here), "may only refer to a part of this schema (#/…)."
            elif not named and key == "pattern":
                yield from ((join_path(here), text) for text in _pattern_dangers(str(item)))
            elif not named and key == "patternProperties" and isinstance(item, Mapping):
                for pattern in item:
                    yield from ((join_path(here), text) for text in _pattern_dangers(pattern))
            if named or key not in {"default", "enum", "const", "examples"}:
                yield from _dangers(item, here, depth + 1)
    elif isinstance(schema, (list, tuple)):
        for index, item in enumerate(schema):
            yield from _dangers(item, (*path, index), depth + 1)


def _pattern_dangers(pattern: str) -> Iterator[str]:
    """A group that is repeated and itself holds a repetition or a choice can take exponential time
    on a text made for it."""
    if len(pattern) > MAX_PATTERN:
        yield f"is longer than {MAX_PATTERN} characters."
        return
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        yield f"is not a regular expression: {error}."
        return
    bare = re.sub(r"\\.", "x", pattern)
    bare = re.sub(r"\[\^?\]?[^\]]*\]", "x", bare)
    while match := re.search(r"\(([^()]*)\)([*+{]?)", bare):
        inside = re.sub(r"^\?(:|=|!|<=|<!|P<\w+>)", "", match[1])
        varies = re.search(r"[*+{|?]", inside)
        if varies and match[2]:
            yield "repeats a group that holds a repetition or a choice, which can take for ever."
            return
        bare = bare[: match.start()] + ("x*" if varies else "x") + match[2] + bare[match.end() :]
