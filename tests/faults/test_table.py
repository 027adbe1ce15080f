"""docs/reliability.md says what the tests prove, and every fault has a test or says why not."""

from pathlib import Path

import pytest

from tests.faults import table
from tests.faults.rows import ROWS


def test_the_page_is_what_the_tests_names_make_it() -> None:
    up_to_date = table.PAGE.is_file() and table.PAGE.read_text() == table.page()
    assert up_to_date, "Run: .venv/bin/python -m tests.faults.table"


def test_every_fault_has_a_test_or_says_why_not() -> None:
    assert table.unproved() == []
    assert sorted(ROWS) == list(range(1, 39))


def test_every_test_of_a_fault_names_faults_that_there_are() -> None:
    assert [test for test in table.tests() if not set(test.rows) <= set(ROWS)] == []


def test_a_name_without_a_number_is_told(tmp_path: Path) -> None:
    path = tmp_path / "test_x.py"
    path.write_text("def test_fault_all_is_well():\n    pass\n")
    with pytest.raises(ValueError, match="test_fault_all_is_well names no row"):
        list(table.tests_in(path))
