"""Writes the whole hub into one file, while it runs."""

import argparse
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from runs.management.backup.archive import TABLES
from runs.management.backup.dump import Refused, write_backup

WITH_KEYS = (
    "It holds the keys of this hub: whoever has it can read every stored secret and log in as "
    "anybody. Keep it as you keep a password."
)
WITHOUT_KEYS = (
    "It holds no keys. Without WORKFLOWHUB_SECRET_KEYS of this hub its stored secrets can't be read: "
    "keep that elsewhere."
)


class Command(BaseCommand):
    help = (
        "Writes database, keys and logs into one file that `restore` takes, also into the other kind "
        "of database. Everything may go on meanwhile."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="a new file, such as hub-2026-01-31.tar.gz")
        parser.add_argument("--without-keys", action="store_true", help="leave the keys out")
        parser.add_argument("--without-logs", action="store_true", help="leave the logs out")
        parser.add_argument(
            "--with-artifacts", action="store_true", help="also the files that steps left"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            manifest = write_backup(
                options["file"],
                keys=not options["without_keys"],
                logs=not options["without_logs"],
                work=options["with_artifacts"],
                say=lambda name: self._say(name, options["verbosity"]),
            )
        except Refused as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            raise CommandError(f"The backup could not be written: {error}.") from None
        tables = [said for name, said in manifest.items() if name.startswith(f"{TABLES}/")]
        parts = [f"{sum(said['rows'] for said in tables):,} rows"]
        for name, what in (("logs", "logs"), ("work", "files of steps")):
            if name in manifest:
                parts.append(f"{manifest[name]['members']:,} {what}")
        size = options["file"].stat().st_size
        self.stdout.write(f"Wrote {options['file']}: {', '.join(parts)}, {size:,} bytes.")
        self.stderr.write(WITH_KEYS if "keys" in manifest else WITHOUT_KEYS, str)

    def _say(self, name: str, verbosity: int) -> None:
        if verbosity > 1:
            self.stderr.write(name, str)
