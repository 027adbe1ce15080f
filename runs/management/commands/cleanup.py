"""Deletes what is old: archived workflows, finished runs, logs, and the hub's own leftovers."""

import argparse
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from runs import retention


class Command(BaseCommand):
    help = (
        "Deletes what is older than the settings say. With options, only what they name; "
        "without, all of it and the hub's own leftovers."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--archived",
            action="store_true",
            help="workflows archived for longer than WORKFLOWHUB_KEEP_ARCHIVED_DAYS",
        )
        parser.add_argument(
            "--finished-older-than", metavar="DAYS", type=_days, help="runs that ended before that"
        )
        parser.add_argument(
            "--logs", action="store_true", help="logs older than WORKFLOWHUB_KEEP_LOGS_DAYS"
        )
        parser.add_argument(
            "--artifacts",
            action="store_true",
            help="files of steps older than WORKFLOWHUB_KEEP_ARTIFACTS_DAYS",
        )
        parser.add_argument("--dry-run", action="store_true", help="only say what would go")
        parser.add_argument(
            "--batch", type=_batch, default=retention.BATCH, help="rows in one transaction"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        days = options["finished_older_than"]
        limits = None
        named = ("archived", "logs", "artifacts")
        if any(options[name] for name in named) or days is not None:
            limits = retention.Limits(
                archived=settings.WORKFLOWHUB_KEEP_ARCHIVED if options["archived"] else None,
                finished=days,
                logs=settings.WORKFLOWHUB_KEEP_LOGS if options["logs"] else None,
                artifacts=settings.WORKFLOWHUB_KEEP_ARTIFACTS if options["artifacts"] else None,
            )
        report = retention.clean_up(limits, dry_run=options["dry_run"], batch=options["batch"])
        verb = "Would delete" if options["dry_run"] else "Deleted"
        self.stdout.write(f"{verb}: {report}.")


def _days(text: str) -> timedelta:
    try:
        days = float(text.removesuffix("d"))
        if days < 0:
            raise ValueError(text)
        return timedelta(days=days)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number of days, such as 30 or 0.5."
        ) from None


def _batch(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError("Give a number from 1 to 10000.")
    return int(text)
