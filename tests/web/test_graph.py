"""The layout of graphs; pure."""

from hypothesis import given
from hypothesis import strategies as st

from engines.base import TaskSpec
from runs.web.graph import BOX_WIDTH, lay_out
from runs.web.picture import plain_picture


def test_no_tasks_need_no_room() -> None:
    layout = lay_out([], [])
    assert layout.boxes == ()
    assert layout.curves == ()


def test_what_follows_stands_right_of_what_it_needs() -> None:
    layout = lay_out(["a", "b", "c"], [("a", "b"), ("b", "c"), ("a", "c")])
    x = {box.name: box.x for box in layout.boxes}
    assert x["a"] + BOX_WIDTH < x["b"]
    assert x["b"] + BOX_WIDTH < x["c"]


def test_a_long_edge_bends_round_the_boxes_between() -> None:
    layout = lay_out(["a", "b", "c"], [("a", "b"), ("b", "c"), ("a", "c")])
    long = next(c for c in layout.curves if (c.source, c.target) == ("a", "c"))
    short = next(c for c in layout.curves if (c.source, c.target) == ("a", "b"))
    assert long.path.count("C") == 2
    assert short.path.count("C") == 1


def test_sweeps_take_away_a_crossing() -> None:
    layout = lay_out(["a", "b", "x", "y"], [("a", "y"), ("b", "x")])
    y = {box.name: box.y for box in layout.boxes}
    assert (y["a"] < y["b"]) == (y["y"] < y["x"])


def test_unknown_names_loops_and_doubles_are_left_out() -> None:
    layout = lay_out(["a", "b"], [("a", "a"), ("a", "b"), ("a", "b"), ("a", "ghost")])
    assert [(c.source, c.target) for c in layout.curves] == [("a", "b")]


def test_a_cycle_is_drawn_and_does_not_hang() -> None:
    layout = lay_out(["a", "b", "c"], [("a", "b"), ("b", "a"), ("b", "c")])
    assert {box.name for box in layout.boxes} == {"a", "b", "c"}


@given(st.integers(1, 30), st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=80))
def test_no_two_boxes_ever_overlap(number: int, pairs: list[tuple[int, int]]) -> None:
    names = [str(n) for n in range(number)]
    layout = lay_out(names, [(str(a), str(b)) for a, b in pairs])
    places = [(box.x, box.y) for box in layout.boxes]
    assert sorted(box.name for box in layout.boxes) == sorted(names)
    assert len(set(places)) == number
    by_column: dict[int, list[int]] = {}
    for x, y in places:
        by_column.setdefault(x, []).append(y)
    for column in by_column.values():
        column.sort()
        assert all(b - a >= 30 for a, b in zip(column, column[1:], strict=False))


def test_a_box_says_when_its_task_starts_and_that_it_repeats() -> None:
    tasks = [
        TaskSpec(name="a", type="python", downstream=("clean", "alarm")),
        TaskSpec(name="clean", type="shell", trigger_rule="all_done", repeats=True),
        TaskSpec(name="alarm", trigger_rule="one_failed"),
    ]
    picture = plain_picture(tasks)
    assert {node.name: (node.note, node.type) for node in picture.nodes} == {
        "a": ("", "python"),
        "clean": ("all done ×n", "shell, starts when all that it needs has ended, repeats"),
        "alarm": ("if failed", "starts when one that it needs has failed"),
    }
