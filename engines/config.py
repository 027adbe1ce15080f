"""The configuration fields that an adapter declares, and what follows from them: validation, the
form of a page, and which values are secret. Unknown keys are refused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any
from urllib.parse import urlsplit

from django.db.models import TextChoices


class FieldType(TextChoices):
    TEXT = "text", "Text"
    URL = "url", "URL"
    INTEGER = "integer", "Whole number"
    NUMBER = "number", "Number"
    BOOLEAN = "boolean", "Yes or no"
    CHOICE = "choice", "Choice"
    SECRET = "secret", "Secret"


class ConfigError(ValueError):
    """`errors` maps a field's name to what is wrong with it."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {text}" for name, text in errors.items()))
        self.errors = dict(errors)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigField:
    """One setting of an engine. `choices` are (value, label) pairs of a CHOICE."""

    name: str
    label: str
    type: FieldType = FieldType.TEXT
    required: bool = False
    default: Any = None
    help: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    least: float | None = None
    most: float | None = None

    @property
    def secret(self) -> bool:
        return self.type == FieldType.SECRET

    def clean(self, value: Any) -> Any:
        """The value in its own type, or ValueError with a sentence for the operator."""
        if self.type in {FieldType.TEXT, FieldType.SECRET}:
            return self._text(value)
        if self.type == FieldType.URL:
            return self._url(value)
        if self.type == FieldType.BOOLEAN:
            if not isinstance(value, bool):
                raise ValueError("must be true or false.")
            return value
        if self.type == FieldType.CHOICE:
            if value not in [key for key, _ in self.choices]:
                raise ValueError(f"must be one of {', '.join(key for key, _ in self.choices)}.")
            return value
        return self._number(value)

    def _text(self, value: Any) -> str:
        if not isinstance(value, str) or len(value) > 10_000 or "\x00" in value:
            raise ValueError("must be a text of at most 10,000 characters.")
        return value.strip()

    def _url(self, value: Any) -> str:
        text = self._text(value)
        try:
            parts = urlsplit(text)
            wrong = parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0
        except ValueError:  # half an IPv6 address, a port that is no number
            wrong = True
        if wrong or "@" in parts.netloc:
            raise ValueError("must be an http or https URL without user name.")
        return text.rstrip("/")

    def _number(self, value: Any) -> float | int:
        whole = self.type == FieldType.INTEGER
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
            raise ValueError("must be a whole number." if whole else "must be a number.")
        if not isfinite(value):
            raise ValueError("must be a finite number.")
        if self.least is not None and value < self.least:
            raise ValueError(f"must be at least {self.least:g}.")
        if self.most is not None and value > self.most:
            raise ValueError(f"must be at most {self.most:g}.")
        return value


def clean_config(fields: Sequence[ConfigField], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by name with defaults filled in. Raises ConfigError naming every wrong field."""
    known = {field.name for field in fields}
    errors = {
        name: "is not a setting of this kind of engine." for name in values if name not in known
    }
    cleaned: dict[str, Any] = {}
    for field in fields:
        value = values.get(field.name)
        if value is None or value == "":
            if field.required:
                errors[field.name] = "is required."
            else:
                cleaned[field.name] = field.default
            continue
        try:
            cleaned[field.name] = field.clean(value)
        except ValueError as error:
            errors[field.name] = str(error)
    if errors:
        raise ConfigError(errors)
    return cleaned
