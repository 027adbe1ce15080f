"""Restores a backup, all of it or nothing: what may be refused is refused before anything is changed,
then the database appears in one go, then the files."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings
from django.core.management import call_command

from engines.clock import database_now
from runs.management.backup import checks, target
from runs.management.backup.aftermath import Counts, forget_the_present
from runs.management.backup.archive import TABLES, BadBackup, Reader
from runs.management.backup.dump import KEY_CHECK
from runs.management.backup.load import Loader, past_of
from runs.management.backup.places import Places


class FilesLeft(Exception):
    """The database is restored, and not all files are in their places."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a restore did. `kept`: where what was there before is now."""

    made_at: datetime
    counts: Counts
    kept: list[Path]
    keys_fit: bool


class Restorer:
    """Of one file. `check` changes nothing; `restore` may follow."""

    def __init__(self, path: Path) -> None:
        self.reader = Reader(path)

    @property
    def made_at(self) -> datetime:
        try:
            found = datetime.fromisoformat(self.reader.header["created_at"])
        except (KeyError, TypeError, ValueError):
            found = None
        if found is None or found.tzinfo is None:
            raise BadBackup("it doesn't say when it was made")
        return found

    def close(self) -> None:
        self.reader.close()

    def check(self) -> None:
        """Raises BadBackup for a file that can't be restored here."""
        _ = self.made_at
        past_of(self.reader.header)
        self.reader.verify()

    def restore(self, say: Callable[[str], None]) -> Done:
        """Raises BadBackup, OSError and the database's errors: then nothing has changed; FilesLeft."""
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        places = Places(stamp)
        manifest = self.reader.manifest
        sizes = {name: said["bytes"] for name, said in manifest.items()}
        try:
            places.check_room(sizes)
            places.expect(self._files())
            past = past_of(self.reader.header)
            with target.building(stamp, past.tables):
                loader = Loader(self.reader.header, past, database_now() - self.made_at)
                say("making the tables")
                loader.make_tables()
                group = ""
                for member in self.reader.members():
                    if member.group != group:
                        group = member.group
                        say(group)
                    if group.startswith(f"{TABLES}/"):
                        loader.load(member)
                    else:
                        places.take(member)
                say("bringing the tables up to date")
                loader.finish(manifest)
                call_command("ensure_schedules", verbosity=0)
                counts = forget_the_present(self.made_at)
        except BaseException:
            places.abandon()
            raise
        try:
            places.settle()
        except OSError as error:
            raise FilesLeft(str(error)) from error
        aside = target.kept_aside(stamp)
        return Done(
            made_at=self.made_at,
            counts=counts,
            kept=[*([aside] if aside else []), *places.kept],
            keys_fit=self.keys_fit(places),
        )

    def _files(self) -> set[str]:
        """The folders that the backup was made with."""
        told: Any = self.reader.header.get("files")
        return {str(name) for name in told} if isinstance(told, list) else set()

    def keys_fit(self, places: Places) -> bool:
        """Whether the restored hub can read the secrets in its rows."""
        check: Any = self.reader.header.get("key_check")
        keys = [places.key("secret_keys")] if places.key("secret_keys") else []
        for key in keys or settings.WORKFLOWHUB_SECRET_KEYS:
            try:
                if Fernet(key).decrypt(str(check).encode()) == KEY_CHECK.encode():
                    return True
            except (InvalidToken, ValueError):
                continue
        return False


def what_is_in_the_way(*, replace: bool) -> str:
    """Why nothing may be restored here, in sentences; empty where it may."""
    running = list(checks.what_runs())
    if running:
        return (
            "Something of a hub still runs here:\n  "
            + "\n  ".join(running)
            + "\nStop all of its processes, on all machines; what was killed is silent a few seconds "
            "later."
        )
    if checks.is_in_use() and not replace:
        return (
            "There is a hub in this database. To give up all that it holds for what the backup holds, "
            "say --replace."
        )
    return ""
