"""The answer that hands a file to a browser which nobody trusts: whatever its name and content, it is
saved and never shown, run or guessed at. Memory stays flat, and a download may go on where it broke off.
"""

import os
import re
import stat
from io import RawIOBase
from typing import Any, BinaryIO

from django.http import FileResponse, HttpResponse, HttpResponseBase
from django.utils.http import http_date

BLOCK = 65_536
# Of anything else the browser is told nothing but that it is bytes.
TYPES = {
    ".csv": "text/csv; charset=utf-8",
    ".gif": "image/gif",
    ".gz": "application/gzip",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".log": "text/plain; charset=utf-8",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".tsv": "text/tab-separated-values; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".zip": "application/zip",
}
UNKNOWN = "application/octet-stream"
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def attachment(file: BinaryIO, path: str, *, range_header: str = "") -> HttpResponseBase:
    """The file as a download under the last part of its path; `range_header`: the request's Range,
    of which one piece is understood."""
    name = path.rpartition("/")[2]
    size, modified = _status(file)
    begin, end = 0, size
    answer: HttpResponseBase
    if size is not None and (match := _RANGE.fullmatch(range_header.strip())):
        piece = _piece(match[1], match[2], size)
        if piece is None:
            file.close()
            return HttpResponse(status=416, headers={"Content-Range": f"bytes */{size}"})
        begin, end = piece
    answer = FileResponse(
        _Piece(file, begin, end),
        as_attachment=True,
        filename=name,
        content_type=TYPES.get(os.path.splitext(name)[1].lower(), UNKNOWN),
    )
    answer.block_size = BLOCK
    if size is not None and end is not None:
        answer["Content-Length"] = str(end - begin)
        answer["Accept-Ranges"] = "bytes"
        if (begin, end) != (0, size):
            answer.status_code = 206
            answer["Content-Range"] = f"bytes {begin}-{end - 1}/{size}"
    if modified is not None:
        answer["Last-Modified"] = http_date(modified)
    answer["X-Content-Type-Options"] = "nosniff"
    answer["Content-Security-Policy"] = "default-src 'none'; sandbox"
    answer["Cache-Control"] = "private, no-cache"
    return answer


class _Piece(RawIOBase):
    """The bytes of a file from `begin` up to `end`, however it grows meanwhile."""

    def __init__(self, file: BinaryIO, begin: int, end: int | None) -> None:
        if begin:
            file.seek(begin)
        self._file = file
        self._left = None if end is None else end - begin

    def read(self, size: int = -1) -> bytes:
        if self._left is not None:
            size = self._left if size < 0 else min(size, self._left)
        data = self._file.read(size)
        if self._left is not None:
            self._left -= len(data)
        return data

    def readable(self) -> bool:
        return True

    def tell(self) -> Any:
        raise OSError("It is read once, from its beginning.")

    def close(self) -> None:
        self._file.close()
        super().close()


def _status(file: BinaryIO) -> tuple[int | None, float | None]:
    """(size, time of the last change) where it is a file of this machine."""
    try:
        found = os.fstat(file.fileno())
    except OSError:
        return None, None
    if not stat.S_ISREG(found.st_mode):
        return None, None
    return found.st_size, min(max(found.st_mtime, 0.0), 4e9)


def _piece(first: str, last: str, size: int) -> tuple[int, int] | None:
    """[begin, end) of a range; None where nothing of the file is in it."""
    if not first:
        begin, end = max(size - int(last or 0), 0), size
    else:
        begin, end = int(first), min(int(last) + 1, size) if last else size
    return (begin, end) if begin < end else None
