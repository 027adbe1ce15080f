"""Encrypts secrets at rest; engines.masking keeps them out of texts.

Keys come from WORKFLOWHUB_SECRET_KEYS: the first encrypts, all of them decrypt, so that a key is
rotated by putting the new one first.
"""

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from engines.masking import MASK, redact

__all__ = ["MASK", "UnreadableSecret", "decrypt", "encrypt", "redact", "rotate"]


class UnreadableSecret(Exception):
    """None of the configured keys decrypts the value."""


def encrypt(text: str) -> str:
    return _keys().encrypt(text.encode()).decode()


def decrypt(token: str) -> str:
    """The plain text. Raises UnreadableSecret."""
    try:
        return _keys().decrypt(token.encode()).decode()
    except InvalidToken:
        raise UnreadableSecret(
            "A stored secret was encrypted with a key that is not in WORKFLOWHUB_SECRET_KEYS. "
            "Add the old key behind the new one, or enter the secret again."
        ) from None


def rotate(token: str) -> str:
    """The same secret under the first key."""
    try:
        return _keys().rotate(token.encode()).decode()
    except InvalidToken:
        raise UnreadableSecret("None of the keys decrypts this value.") from None


def _keys() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in settings.WORKFLOWHUB_SECRET_KEYS])
