"""`manage.py worker`: runs the steps of the built-in engine."""

import sys
from typing import Any

import structlog
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from engines.adapters.local.worker.parent import Parent
from engines.dag import callables

log = structlog.get_logger("engines.worker")


class Command(BaseCommand):
    help = "Runs the steps of the built-in engine until SIGTERM, which lets them finish (20 s)."
    # It serves no URL, so it need not load them all: `manage.py check` does.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--concurrency",
            type=int,
            default=settings.WORKFLOWHUB_WORKERS or 1,
            metavar="N",
            help="How many steps run at once (default: WORKFLOWHUB_WORKERS).",
        )
        parser.add_argument(
            "--drain",
            action="store_true",
            help="End when no step is ready, running or to be retried.",
        )

        parser.add_argument(
            "--grace",
            type=float,
            default=20.0,
            metavar="SECONDS",
            help="How long running steps may go on after SIGTERM; then others take them (20).",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        concurrency = options["concurrency"]
        if not 1 <= concurrency <= 256:
            raise CommandError("--concurrency must be from 1 to 256.")
        load_callables()
        Parent(concurrency, drain=options["drain"], grace=options["grace"]).run()
        sys.stdout.flush()


def load_callables() -> None:
    """Before the children are forked, so that they share the memory. A module that can't be
    imported fails the steps that need it, not the worker."""
    try:
        callables.load()
    except Exception as error:  # noqa: BLE001  the operator's code
        log.error("WORKFLOWHUB_HANDLER_MODULES can't be imported", error=str(error))
