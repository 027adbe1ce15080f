"""Refuses a form that is too large before a byte of its files is read, and writes no file to disk.

Django bounds a form's fields, but not its files: without this a stranger could fill the disk through
the log-in form, since looking for the CSRF token reads the whole body.
"""

from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.files.uploadhandler import MemoryFileUploadHandler


class BoundedUploadHandler(MemoryFileUploadHandler):
    """Keeps the files of one form in memory: DATA_UPLOAD_MAX_MEMORY_SIZE bytes, fields included."""

    def handle_raw_input(
        self,
        input_data: Any,
        META: dict[str, Any],
        content_length: int,
        boundary: str,
        encoding: str | None = None,
    ) -> None:
        """Raises RequestDataTooBig."""
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        if limit is not None and content_length > limit:
            raise RequestDataTooBig(f"The form has more than {limit:,} bytes.")
        self.activated = True
