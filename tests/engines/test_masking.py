"""What is masked, in which spellings, and where a text may be cut."""

import base64
import html
import json
import re
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.adapters.local.worker.lines import MAX_LINE, TAIL_BYTES, Lines
from engines.masking import MASK, Mask

UPPER = re.compile("%[0-9A-F]{2}")
PLAIN = "s3cr3t-token"
ODD = 'pä"ss\\wörd/with%odd&chars'
KEY = "-----BEGIN KEY-----\nMIIEowIBAAKCAQEA7bq\nq5XJ0aVv1Zr8mWn2kT\nxyz\n-----END KEY-----\n"


@pytest.mark.parametrize("value", [PLAIN, ODD, "123456", " spaced out "])
def test_a_value_is_found_in_every_usual_spelling(value):
    raw = value.encode()
    for text in (
        value,
        json.dumps({"key": value}),
        json.dumps({"key": value}, ensure_ascii=False),
        repr({"key": value}),
        repr(raw),
        str(KeyError(value)),
        f"https://x/?t={quote(value)}",
        f"https://x/?t={quote(value, safe='')}",
        f"https://x/?t={quote_plus(value)}",
        f"https://x/?t={UPPER.sub(lambda found: found[0].lower(), quote(value, safe=''))}",
        base64.b64encode(raw).decode(),
        base64.urlsafe_b64encode(raw).decode(),
        base64.b64encode(b"ada:" + raw).decode(),
        base64.b64encode(b"ab:" + raw + b"\n").decode(),
        f"value.{value}.",
    ):
        masked = Mask([value]).text(f"before {text} after")
        assert MASK in masked, text
        assert value.strip() not in masked
        assert masked.startswith("before ") and masked.endswith(" after")
        assert Mask([value]).data(f"before {text} after".encode()).decode() == masked


def test_a_value_of_several_lines_is_found_whole_and_line_by_line():
    mask = Mask([KEY])
    assert mask.text(f"<{KEY}>") == f"<{MASK}>"
    for line in KEY.split("\n"):
        if len(line) >= 6:
            assert mask.text(f"key: {line}") == f"key: {MASK}"
    assert mask.text("xyz is too short to be hidden") == "xyz is too short to be hidden"


@pytest.mark.parametrize("width", [64, 76])
def test_base64_in_lines_is_found(width):
    value = "".join(f"part-{number};" for number in range(40))
    text = base64.b64encode(value.encode()).decode()
    lines = [text[at : at + width] for at in range(0, len(text), width)]
    shown = [Mask([value]).text(line) for line in lines]
    assert shown[:-1] == [MASK] * (len(lines) - 1)


def test_values_that_overlap_leave_nothing_of_either():
    assert Mask(["abcdefgh", "efghijkl"]).text("-abcdefghijkl-") == f"-{MASK}-"
    assert Mask(["abcd", "abcdef"]).text("a=abcdef b=abcd") == f"a={MASK} b={MASK}"


def test_nothing_and_what_is_short_mask_nothing():
    mask = Mask(["", "a", "is"])
    assert not mask
    assert mask.text("a is the best") == "a is the best"
    assert mask.value({"a": ["is", 1, None]}) == {"a": ["is", 1, None]}


def test_json_is_masked_in_texts_names_and_numbers():
    mask = Mask(["123456", "hidden-name"])
    value = {
        "hidden-name": 1,
        "x hidden-name": [123456, 1234567, 12.5, True, None, "pin 123456"],
        MASK: 2,
    }
    assert mask.value(value) == {
        MASK: 1,
        f"x {MASK}": [MASK, MASK, 12.5, True, None, f"pin {MASK}"],
        f"{MASK} 2": 2,
    }


def test_a_mask_shows_nothing_of_what_it_hides():
    assert PLAIN not in repr(Mask([PLAIN]))


def test_a_text_is_not_masked_for_html():
    """Pages escape: a value in HTML's own spelling is never what they hold."""
    assert Mask([ODD]).text(html.escape(ODD)) == html.escape(ODD)


def pieces(data, sizes):
    at = 0
    for size in sizes:
        yield data[at : at + size]
        at += size
    yield data[at:]


def written(values, data, sizes):
    """The lines that come of data written in pieces, and the tail at the end."""
    lines = Lines()
    lines.begin(Mask(values))
    found = []
    for piece in pieces(data, sizes):
        lines.note(piece)
        found += lines.feed(piece)
    return found + lines.end(), lines.tail()


@settings(deadline=None, max_examples=60)
@given(
    st.text("ab\n", max_size=40),
    st.text("ab", min_size=4, max_size=8),
    st.lists(st.integers(1, 7), max_size=20),
)
def test_no_way_of_writing_it_shows_a_value(text, value, sizes):
    data = f"{text}{value}{text}".encode()
    lines, tail = written([value], data, sizes)
    assert value.encode() not in b"\n".join(lines)
    assert value.encode() not in tail
    whole = [line for line in Mask([value]).data(data).split(b"\n") if line]
    assert [line for line in lines if line] == whole


@pytest.mark.parametrize("offset", range(-14, 3))
def test_a_line_longer_than_the_buffer_is_not_cut_within_a_value(offset):
    data = b"." * (MAX_LINE + offset) + PLAIN.encode() + b"." * 3 * MAX_LINE + PLAIN.encode()
    sizes = [4096] * (len(data) // 4096)
    lines, tail = written([PLAIN], data, sizes)
    shown = b"".join(lines)
    assert shown.count(MASK.encode()) == 2
    assert PLAIN.encode() not in shown + tail
    assert shown.replace(MASK.encode(), PLAIN.encode()) == data


def test_a_line_of_nothing_but_a_value_that_reaches_over_itself_ends():
    lines, tail = written(["aaaaaa"], b"a" * (3 * MAX_LINE), [8192] * 24)
    assert b"aaaaaa" not in b"".join(lines) + tail


@pytest.mark.parametrize("after", range(TAIL_BYTES - 14, TAIL_BYTES + 14))
def test_the_tail_holds_no_part_of_a_value_that_it_begins_within(after):
    data = b"x" * 9000 + PLAIN.encode() + b"." * after
    _, tail = written([PLAIN], data, [1000] * 9)
    assert len(tail) <= TAIL_BYTES
    assert not any(PLAIN.encode()[-size:] in tail for size in range(4, len(PLAIN)))


def test_a_short_text_is_its_own_tail():
    assert written([PLAIN], f"so {PLAIN}".encode(), [])[1].decode() == f"so {MASK}"
    lines = Lines()
    lines.begin(None)
    lines.note(b"plain")
    assert lines.tail() == b"plain"
