"""Static files get hashed names once they are collected, and need no collecting in a fresh clone."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.staticfiles.storage import staticfiles_storage

from runs.management.prepare import collect_static, static_fingerprint
from workflowhub.static import HubStaticFilesStorage


@pytest.fixture
def few_files(settings: Any, tmp_path: Path) -> Iterator[Path]:
    """A source folder with one file, and an empty place to collect into."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "hub.css").write_text("body { color: black }\n" * 100)
    settings.STATICFILES_DIRS = [source]
    settings.STATICFILES_FINDERS = ["django.contrib.staticfiles.finders.FileSystemFinder"]
    settings.STATIC_ROOT = tmp_path / "collected"
    settings.STATIC_ROOT.mkdir()
    before = staticfiles_storage._wrapped
    staticfiles_storage._wrapped = HubStaticFilesStorage()
    yield source
    staticfiles_storage._wrapped = before


def test_names_are_plain_before_collecting(few_files: Path) -> None:
    assert HubStaticFilesStorage().url("hub.css") == "/static/hub.css"


def test_names_are_hashed_and_files_compressed_afterwards(few_files: Path, settings: Any) -> None:
    assert collect_static()
    name = HubStaticFilesStorage().stored_name("hub.css")
    assert name.startswith("hub.")
    assert name != "hub.css"
    assert (settings.STATIC_ROOT / name).is_file()
    assert (settings.STATIC_ROOT / f"{name}.gz").is_file()


def test_nothing_is_collected_twice(few_files: Path) -> None:
    assert collect_static()
    assert not collect_static()


def test_a_changed_file_is_collected_again_and_the_old_one_goes(
    few_files: Path, settings: Any
) -> None:
    collect_static()
    old = HubStaticFilesStorage().stored_name("hub.css")
    (few_files / "hub.css").write_text("body { color: white }")
    assert collect_static()
    assert HubStaticFilesStorage().stored_name("hub.css") != old
    assert not (settings.STATIC_ROOT / old).exists()


def test_the_fingerprint_sees_a_new_time(few_files: Path) -> None:
    before = static_fingerprint()
    os.utime(few_files / "hub.css", ns=(1, 1))
    assert static_fingerprint() != before
