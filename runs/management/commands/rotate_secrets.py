"""Puts everything that is encrypted under the first of WORKFLOWHUB_SECRET_KEYS."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from runs.encrypted import rotate_all


class Command(BaseCommand):
    help = (
        "Encrypts every stored secret anew under the first of WORKFLOWHUB_SECRET_KEYS, so that the "
        "other keys can be removed. The exit code is 1 if none of the keys reads one."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        done = rotate_all()
        what = "value is" if done.turned == 1 else "values are"
        self.stdout.write(f"{done.turned} encrypted {what} under the first key now.")
        for name in done.unreadable:
            self.stderr.write(f"None of the keys reads {name}.")
        if done.unreadable:
            raise CommandError(
                "Add the old key behind the new one and run this again, or enter those secrets anew."
            )
