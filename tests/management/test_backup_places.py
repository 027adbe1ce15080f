"""The files of a backup take their places when the database has its own, and old ones are kept."""

import os
from pathlib import Path
from typing import Any

import pytest

from runs.management.backup.archive import BadBackup, Reader
from runs.management.backup.places import Places
from tests.management.homes import own_home
from tests.management.test_backup_archive import LOG, entries_of, pack, write


@pytest.fixture
def places(settings: Any, tmp_path: Path) -> Places:
    home = own_home(settings, tmp_path)
    (home / "logs" / "old").mkdir(parents=True)
    (home / "logs" / "old" / "1.log").write_text("old")
    return Places("stamp")


def test_files_take_their_places_and_old_ones_are_kept(
    places: Places, settings: Any, tmp_path: Path
) -> None:
    home = settings.WORKFLOWHUB_HOME
    (home / "spool").mkdir()
    (home / "spool" / "1-1.json").touch()
    take(places, write(tmp_path / "b"))
    assert (home / "logs" / "old" / "1.log").exists(), "Until all is well nothing is touched."
    places.settle()
    assert (home / LOG).read_bytes() == b"line\n"
    assert (home / LOG).stat().st_mode & 0o007 == 0
    assert (home / "secret_key").read_text() == "k"
    assert (home / "secret_key").stat().st_mode & 0o777 == 0o600
    assert {path.name for path in places.kept} == {
        ".before-restore-stamp",
        "secret_key.before-restore-stamp",
        "spool.before-restore-stamp",
    }
    assert (home / "logs" / ".before-restore-stamp" / "old" / "1.log").read_text() == "old"
    assert not (home / "spool").exists()
    assert sorted(os.listdir(home / "logs")) == [".before-restore-stamp", "wh-1"]


def test_after_an_error_everything_is_where_it_was(
    places: Places, settings: Any, tmp_path: Path
) -> None:
    take(places, write(tmp_path / "b"))
    places.abandon()
    home = settings.WORKFLOWHUB_HOME
    assert os.listdir(home / "logs") == ["old"]
    assert (home / "secret_key").read_text() == settings.SECRET_KEY
    assert places.kept == []


def test_what_a_killed_restore_left_is_taken_away(
    places: Places, settings: Any, tmp_path: Path
) -> None:
    left = settings.WORKFLOWHUB_HOME / "logs" / ".restoring-killed"
    (left / "a").mkdir(parents=True)
    take(places, write(tmp_path / "b"))
    assert not left.exists()


def test_a_key_from_the_environment_stays_the_one(
    places: Places, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKFLOWHUB_SECRET_KEY", "from the environment")
    take(places, write(tmp_path / "b"))
    places.settle()
    assert (settings.WORKFLOWHUB_HOME / "secret_key").read_text() == settings.SECRET_KEY


@pytest.mark.parametrize(
    ("name", "said"),
    [("keys/authorized_keys", "no hub has"), ("work/x", "says that it doesn't"), (LOG, "twice")],
)
def test_a_file_that_has_no_place_is_refused(
    places: Places, tmp_path: Path, name: str, said: str
) -> None:
    entries = entries_of(write(tmp_path / "good"))
    pack(tmp_path / "bad", [*entries[:-1], (name, b"x"), entries[-1]])
    with pytest.raises(BadBackup, match=said):
        take(places, tmp_path / "bad")


def test_a_disk_without_room_is_seen_before_anything_is_written(places: Places) -> None:
    places.check_room({"logs": 1000})
    with pytest.raises(BadBackup, match="has room for"):
        places.check_room({"logs": 10**18})


def take(places: Places, path: Path) -> None:
    """As a restore does it: everything but rows waits for its place."""
    places.expect({"logs"})
    reader = Reader(path)
    try:
        for member in reader.members():
            if not member.group.startswith("tables"):
                places.take(member)
    finally:
        reader.close()
