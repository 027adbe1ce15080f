"""Makes a hub of a backup: everything in its file, or nothing."""

import argparse
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connection

from runs.management.backup.archive import BadBackup
from runs.management.backup.restoring import Done, FilesLeft, Restorer, what_is_in_the_way
from runs.management.lock import AlreadyRunning, HomeLock


class Command(BaseCommand):
    help = (
        "Makes a hub of a file that `backup` wrote. Refused while anything of a hub runs on this home "
        "or database, and where there is a hub already unless --replace is given."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--replace", action="store_true", help="give up the hub that is here for the backup"
        )
        parser.add_argument("--yes", action="store_true", help="don't ask whether you are sure")

    def handle(self, *args: Any, **options: Any) -> None:
        home: Path = settings.WORKFLOWHUB_HOME
        lock = HomeLock(home)
        try:
            lock.take()  # nobody starts a hub here meanwhile
            self._restore(options)
        except AlreadyRunning as error:
            raise CommandError(str(error)) from None
        except BadBackup as error:
            raise CommandError(
                f"{options['file']} can't be restored: {error}. Nothing was changed."
            ) from None
        except FilesLeft as error:
            raise CommandError(
                f"The database is restored, but files could not be put in their places: {error}. Mend "
                "that, then run the restore again, with --replace."
            ) from None
        except (OSError, DatabaseError) as error:
            text = " ".join(str(error).split())
            raise CommandError(f"The restore failed, and nothing was changed: {text}") from None
        finally:
            lock.release()

    def _restore(self, options: dict[str, Any]) -> None:
        with closing(Restorer(options["file"])) as restorer:
            if problem := what_is_in_the_way(replace=options["replace"]):
                raise CommandError(problem)
            restorer.check()
            if options["replace"] and not options["yes"]:
                self._ask(restorer)
            verbosity = options["verbosity"]
            done = restorer.restore(lambda name: self._say(name, verbosity))
        self.stdout.write("\n".join(_told(done)))

    def _ask(self, restorer: Restorer) -> None:
        if not sys.stdin.isatty():
            raise CommandError("--replace deletes what this hub holds: confirm it with --yes.")
        database = connection.settings_dict["NAME"]
        self.stderr.write(
            f"All that is in {database} is replaced by what was in a hub at "
            f"{restorer.made_at:%Y-%m-%d %H:%M:%S} UTC.",
            str,
        )
        if input("Type yes to go on: ").strip().lower() != "yes":
            raise CommandError("Nothing was changed.")

    def _say(self, name: str, verbosity: int) -> None:
        if verbosity > 1:
            self.stderr.write(name, str)


def _told(done: Done) -> list[str]:
    counts = done.counts
    lines = [
        f"Restored the hub as it was at {done.made_at:%Y-%m-%d %H:%M:%S} UTC: {counts.runs:,} runs, "
        f"{counts.active:,} of them active.",
        f"  Every API token is void ({counts.tokens:,} were valid), and nobody is logged in: issue "
        "new tokens. Passwords and accounts are those of the backup.",
    ]
    if counts.to_look_up:
        lines.append(
            f"  {counts.to_look_up:,} runs may have been sent to an engine since the backup was made. "
            "They are looked for there before anything is sent."
        )
    if counts.workers:
        lines.append("  Steps of the built-in engine that ran at that time will run again.")
    lines.append(
        "  Runs that were started later are unknown now. Engines still have theirs: they are left alone."
    )
    if not done.keys_fit:
        lines.append(
            "  The stored secrets can't be read with the keys of this hub: put those of the backed-up "
            "hub into WORKFLOWHUB_SECRET_KEYS, or enter the secrets again."
        )
    lines += [f"  Kept: {path}" for path in done.kept]
    lines.append("Run manage.py fsck, start the hub, and delete what was kept when all is well.")
    return lines
