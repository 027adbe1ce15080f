"""Strict input: a text is a text and 1 is not "1"; unknown fields are refused with a suggestion."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.utils.dateparse import parse_datetime
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from engines.durations import LONGEST, read_seconds
from engines.parameters import suggestion
from runs.api.errors import Problem
from runs.api.parsers import MAX_INTEGER
from runs.states import FINAL_RUN_STATES, FINAL_TASK_STATES

LABELS_SCHEMA = {
    "oneOf": [
        {
            "type": "array",
            "maxItems": 100,
            "items": {
                "type": "object",
                "properties": {
                    "key": {"type": "string", "maxLength": 200},
                    "value": {"type": "string", "maxLength": 200, "default": ""},
                },
                "required": ["key"],
                "additionalProperties": False,
            },
        },
        {"type": "object", "additionalProperties": {"type": "string", "maxLength": 200}},
    ],
    "description": "A list of {key, value}, or an object of keys and values.",
}
OBJECT_SCHEMA = {"type": "object", "additionalProperties": {}}
FINAL_RUN_WORDS = sorted(FINAL_RUN_STATES)
FINAL_TASK_WORDS = sorted(FINAL_TASK_STATES)


class Text(serializers.CharField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"trim_whitespace": False, **kwargs})

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Whole(serializers.IntegerField):
    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:
            self.fail("invalid")
        return data


class Id(Whole):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"min_value": 1, "max_value": MAX_INTEGER, **kwargs})


class Flag(serializers.BooleanField):
    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class Choice(serializers.ChoiceField):
    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str) or data not in self.choices:
            words = ", ".join(str(word) for word in self.choices)
            raise serializers.ValidationError(f"must be one of {words}.", code="invalid_choice")
        return super().to_internal_value(data)


class Uuid(serializers.UUIDField):
    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str) or len(data) != 36:
            self.fail("invalid", value=data)
        return super().to_internal_value(data)


class Moment(serializers.DateTimeField):
    """RFC 3339 with its offset: a time without one could mean any of many moments."""

    def to_internal_value(self, value: Any) -> datetime:
        try:
            found = parse_datetime(value) if isinstance(value, str) else None
        except ValueError:
            found = None
        if found is None or found.tzinfo is None:
            raise serializers.ValidationError("Give a time such as 2026-01-31T12:00:00Z.")
        return super().to_internal_value(found)


@extend_schema_field(
    {
        "oneOf": [
            {"type": "number", "minimum": 0, "exclusiveMinimum": True, "maximum": LONGEST},
            {"type": "string", "example": "1h30m", "pattern": "^[0-9]{1,9}[dhms]"},
        ],
        "description": "Seconds, or a text such as `90s`, `5m`, `1h30m` or `2d`.",
    }
)
class Length(serializers.Field[Any, Any, Any, Any]):
    """A length of time, as definitions write it."""

    def to_internal_value(self, data: Any) -> timedelta:
        seconds = read_seconds(data)
        if seconds is None or not 0 < seconds <= LONGEST:
            raise serializers.ValidationError(
                "Give seconds as a number, or a text like 90s, 5m or 1h30m; ten years at most."
            )
        return timedelta(seconds=seconds)


@extend_schema_field({"type": "number"})
class Seconds(serializers.Field[Any, Any, Any, Any]):
    """A length of time as it is shown."""

    def to_representation(self, value: timedelta) -> float:
        seconds = value.total_seconds()
        return int(seconds) if seconds.is_integer() else seconds


@extend_schema_field(LABELS_SCHEMA)
class Labels(serializers.Field[Any, Any, Any, Any]):
    """As they come: runs.labels checks them."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, (list, Mapping)):
            raise serializers.ValidationError("Give a list of {key, value} or an object.")
        return data


@extend_schema_field(OBJECT_SCHEMA)
class Object(serializers.Field[Any, Any, Any, Any]):
    """A JSON object whose content the action checks."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            raise serializers.ValidationError("Give an object.")
        return data

    def to_representation(self, value: Any) -> Any:
        return value


@extend_schema_field(OpenApiTypes.ANY)
class Anything(serializers.Field[Any, Any, Any, Any]):
    """Any JSON value."""

    def to_internal_value(self, data: Any) -> Any:
        return data

    def to_representation(self, value: Any) -> Any:
        return value


class Strict(serializers.Serializer[Any]):
    """An input: fields that it doesn't have are refused."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            unknown = {
                name: ["is not a field of this." + suggestion(name, self.fields)]
                for name in sorted(set(data) - set(self.fields))
            }
            if unknown:
                raise serializers.ValidationError(unknown)
        return super().to_internal_value(data)


class Nothing(Strict):
    """An action that takes no input."""


def read_input(form: type[Strict], data: Any) -> dict[str, Any]:
    """The checked input, without what was left out. Raises Problem or ValidationError."""
    if not isinstance(data, dict):
        raise Problem(415, "unsupported-media-type", "Send application/json.")
    checked = form(data=data)
    checked.is_valid(raise_exception=True)
    return dict(checked.validated_data)
