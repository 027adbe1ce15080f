"""Secrets at rest, and kept out of texts."""

import pytest
from cryptography.fernet import Fernet

from engines.models import Engine
from engines.secrets import MASK, UnreadableSecret, decrypt, encrypt, redact, rotate

OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))


def test_what_is_encrypted_is_read_again_and_is_not_plain() -> None:
    token = encrypt("pässword")
    assert "pässword" not in token
    assert decrypt(token) == "pässword"


def test_the_first_key_encrypts_and_all_decrypt(settings) -> None:
    settings.WORKFLOWHUB_SECRET_KEYS = [OLD]
    token = encrypt("word")
    settings.WORKFLOWHUB_SECRET_KEYS = [NEW, OLD]
    assert decrypt(token) == "word"
    assert Fernet(NEW).decrypt(encrypt("word")) == b"word"


def test_after_rotation_the_old_key_is_not_needed(settings) -> None:
    settings.WORKFLOWHUB_SECRET_KEYS = [OLD]
    token = encrypt("word")
    settings.WORKFLOWHUB_SECRET_KEYS = [NEW, OLD]
    turned = rotate(token)
    settings.WORKFLOWHUB_SECRET_KEYS = [NEW]
    assert decrypt(turned) == "word"
    with pytest.raises(UnreadableSecret):
        rotate(token)


def test_an_unknown_key_is_named_by_its_setting(settings) -> None:
    settings.WORKFLOWHUB_SECRET_KEYS = [OLD]
    token = encrypt("word")
    settings.WORKFLOWHUB_SECRET_KEYS = [NEW]
    with pytest.raises(UnreadableSecret, match="WORKFLOWHUB_SECRET_KEYS"):
        decrypt(token)


def test_a_secret_inside_another_is_masked_whole() -> None:
    assert redact("a=abcdef b=abcd", ["abcd", "abcdef"]) == f"a={MASK} b={MASK}"


def test_short_values_are_left() -> None:
    assert redact("a is the best", ["a", "", "is"]) == "a is the best"


@pytest.mark.django_db
def test_an_engines_secrets_are_not_plain_in_its_row() -> None:
    engine = Engine(name="air", kind="remote")
    engine.secrets = {"token": "canary-word"}
    engine.save()
    row = Engine.objects.values().get(pk=engine.pk)
    assert "canary-word" not in repr(row)
    assert Engine.objects.get(pk=engine.pk).secrets == {"token": "canary-word"}
    engine.secrets = {}
    assert engine.encrypted_secrets == ""
