"""The file of a backup: what is read back, and what no file can make a reader do."""

import gzip
import io
import json
import os
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from runs.management.backup import archive
from runs.management.backup.archive import HEADER, MANIFEST, BadBackup, Reader, Writer

ROWS = "tables/runs_label/000001.jsonl"
LOG = "logs/wh-1/a/-1/1.1.log"


def write(path: Path, *, log: bytes = b"line\n") -> Path:
    """A backup with some rows, a key and a log."""
    source = path.with_suffix(".log")
    source.write_bytes(log)
    writer = Writer(path)
    writer.header({"version": "1"})
    writer.add(ROWS, b"[1]\n[2]\n", rows=2)
    writer.add("keys/secret_key", b"k")
    with source.open("rb") as file:
        writer.add_file(LOG, file)
    writer.finish()
    return path


def read(path: Path) -> dict[str, bytes]:
    reader = Reader(path)
    try:
        reader.verify()
        return {member.name: member.file.read() for member in reader.members()}
    finally:
        reader.close()


Entry = tuple[str, bytes] | tarfile.TarInfo


def pack(path: Path, entries: list[Entry]) -> Path:
    """A tar of these entries, compressed, whatever they are."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                tar.addfile(entry)
                continue
            name, data = entry
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    path.write_bytes(gzip.compress(buffer.getvalue()))
    return path


def entries_of(path: Path) -> list[Entry]:
    with tarfile.open(path) as tar:
        return [(info.name, tar.extractfile(info).read()) for info in tar]  # type: ignore[union-attr]


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    assert read(write(tmp_path / "b")) == {
        ROWS: b"[1]\n[2]\n",
        "keys/secret_key": b"k",
        LOG: b"line\n",
    }
    reader = Reader(tmp_path / "b")
    reader.verify()
    assert reader.header == {"format": 1, "version": "1"}
    assert reader.manifest["tables/runs_label"]["rows"] == 2
    reader.close()


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write(tmp_path / "b")
    finally:
        os.umask(before)
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o600


def test_it_is_never_written_over_another_file(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("precious")
    with pytest.raises(FileExistsError):
        write(tmp_path / "b")
    assert (tmp_path / "b").read_text() == "precious"


def test_a_broken_one_leaves_nothing(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "b")
    writer.header({})
    writer.abandon()
    assert os.listdir(tmp_path) == []


def test_a_file_that_grows_or_shrinks_meanwhile_spoils_nothing(tmp_path: Path) -> None:
    source = tmp_path / "log"
    source.write_bytes(b"x" * 100)
    writer = Writer(tmp_path / "b")
    writer.header({})

    class Changing(io.FileIO):
        def read(self, size: int = -1) -> bytes:
            with source.open("r+b") as file:
                file.truncate(40)
            return super().read(size)

    with Changing(source) as file:
        writer.add_file(LOG, file)  # type: ignore[arg-type]
    writer.finish()
    assert read(tmp_path / "b")[LOG] == b"x" * 40 + bytes(60)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.7, 0.95, 0.999])
def test_half_a_file_is_refused(tmp_path: Path, share: float) -> None:
    whole = write(tmp_path / "b", log=os.urandom(20_000)).read_bytes()
    (tmp_path / "b").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(BadBackup, match="damaged|no backup|end is missing"):
        read(tmp_path / "b")


def test_a_flipped_bit_is_noticed_wherever_it_changes_anything(tmp_path: Path) -> None:
    whole = bytearray(write(tmp_path / "b", log=os.urandom(3000)).read_bytes())
    content = read(tmp_path / "b")
    noticed = 0
    for at in range(12, len(whole), max(len(whole) // 40, 1)):
        broken = bytearray(whole)
        broken[at] ^= 0x10
        (tmp_path / "b").write_bytes(broken)
        try:
            found = read(tmp_path / "b")
        except BadBackup:
            noticed += 1
        else:
            assert found == content  # a few bits of a compressed file mean nothing
    assert noticed > 30


@pytest.mark.parametrize(
    "data",
    [b"", b"hello", b"PK\x03\x04" + bytes(99), gzip.compress(b"x" * 999)],
    ids=["empty", "text", "zip", "gzip"],
)
def test_what_is_no_backup_at_all_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "b").write_bytes(data)
    with pytest.raises(BadBackup):
        Reader(tmp_path / "b")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadBackup, match="No such file"):
        Reader(tmp_path / "b")


def _with(name: str, data: bytes = b"x") -> Callable[[list[Entry]], list[Entry]]:
    return lambda entries: [*entries[:-1], (name, data), entries[-1]]


def _info(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def _with_info(info: tarfile.TarInfo) -> Callable[[list[Entry]], list[Entry]]:
    return lambda entries: [*entries[:-1], info, entries[-1]]


def _sparse(entries: list[Entry]) -> list[Entry]:
    info = tarfile.TarInfo("logs/sparse")
    info.pax_headers = {"GNU.sparse.map": "0,1,999999999,1", "GNU.sparse.size": "1000000000"}
    return [*entries[:-1], info, entries[-1]]


TRICKS: dict[str, tuple[Callable[[list[Entry]], list[Entry]], str]] = {
    "path upwards": (_with("logs/../../x"), "which no backup has"),
    "absolute path": (_with("/etc/passwd"), "which no backup has"),
    "path upwards in tables": (_with("tables/../x"), "which no backup has"),
    "another folder": (_with("bin/sh"), "which no backup has"),
    "a folder's own name": (_with("logs"), "which no backup has"),
    "no name": (_with("logs//x"), "which no backup has"),
    "a name with a line end": (_with("logs/a\nb"), "which no backup has"),
    "a long name": (_with("logs/" + "x" * 2000), "which no backup has"),
    "nested without end": (_with("logs/" + "d/" * 60 + "x"), "which no backup has"),
    "a link": (_with_info(_info("logs/l", tarfile.SYMTYPE, "/etc")), "no plain file"),
    "a hard link": (_with_info(_info("logs/l", tarfile.LNKTYPE, HEADER)), "no plain file"),
    "a device": (_with_info(_info("logs/d", tarfile.CHRTYPE)), "no plain file"),
    "a pipe": (_with_info(_info("logs/p", tarfile.FIFOTYPE)), "no plain file"),
    "a folder": (_with_info(_info("logs/d", tarfile.DIRTYPE)), "no plain file"),
    "a sparse file": (_sparse, "no plain file|damaged"),
    "rows that the sums don't know": (_with("tables/auth_user/000009.jsonl"), "sums of"),
    "a file that the sums don't know": (_with("logs/new"), "sums of logs"),
    "a member taken out": (lambda entries: [entries[0], *entries[2:]], "sums of"),
    "another order": (lambda entries: [entries[0], *entries[2:-1], entries[1], entries[-1]], ""),
    "no end": (lambda entries: entries[:-1], "end is missing"),
    "something after the end": (lambda entries: [*entries, ("logs/x", b"")], "follows its end"),
    "no header": (lambda entries: entries[1:], "no backup of a WorkflowHub"),
    "another format": (
        lambda entries: [(HEADER, b'{"format": 99}'), *entries[1:]],
        "format is 99, and this version reads 1",
    ),
    "a header that is no object": (lambda entries: [(HEADER, b"[]"), *entries[1:]], "no object"),
    "a header that is no JSON": (lambda entries: [(HEADER, b"{"), *entries[1:]], "damaged"),
    "a header nested without end": (
        lambda entries: [(HEADER, b"[" * 100_000), *entries[1:]],
        "damaged",
    ),
    "a manifest that is no object": (lambda entries: [*entries[:-1], (MANIFEST, b"3")], "object"),
    "a manifest of nonsense": (
        lambda entries: [*entries[:-1], (MANIFEST, b'{"logs": 3, "keys": {"x": []}}')],
        "sums of",
    ),
}


@pytest.mark.parametrize("name", TRICKS)
def test_no_trick_gets_past_the_reader(tmp_path: Path, name: str) -> None:
    change, said = TRICKS[name]
    entries = entries_of(write(tmp_path / "good"))
    pack(tmp_path / "bad", change(entries))
    if name == "another order":
        assert read(tmp_path / "bad") == read(tmp_path / "good")
        return
    with pytest.raises(BadBackup, match=said):
        read(tmp_path / "bad")


def test_a_bomb_is_put_down_before_it_unfolds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "RATIO_FREE", 2**20)
    path = tmp_path / "bomb"
    info = tarfile.TarInfo("logs/zeros")
    info.size = 2**31
    header = tarfile.TarInfo(HEADER)
    header.size = len(b'{"format": 1}')
    with gzip.open(path, "wb", 9) as file:
        file.write(header.tobuf() + b'{"format": 1}'.ljust(512, b"\0"))
        file.write(info.tobuf())
        file.write(bytes(12 * 2**20))
    reader = Reader(path)
    with pytest.raises(BadBackup, match="unpacks to far more"):
        reader.verify()
    reader.close()


def test_a_description_that_would_fill_the_memory_is_not_read(tmp_path: Path) -> None:
    """A tar's own headers may be of any length, and are read at once."""
    path = tmp_path / "bad"
    header = tarfile.TarInfo(HEADER)
    header.size = len(b'{"format": 1}')
    extended = tarfile.TarInfo("././@PaxHeader")
    extended.type, extended.size = tarfile.XHDTYPE, 2**30
    with gzip.open(path, "wb", 1) as file:
        file.write(header.tobuf() + b'{"format": 1}'.ljust(512, b"\0"))
        file.write(extended.tobuf())
        file.write(os.urandom(3 * 2**20))
    reader = Reader(path)
    tracemalloc.start()
    with pytest.raises(BadBackup, match="between its members"):
        reader.verify()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    reader.close()
    assert peak < 4_000_000


def test_a_member_that_is_read_at_once_has_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "b")
    monkeypatch.setattr(archive, "MOST_IN_MEMORY", 5)
    with pytest.raises(BadBackup, match="more than any backup"):
        Reader(tmp_path / "b")


def test_memory_stays_flat_however_large_the_files_are(tmp_path: Path) -> None:
    source = tmp_path / "log"
    with source.open("wb") as file:
        file.write(os.urandom(12 * 2**20))
    tracemalloc.start()
    writer = Writer(tmp_path / "b")
    writer.header({})
    with source.open("rb") as file:
        writer.add_file(LOG, file)
    writer.finish()
    reader = Reader(tmp_path / "b")
    reader.verify()
    reader.close()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6_000_000


def test_the_description_of_a_backup_is_json_that_people_can_read(tmp_path: Path) -> None:
    entries = dict(entries_of(write(tmp_path / "b")))  # type: ignore[arg-type]
    assert json.loads(entries[MANIFEST])["logs"]["members"] == 1
