"""`manage.py down`: stops the hub of this home, wherever it was started."""

import contextlib
import os
import signal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from runs.management.lock import HomeLock

WAIT_SECONDS = 30
SOON_SECONDS = 2.0


class Command(BaseCommand):
    help = "Stops the hub that runs in this home, and waits until all of it has ended."
    requires_system_checks = []

    def handle(self, **_: Any) -> None:
        lock = HomeLock(settings.WORKFLOWHUB_HOME)
        holder = lock.holder()
        if holder is None:
            self.stdout.write(f"No hub runs in {settings.WORKFLOWHUB_HOME}.")
            return
        if not holder.pid:
            raise CommandError("The hub is just starting. Try again in a few seconds.")
        with contextlib.suppress(ProcessLookupError):  # then its last processes are still ending
            os.kill(holder.pid, signal.SIGTERM)
        if not lock.wait_until_free(SOON_SECONDS):
            self.stdout.write("Stopping: steps that run have up to 25 s to end or be handed back.")
            self.stdout.flush()
        if not lock.wait_until_free(WAIT_SECONDS):
            raise CommandError(
                f"The hub (process {holder.pid}) still runs after {WAIT_SECONDS} s. "
                f"Its log: {settings.WORKFLOWHUB_HOME / 'hub.log'}"
            )
        self.stdout.write("Stopped.")
