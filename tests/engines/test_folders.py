"""Folders that somebody else writes into: what is found, and what is never followed."""

import os
import socket
import tempfile
from pathlib import Path

import pytest

from engines import folders


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def listed(folder: Path, most: int = 100) -> folders.Artifacts:
    with folders.folder(folder, ()) as handle:
        return folders.list_files(handle, most=most)


def measured(folder: Path, most_bytes: int = 10**6, most_entries: int = 1000) -> folders.Usage:
    with folders.folder(folder, ()) as handle:
        return folders.measure(handle, most_bytes=most_bytes, most_entries=most_entries)


def nested(folder: Path, depth: int) -> None:
    """Folders within folders, deeper than any path can name."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(os.open("last", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


def test_files_are_listed_in_the_order_of_their_paths(tmp_path: Path) -> None:
    write(tmp_path / "b", x="12")
    write(tmp_path, a="1", c="333")
    found = listed(tmp_path)
    assert [(file.path, file.size) for file in found.files] == [("a", 1), ("b/x", 2), ("c", 3)]
    assert (found.complete, found.left_out) == (True, 0)
    assert found.files[0].modified_at.tzinfo is not None


def test_a_long_list_is_cut_and_says_so(tmp_path: Path) -> None:
    write(tmp_path, **{f"f{n}": "" for n in range(7)})
    assert len(listed(tmp_path, most=7).files) == 7
    assert listed(tmp_path, most=7).complete
    assert not listed(tmp_path, most=6).complete


def test_a_folder_with_very_many_names_is_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "SCANNED", 5)
    write(tmp_path / "a", **{f"f{n}": "" for n in range(3)})
    write(tmp_path / "b", **{f"f{n}": "" for n in range(9)})
    found = listed(tmp_path)
    assert not found.complete
    assert len(found.files) <= 5


def test_what_is_no_plain_file_is_left_out_and_counted(tmp_path: Path) -> None:
    write(tmp_path, ok="")
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "folder").symlink_to("/etc")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
    for name in (b"not-utf-8-\xff", b"line\nbreak", "right\u202eleft".encode()):
        os.close(os.open(os.path.join(os.fsencode(tmp_path), name), os.O_CREAT | os.O_WRONLY))
    found = listed(tmp_path)
    assert [file.path for file in found.files] == ["ok"]
    assert found.left_out == 7


def test_a_time_that_no_calendar_has_is_shown_as_one_that_it_has(tmp_path: Path) -> None:
    write(tmp_path, old="", late="")
    os.utime(tmp_path / "old", (-(10**10), -(10**10)))
    os.utime(tmp_path / "late", (10**10, 10**10))
    years = [file.modified_at.year for file in listed(tmp_path).files]
    assert years[1] == 1970
    assert years[0] >= 2038


@pytest.mark.parametrize(
    "path",
    [
        "../secret", "a/../../secret", "/etc/passwd", "", ".", "..", "a//x", "a/", "./a/x", "link",
        "out/secret", "pipe", "a", "a/x/y", "none", "nul\x00", "n" * 300, "d/" * 99 + "x",
    ],
)  # fmt: skip
def test_nothing_but_a_file_inside_is_opened(tmp_path: Path, path: str) -> None:
    inside = write(tmp_path / "inside" / "a", x="here").parent
    write(tmp_path, secret="no")
    (inside / "link").symlink_to(tmp_path / "secret")
    (inside / "out").symlink_to(tmp_path)
    os.mkfifo(inside / "pipe")
    with folders.folder(tmp_path, ["inside"]) as handle:
        with folders.open_file(handle, "a/x") as file:
            assert file.read() == b"here"
        with pytest.raises(FileNotFoundError):
            folders.open_file(handle, path)


@pytest.mark.parametrize("names", [["link"], ["link", "a"], ["a", ".."], [".."], ["file"], ["no"]])
def test_no_link_leads_into_a_folder(tmp_path: Path, names: list[str]) -> None:
    write(tmp_path / "outside" / "a", x="")
    root = write(tmp_path / "root", file="")
    write(root / "a")
    (root / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(FileNotFoundError), folders.folder(root, names):
        pass


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    write(tmp_path / "real" / "a", x="")
    (tmp_path / "root").symlink_to(tmp_path / "real")
    with folders.folder(tmp_path / "root", ["a"]) as handle:
        assert len(folders.list_files(handle, most=9).files) == 1


def test_a_folder_is_measured_until_it_is_too_much(tmp_path: Path) -> None:
    write(tmp_path / "sub", big="x" * 500)
    write(tmp_path, **{f"f{n}": "xx" for n in range(10)})
    usage = measured(tmp_path)
    assert (usage.bytes, usage.entries, usage.deep) == (520, 12, False)
    assert (usage.largest, usage.largest_bytes) == ("sub/big", 500)
    assert measured(tmp_path, most_bytes=100).bytes > 100
    assert measured(tmp_path, most_entries=5).entries == 6


def test_links_are_counted_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "etc").symlink_to("/etc")
    usage = measured(tmp_path)
    assert (usage.bytes, usage.entries) == (0, 2)


def test_folders_nested_without_end_are_measured_and_deleted(tmp_path: Path) -> None:
    folders.make(tmp_path, ["a"])
    nested(tmp_path / "a", 300)
    assert measured(tmp_path).deep
    assert listed(tmp_path).left_out == 1
    folders.remove(tmp_path, ["a"])
    assert os.listdir(tmp_path) == []


def test_emptying_leaves_alone_what_links_lead_to(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside", kept="")
    inside = write(tmp_path / "inside" / "sub", x="").parent
    (inside / "link").symlink_to(outside)
    (inside / "sub" / "file").symlink_to(outside / "kept")
    with folders.folder(inside, ()) as handle:
        folders.empty(handle)
    assert os.listdir(inside) == []
    assert (outside / "kept").exists()


def test_a_link_in_a_folders_place_is_removed_itself(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside", kept="")
    (tmp_path / "link").symlink_to(outside)
    folders.remove(tmp_path, ["link"])
    assert not (tmp_path / "link").is_symlink()
    assert (outside / "kept").exists()


def test_more_names_than_are_kept_in_memory_are_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "BATCH", 10)
    write(tmp_path / "a", **{f"f{n}": "" for n in range(95)})
    folders.remove(tmp_path, ["a"])
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_written_into_meanwhile_ends_with_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "a", x="")
    monkeypatch.setattr(folders, "PASSES", 3)
    monkeypatch.setattr(folders, "_delete", lambda *_: None)
    with pytest.raises(OSError, match="goes on"):
        folders.remove(tmp_path, ["a"])
    assert folder.exists()


def test_folders_that_forbid_everything_are_deleted_by_their_owner() -> None:
    """As somebody to whom it is forbidden: root becomes another user for it."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o777)
        pid = os.fork()
        if not pid:
            code = 1
            try:
                if os.geteuid() == 0:
                    os.setuid(65534)
                _forbid(Path(name))
                folders.remove(name, ["a"])
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0
        assert os.listdir(name) == []


def _forbid(folder: Path) -> None:
    write(folder / "a" / "read-only", x="")
    write(folder / "a" / "closed" / "inner", y="")
    (folder / "a" / "read-only").chmod(0o500)
    (folder / "a" / "closed").chmod(0)


def test_a_folder_is_made_where_something_else_stood(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside")
    root = write(tmp_path / "root")
    (root / "a").symlink_to(outside)
    folders.make(root, ["a", "b"])
    folders.make(root, ["a", "b"])
    assert (root / "a" / "b").is_dir()
    assert not (root / "a").is_symlink()
    assert os.listdir(outside) == []
    assert (root / "a").stat().st_mode & 0o007 == 0
