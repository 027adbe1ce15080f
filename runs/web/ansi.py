"""Terminal colours in log lines -> pieces of text with CSS classes. The text stays text: templates
escape it, so a log line can never become markup."""

import re
from dataclasses import dataclass

# Colours and styles, other control sequences, operating system commands, then lone control bytes.
_SGR = re.compile(r"\x1b\[([0-9;]*)m")
_NOISE = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b\[[0-?]*[ -/]*[@-ln-~]|\x1b[@-Z\\^_]"
    r"|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f]"
)
_LETTERS = "krgybmcw"
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Piece:
    """`classes` is for a class attribute: only words of ours, never text of the log."""

    text: str
    classes: str = ""


def pieces(line: str) -> list[Piece]:
    """The parts of one line, each in one style; unknown sequences are dropped."""
    line = _BIDI.sub("\ufffd", line.rpartition("\r")[2] if not line.endswith("\r") else line[:-1])
    if "\x1b" not in line:
        return [Piece(_NOISE.sub("", line))]
    found: list[Piece] = []
    style: dict[str, str] = {}
    end = 0
    for match in _SGR.finditer(line):
        _add(found, line[end : match.start()], style)
        _restyle(style, match[1])
        end = match.end()
    _add(found, line[end:], style)
    return found


def _add(found: list[Piece], text: str, style: dict[str, str]) -> None:
    text = _NOISE.sub("", text).replace("\x1b", "")
    if text:
        found.append(Piece(text, " ".join(style[key] for key in sorted(style))))


def _restyle(style: dict[str, str], codes: str) -> None:
    numbers = [int(code) if code else 0 for code in codes.split(";")[:20] if len(code) < 4]
    for number in numbers:
        if number == 0:
            style.clear()
        elif number == 1:
            style["bold"] = "ansi-bold"
        elif number == 2:
            style["dim"] = "ansi-dim"
        elif number == 22:
            style.pop("bold", None)
            style.pop("dim", None)
        elif number in {38, 48}:
            return  # 256 colours and RGB: the rest of the sequence are its values
        elif 30 <= number <= 37 or 90 <= number <= 97:
            style["colour"] = f"ansi-{_LETTERS[number % 10]}"
        elif number == 39:
            style.pop("colour", None)
