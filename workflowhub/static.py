"""Static files: hashed and compressed once they are collected, and as they lie before that."""

from whitenoise.storage import CompressedManifestStaticFilesStorage


class HubStaticFilesStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]  # untyped
    """Names carry a hash as soon as there is a manifest, so tests and a fresh clone need none."""

    def stored_name(self, name: str) -> str:
        return str(super().stored_name(name)) if self.hashed_files else name
