"""What is different between two values or two texts."""

import json
import time
from typing import Any

import pytest

from runs.differences import (
    LONGEST_LINE,
    MOST,
    MOST_LINES,
    definition_diff,
    differences,
    line_diff,
)


def told(old: Any, new: Any) -> list[tuple[str, str, Any, Any]]:
    return [(one.path, one.kind, one.old, one.new) for one in differences(old, new).rows]


def test_only_leaves_that_differ_are_listed_with_their_paths() -> None:
    old = {"depth": 3, "samples": [{"name": "a", "n": 1}], "gone": None, "same": [1, 2]}
    new = {"depth": 4, "samples": [{"name": "b", "n": 1}, "more"], "same": [1, 2], "fresh": {}}
    assert told(old, new) == [
        ("depth", "changed", 3, 4),
        ("samples[0].name", "changed", "a", "b"),
        ("samples[1]", "added", None, "more"),
        ("gone", "removed", None, None),
        ("fresh", "added", None, {}),
    ]
    assert not differences(old, json.loads(json.dumps(old)))


@pytest.mark.parametrize(
    ("old", "new"), [(True, 1), (0, False), ("1", 1), ([], {}), (None, False), ({"a": 1}, [1])]
)
def test_what_python_takes_for_equal_may_differ(old: Any, new: Any) -> None:
    assert told({"x": old}, {"x": new}) == [("x", "changed", old, new)]


def test_a_whole_number_is_the_same_with_a_point() -> None:
    assert told({"x": 1}, {"x": 1.0}) == []


def test_a_key_that_is_no_word_is_quoted_in_its_path() -> None:
    keys = ['a.b"]', "<script>", "", "\u202e", "x" * 500]
    paths = [path for path, *_ in told(dict.fromkeys(keys, 1), dict.fromkeys(keys, 2))]
    assert paths[:4] == ['["a.b\\"]"]', '["<script>"]', '[""]', '["\\u202e"]']
    assert len(paths[4]) < 120


def test_a_list_of_differences_ends_and_says_so() -> None:
    found = differences({}, {f"k{n}": n for n in range(MOST + 1)})
    assert (len(found.rows), found.more) == (MOST, True)
    assert not differences({}, {f"k{n}": n for n in range(MOST)}).more


def test_a_deep_nesting_is_compared_as_a_whole() -> None:
    old: Any = 1
    new: Any = 2
    for _ in range(100):
        old, new = [old], [new]
    (one,) = differences(old, new).rows
    assert one.path == "[0]" * 60


def signs(old: str, new: str) -> list[str]:
    return [f"{line.sign}{line.text}" for line in line_diff(old, new).lines]


def test_lines_that_differ_come_with_a_few_around_them() -> None:
    old = "\n".join(f"line {n}" for n in range(1, 21))
    new = old.replace("line 10", "line ten").replace("line 20", "line 20\nline 21")
    assert signs(old, new) == [
        "…",
        *(" line 7", " line 8", " line 9", "-line 10", "+line ten"),
        *(" line 11", " line 12", " line 13"),
        "…",
        *(" line 18", " line 19", " line 20", "+line 21"),
    ]
    found = line_diff(old, new)
    assert (found.added, found.removed) == (2, 1)
    numbers = {line.text: (line.old, line.new) for line in found.lines}
    assert numbers["line 10"] == (10, None)
    assert numbers["line ten"] == (None, 10)
    assert numbers["line 18"] == (18, 18)
    assert numbers["line 21"] == (None, 21)


@pytest.mark.parametrize("text", ["", "one", "one\ntwo\n"])
def test_equal_texts_have_no_lines(text: str) -> None:
    assert not line_diff(text, text)


def test_all_lines_may_be_new_or_gone() -> None:
    assert signs("", "a\nb") == ["+a", "+b"]
    assert signs("a\nb", "") == ["-a", "-b"]


def test_a_json_document_on_one_line_is_compared_by_its_lines() -> None:
    found = definition_diff('{"title": "x", "n": 1}', '{"title": "x", "n": 2}')
    assert [(one.sign, one.text) for one in found.lines if one.sign in "+-"] == [
        ("-", '  "n": 1'),
        ("+", '  "n": 2'),
    ]
    assert definition_diff('{"broken": ', '{"broken": 1').lines


def test_hostile_texts_are_told_soon_and_shortly() -> None:
    begin = time.monotonic()
    twice = [f"{n % 90}" for n in range(900)]
    assert line_diff("\n".join(twice), "\n".join(reversed(twice)))
    many = line_diff("a\n" * 100_000, "b\n" * 100_000)
    assert (len(many.lines), many.more) == (MOST_LINES, True)
    (removed, added) = line_diff("x" * 1_000_000, "y" * 1_000_000).lines
    assert len(removed.text) == len(added.text) == LONGEST_LINE
    assert time.monotonic() - begin < 5


def test_of_too_many_different_lines_the_head_and_the_tail_stay() -> None:
    old = ["head", *(f"a{n}" for n in range(1200)), "tail"]
    new = ["head", *(f"b{n}" for n in range(1200)), "tail"]
    found = line_diff("\n".join(old), "\n".join(new))
    assert found.lines[0].text == "head"
    assert [line.sign for line in found.lines[1:3]] == ["-", "-"]
    assert found.more
