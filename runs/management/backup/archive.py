"""The file of a backup: a compressed tar whose members come in a fixed order under names of ours. The
first says what it is, the last has the sums of all the others.

It may come from anywhere: a reader takes plain members only, under names that are expected, and reads
no more at once than it has room for.
"""

import gzip
import hashlib
import io
import json
import os
import tarfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from engines import folders

FORMAT = 1
HEADER, MANIFEST = "workflowhub-backup.json", "manifest.json"
TABLES = "tables"
FILES = ("keys", "logs", "work")
LEVEL = 4  # of compression: twice as fast as the default, and a tenth larger
MOST_IN_MEMORY = 64 * 2**20  # of a member that is read at once
MOST_OVERHEAD = 2**20  # tar headers between two members
MOST_RATIO, RATIO_FREE = 400, 64 * 2**20  # unpacked to packed bytes, once there are so many
LONGEST_NAME = 1024
# What the libraries raise for bytes that make no sense to them.
DAMAGE = (
    EOFError,
    IndexError,
    OverflowError,
    RecursionError,
    ValueError,
    gzip.BadGzipFile,
    tarfile.TarError,
    zlib.error,
)


class BadBackup(Exception):
    """The file can't be used. The text says why."""


@dataclass(slots=True)
class Sum:
    """Of a group of members: a table, the keys, the logs or the files of steps."""

    members: int = 0
    bytes: int = 0
    rows: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    def begin(self, name: str, size: int) -> None:
        self.members += 1
        self.bytes += size
        self.digest.update(f"{name}\0{size}\0".encode())

    def as_json(self) -> dict[str, Any]:
        return {
            "members": self.members,
            "bytes": self.bytes,
            "rows": self.rows,
            "sha256": self.digest.hexdigest(),
        }


def group_of(name: str) -> str:
    """To which sum a member belongs. Raises BadBackup for a name that no backup has."""
    parts = name.split("/")
    plain = len(name) <= LONGEST_NAME and all(map(folders.is_plain, parts))
    if plain and len(parts) == 3 and parts[0] == TABLES:
        return f"{TABLES}/{parts[1]}"
    if plain and parts[0] in FILES and 2 <= len(parts) <= folders.DEEPEST + 2:
        return parts[0]
    raise BadBackup(f"it holds {name[:100]!r}, which no backup has")


class Writer:
    """Writes a backup to a new file that only its owner can read; a broken one is taken away."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sums: dict[str, Sum] = {}
        self._half = path.with_name(f".{path.name}.part")
        handle = os.open(self._half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        self._file = os.fdopen(handle, "wb")
        os.fchmod(handle, 0o600)
        self._gzip = gzip.GzipFile("", "wb", LEVEL, self._file)
        self._tar = tarfile.TarFile.open(fileobj=cast(IO[bytes], self._gzip), mode="w|")

    def header(self, values: dict[str, Any]) -> None:
        self._put(HEADER, _json({"format": FORMAT, **values}))

    def add(self, name: str, data: bytes, *, rows: int = 0) -> None:
        """A member at once."""
        found = self.sums.setdefault(group_of(name), Sum())
        found.begin(name, len(data))
        found.rows += rows
        found.digest.update(data)
        self._put(name, data)

    def add_file(self, name: str, file: BinaryIO) -> None:
        """A file as long as it is now, whatever becomes of it meanwhile."""
        size = os.fstat(file.fileno()).st_size
        found = self.sums.setdefault(group_of(name), Sum())
        found.begin(name, size)
        self._tar.addfile(_info(name, size), cast(IO[bytes], _Counted(file, size, found)))
        self._tar.members = []  # type: ignore[attr-defined]  # tarfile keeps them all otherwise

    def finish(self) -> dict[str, Any]:
        """The file is whole now, and on the disk. Its manifest."""
        manifest = {name: found.as_json() for name, found in self.sums.items()}
        self._put(MANIFEST, _json(manifest))
        self._tar.close()
        self._gzip.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._put_in_place()
        return manifest

    def _put_in_place(self) -> None:
        """Never over another file."""
        try:
            os.link(self._half, self.path)
            os.unlink(self._half)
        except FileExistsError:
            raise
        except OSError:  # a disk without hard links
            if self.path.exists():
                raise FileExistsError(self.path) from None
            self._half.rename(self.path)

    def abandon(self) -> None:
        with suppress(OSError, ValueError):
            self._tar.fileobj.close()
        with suppress(OSError, ValueError):
            self._gzip.close()
        self._file.close()
        self._half.unlink(missing_ok=True)

    def _put(self, name: str, data: bytes) -> None:
        self._tar.addfile(_info(name, len(data)), io.BytesIO(data))
        self._tar.members = []  # type: ignore[attr-defined]


class _Counted:
    """A file's first `size` bytes, summed up as they are read; what it has lost since is zeros."""

    def __init__(self, file: BinaryIO, size: int, found: Sum) -> None:
        self._file = file
        self._left = size
        self._sum = found

    def read(self, size: int = -1) -> bytes:
        size = self._left if size < 0 else min(size, self._left)
        data = self._file.read(size)
        data += bytes(size - len(data))
        self._left -= size
        self._sum.digest.update(data)
        return data


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member while it is the reader's turn: read it before the next."""

    name: str
    group: str
    size: int
    file: "_Guarded"

    def read(self) -> bytes:
        """All of it. Raises BadBackup for one that is too large for that."""
        if self.size > MOST_IN_MEMORY:
            raise BadBackup(f"{self.name} has {self.size:,} bytes, more than any backup has there")
        return self.file.read(self.size)


class Reader:
    """Reads a backup, as often as it is asked. `header` is known at once, `manifest` after
    `verify`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest: dict[str, Any] = {}
        try:
            self._raw = path.open("rb")
        except OSError as error:
            raise BadBackup(f"it can't be opened: {error.strerror}") from None
        try:
            self.header = self._read_header()
        except BaseException:
            self._raw.close()
            raise

    def _read_header(self) -> dict[str, Any]:
        with _damage(), closing(self._walk()) as walk:
            name, info, tar = next(walk, ("", None, None))
            if name != HEADER or tar is None or info is None:
                raise BadBackup("it is no backup of a WorkflowHub")
            header = _object(self._take(tar, info, HEADER).read())
        if header.get("format") != FORMAT:
            raise BadBackup(
                f"its format is {header.get('format')!r}, and this version reads {FORMAT}: use the "
                "version of the hub that wrote it, or a newer one"
            )
        return header

    def close(self) -> None:
        self._raw.close()

    def verify(self) -> None:
        """Reads everything and compares the sums. Nothing else is done with what it reads."""
        sums: dict[str, Sum] = {}
        for member in self.members():
            found = sums.setdefault(member.group, Sum())
            found.begin(member.name, member.size)
            left = member.size
            while left:
                data = member.file.read(min(left, 2**20))
                found.digest.update(data)
                left -= len(data)
        told = {
            name: {key: said.get(key) for key in ("members", "bytes", "sha256")}
            for name, said in self.manifest.items()
            if isinstance(said, dict)
        }
        real = {name: {**found.as_json()} for name, found in sums.items()}
        for said in real.values():
            del said["rows"]
        if told != real:
            wrong = sorted({*told, *real} - {name for name in told if told[name] == real.get(name)})
            raise BadBackup(f"it is damaged: the sums of {', '.join(wrong)[:200]} are wrong")

    def members(self) -> Iterator[Member]:
        """Every member but the first and the last, in order. Raises BadBackup, perhaps half way."""
        with _damage():
            whole = False
            with closing(self._walk()) as walk:
                for number, (name, info, tar) in enumerate(walk):
                    if whole:
                        raise BadBackup("something follows its end")
                    if number == 0:
                        continue
                    member = self._take(tar, info, name)
                    if name == MANIFEST:
                        self.manifest = _object(member.read())
                        whole = True
                        continue
                    yield member
            if not whole:
                raise BadBackup("its end is missing")

    def _walk(self) -> Generator[tuple[str, tarfile.TarInfo, tarfile.TarFile], None, None]:
        self._raw.seek(0)
        self._source = source = _Source(self._raw)
        source.room = MOST_OVERHEAD
        with tarfile.open(fileobj=cast(IO[bytes], source), mode="r|") as tar:
            while (info := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]
                if info.type not in {tarfile.REGTYPE, tarfile.AREGTYPE} or info.sparse:
                    raise BadBackup(f"{info.name[:100]!r} in it is no plain file")
                yield info.name, info, tar

    def _take(self, tar: tarfile.TarFile, info: tarfile.TarInfo, name: str) -> Member:
        group = "" if name in {HEADER, MANIFEST} else group_of(name)
        file = tar.extractfile(info)
        if file is None:
            raise BadBackup(f"{name[:100]!r} in it is no plain file")
        self._source.room = info.size + MOST_OVERHEAD  # up to the next member
        return Member(name=name, group=group, size=info.size, file=_Guarded(file))


class _Guarded:
    """A member's bytes; raises BadBackup where they can't be read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        with _damage():
            return self._file.read(size)


@contextmanager
def _damage() -> Iterator[None]:
    try:
        yield
    except DAMAGE as error:
        raise BadBackup(f"it is damaged, or no backup at all ({error})") from None


class _Source:
    """The unpacked stream. `room`: how much may be read until somebody gives more."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._gzip = gzip.GzipFile(fileobj=raw, mode="rb")
        self._total = 0
        self.room = 0

    def read(self, size: int) -> bytes:
        data = self._gzip.read(size)
        self.room -= len(data)
        self._total += len(data)
        if self.room < 0:
            raise BadBackup("it holds more between its members than any backup does")
        if self._total > RATIO_FREE + MOST_RATIO * self._raw.tell():
            raise BadBackup("it unpacks to far more than any backup does")
        return data


def _info(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    return info


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode()


def _object(data: bytes) -> dict[str, Any]:
    found = json.loads(data)
    if not isinstance(found, dict):
        raise BadBackup("its description is no object")
    return found
