"""Puts the files of a backup in their places once the database is in its own, and what was there
aside. Until then they wait in a hidden folder beside it, on the same disk."""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings

from engines.folders import FOLDER_MODE
from runs.management.backup import contents
from runs.management.backup.archive import BadBackup, Member

BLOCK = 2**20
FILE_MODE, KEY_MODE = 0o640, 0o600
SPOOL = (
    "spool"  # results of steps that were not recorded: of steps that the restored hub doesn't have
)


@dataclass(slots=True)
class Places:
    """Of one restore, told apart from others by `stamp`. `kept`: where old files went."""

    stamp: str
    kept: list[Path] = field(default_factory=list)
    _folders: dict[str, Path] = field(default_factory=dict)
    _keys: dict[str, bytes] = field(default_factory=dict)

    def check_room(self, sizes: dict[str, int]) -> None:
        """Raises BadBackup where a disk hasn't room for the files; `sizes`: bytes of each folder."""
        for folder in contents.folders():
            place = folder.path
            while not place.exists():
                place = place.parent
            need, free = sizes.get(folder.name, 0), shutil.disk_usage(place).free
            if need > free:
                raise BadBackup(
                    f"its {folder.name} need {need:,} bytes, and {folder.path} has room for {free:,}"
                )

    def expect(self, names: set[str]) -> None:
        """These folders are in the backup: they are replaced, whether it has files for them or not."""
        for folder in contents.folders():
            if folder.name in names:
                for stale in folder.path.glob(".restoring-*"):
                    shutil.rmtree(stale, ignore_errors=True)  # of a restore that was killed
                waiting = folder.path / f".restoring-{self.stamp}"
                folder.path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
                waiting.mkdir(mode=0o700)
                self._folders[folder.name] = folder.path

    def take(self, member: Member) -> None:
        """A file of the backup."""
        if member.group == "keys":
            name = member.name.partition("/")[2]
            if name not in contents.KEYS:
                raise BadBackup(f"it has a key {name!r:.100}, which no hub has")
            self._keys[name] = member.read()
            return
        folder = self._folders.get(member.group)
        if folder is None:
            raise BadBackup(f"it holds {member.group}, and says that it doesn't")
        path = folder / f".restoring-{self.stamp}" / member.name.partition("/")[2]
        path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE)
        except (FileExistsError, NotADirectoryError):
            raise BadBackup(f"it holds {member.name!r:.200} twice") from None
        with os.fdopen(handle, "wb") as file:
            shutil.copyfileobj(member.file, file, BLOCK)

    def key(self, name: str) -> str:
        """The key of that name that the restored hub will have."""
        if name in self._keys and not contents.is_from_environment(name):
            return self._keys[name].decode("utf-8", "replace").strip()
        return ""

    def settle(self) -> None:
        """The database is restored: now the files are."""
        for folder in self._folders.values():
            self._swap(folder)
        for name, data in self._keys.items():
            if not contents.is_from_environment(name):
                self._put_key(name, data)
        spool = Path(settings.WORKFLOWHUB_HOME) / SPOOL
        if spool.is_dir() and any(spool.iterdir()):
            self._set_aside(spool)

    def abandon(self) -> None:
        """Nothing is restored: what waited is taken away."""
        for folder in self._folders.values():
            shutil.rmtree(folder / f".restoring-{self.stamp}", ignore_errors=True)

    def _swap(self, folder: Path) -> None:
        waiting = folder / f".restoring-{self.stamp}"
        aside = folder / f".before-restore-{self.stamp}"
        old = [entry.name for entry in os.scandir(folder) if not entry.name.startswith(".")]
        if old:
            aside.mkdir(mode=0o700)
            self.kept.append(aside)
        for name in old:
            os.rename(folder / name, aside / name)
        for name in os.listdir(waiting):
            os.rename(waiting / name, folder / name)
        waiting.rmdir()

    def _put_key(self, name: str, data: bytes) -> None:
        path = contents.key_file(name)
        if path.exists():
            if path.read_bytes() == data:
                return
            self._set_aside(path)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, KEY_MODE)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            os.fsync(handle)

    def _set_aside(self, path: Path) -> None:
        aside = path.with_name(f"{path.name}.before-restore-{self.stamp}")
        path.rename(aside)
        self.kept.append(aside)
