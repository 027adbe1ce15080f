"""Prints a new API token and nothing else, so that a script can keep it."""

import argparse
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from engines.clock import database_now
from runs import actions
from runs.errors import ActionError
from runs.models.access import Role
from runs.policy import Actor


class Command(BaseCommand):
    help = "Makes an API token for a user. It is shown this once."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("user", help="user name")
        parser.add_argument("--role", choices=Role.values, help="at most the user's own (default)")
        parser.add_argument("--name", default="", help="what it is for")
        parser.add_argument(
            "--days", type=int, help="how long it is good for; for ever if left out"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        user = get_user_model().objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['user']}.")
        days = options["days"]
        try:
            _, plain = actions.issue_token(
                Actor(),
                user=user,
                role=Role(options["role"]) if options["role"] else None,
                name=options["name"],
                expires_at=database_now() + timedelta(days=days) if days is not None else None,
            )
        except ActionError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(plain)
