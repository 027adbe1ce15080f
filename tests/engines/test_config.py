"""The fields that an adapter declares, and what they make of an operator's input."""

from typing import Any

import pytest

from engines.config import ConfigError, ConfigField, FieldType, clean_config

FIELDS = (
    ConfigField(name="url", label="URL", type=FieldType.URL, required=True),
    ConfigField(name="token", label="Token", type=FieldType.SECRET),
    ConfigField(name="pages", label="Pages", type=FieldType.INTEGER, default=5, least=1, most=9),
    ConfigField(name="share", label="Share", type=FieldType.NUMBER, least=0, most=1),
    ConfigField(name="tls", label="TLS", type=FieldType.BOOLEAN, default=True),
    ConfigField(name="mode", label="Mode", type=FieldType.CHOICE, choices=(("a", "A"), ("b", "B"))),
)


def test_defaults_are_filled_in_and_values_tidied() -> None:
    assert clean_config(FIELDS, {"url": " https://x.example/api/ "}) == {
        "url": "https://x.example/api",
        "token": None,
        "pages": 5,
        "share": None,
        "tls": True,
        "mode": None,
    }


def test_false_and_zero_are_values() -> None:
    cleaned = clean_config(FIELDS, {"url": "http://x", "tls": False, "share": 0})
    assert (cleaned["tls"], cleaned["share"]) == (False, 0)


def test_every_wrong_field_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        clean_config(FIELDS, {"pages": 0, "ulr": "http://x", "mode": "c"})
    assert caught.value.errors.keys() == {"url", "pages", "ulr", "mode"}
    assert caught.value.errors["url"] == "is required."
    assert "a, b" in caught.value.errors["mode"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("url", "ftp://x"),
        ("url", "http://"),
        ("url", "http://ada:pw@x.example"),
        ("url", "http://[x"),
        ("url", "http://x:port"),
        ("url", 7),
        ("token", 7),
        ("token", "x" * 10_001),
        ("token", "a\x00b"),
        ("pages", "5"),
        ("pages", 5.5),
        ("pages", True),
        ("pages", 10),
        ("share", 1.5),
        ("share", float("nan")),
        ("tls", "yes"),
        ("tls", 1),
        ("mode", ["a"]),
    ],
)
def test_a_wrong_value_is_refused_with_a_sentence(name: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        clean_config(FIELDS, {"url": "http://x", name: value})
    assert caught.value.errors[name].startswith("must be ")


def test_no_error_repeats_a_secret() -> None:
    with pytest.raises(ConfigError) as caught:
        clean_config(FIELDS, {"url": "http://x", "token": "canary\x00word"})
    assert "canary" not in str(caught.value)


def test_only_secret_fields_are_secret() -> None:
    assert [field.name for field in FIELDS if field.secret] == ["token"]
