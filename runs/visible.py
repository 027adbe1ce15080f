"""Texts that users and tasks wrote, with what can't be seen in them spelled out, so that none looks like
another one."""

import re

# Control characters, but for tabs and ends of lines, and those that turn a text's direction or have no
# width.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
)


def visible(text: str) -> str:
    r"""With `\u202e` and the like where such a character was."""
    return _UNSEEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
