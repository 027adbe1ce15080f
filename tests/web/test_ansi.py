"""Terminal colours of log lines."""

from django.template import Context, Template
from hypothesis import given
from hypothesis import strategies as st

from runs.web.ansi import Piece, pieces


def test_a_plain_line_is_one_piece() -> None:
    assert pieces("hello") == [Piece("hello")]


def test_colours_become_classes() -> None:
    assert pieces("\x1b[1;31mbad\x1b[0m fine") == [
        Piece("bad", "ansi-bold ansi-r"),
        Piece(" fine"),
    ]


def test_other_sequences_and_control_bytes_are_dropped() -> None:
    assert pieces("\x1b]0;title\x07a\x1b[2Kb\x00c\x1b[38;5;200md") == [Piece("abc"), Piece("d")]


def test_a_line_that_was_overwritten_shows_its_last_state() -> None:
    assert pieces("10 %\r50 %\r100 %") == [Piece("100 %")]


def test_characters_that_turn_the_direction_are_replaced() -> None:
    assert "\u202e" not in pieces("safe\u202eexe.txt")[0].text


@given(st.text())
def test_no_line_becomes_markup(text: str) -> None:
    shown = pieces(text)
    assert all(set(piece.classes) <= set("abcdefghijklmnopqrstuvwxyz- ") for piece in shown)
    template = Template("{% for p in ps %}<i class='{{ p.classes }}'>{{ p.text }}</i>{% endfor %}")
    html = template.render(Context({"ps": shown}))
    assert html.count("<") == 2 * len(shown)
    assert "\x1b" not in html
