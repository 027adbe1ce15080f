"""Checks the hub's invariants. The exit code is 1 where one is broken and was not mended."""

import argparse
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from runs.fsck import Broken, run_checks
from runs.invariants import CHECKS
from runs.invariants.asking import Asked, ask_engines

SHOWN = 5


class Command(BaseCommand):
    help = "Checks that the database keeps what the hub promises, and says what to do where not."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--fix", action="store_true", help="mend what a machine may mend")
        parser.add_argument(
            "--only",
            action="append",
            default=[],
            choices=[check.code for check in CHECKS],
            help="only this check; may be given again",
        )
        parser.add_argument(
            "--ask-engines",
            action="store_true",
            help="also ask each engine for the runs that were sent to it; nothing is changed there",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        found = run_checks(fix=options["fix"], codes=options["only"])
        left = sum([self._tell(broken, fix=options["fix"]) for broken in found])
        asked = list(ask_engines()) if options["ask_engines"] else []
        differ = sum([self._tell_engine(answer) for answer in asked])
        problems = []
        if left:
            problems.append(f"{left} of {len(CHECKS)} invariants are broken.")
        if differ:
            problems.append(f"{differ} of {len(asked)} engines have other runs than the hub.")
        if problems:
            raise CommandError(" ".join(problems))
        if options["verbosity"] > 0:
            silent = ", ".join(answer.engine for answer in asked if answer.silent)
            but = f", as far as the engines could be asked: not all of {silent}" if silent else ""
            self.stdout.write(f"Every invariant holds{but}.")

    def _tell(self, broken: Broken, *, fix: bool) -> bool:
        """Whether it is broken still."""
        check = broken.check
        self.stdout.write(f"{check.code}: {broken.number} break this: {check.holds}")
        self._list(broken.examples, broken.number)
        if fix and check.mend:
            self.stdout.write(f"    Mended: {broken.mended}.")
            if not broken.left:
                return False
            self.stdout.write(f"    Still there: {broken.left}.")
            self._list(broken.remain, broken.left)
            self.stdout.write("    What to do: run it again; where that doesn't help, report it.")
            return True
        self.stdout.write(f"    What to do: {check.remedy}")
        return True

    def _tell_engine(self, answer: Asked) -> bool:
        """Whether it runs something else than the hub says."""
        left = f", {answer.left} not" if answer.left else ""
        self.stdout.write(f"{answer.engine}: {answer.looked_up} attempts looked up{left}.")
        if answer.silent:
            self.stdout.write(f"    Not asked, or not to the end: {answer.silent}")
        if answer.strangers:
            number = len(answer.strangers)
            self.stdout.write(f"    Under ids like ours, and not of this hub: {number}.")
            self._list(answer.strangers, number)
        if answer.broken:
            self.stdout.write(f"    Not as the hub says: {len(answer.broken)}.")
            self._list(answer.broken, len(answer.broken))
            self.stdout.write(
                "    What to do: let sync look again; cancel at the engine what goes on for nobody."
            )
        return bool(answer.broken)

    def _list(self, lines: Sequence[str], number: int) -> None:
        for line in lines[:SHOWN]:
            self.stdout.write(f"    {line}")
        if number > SHOWN:
            self.stdout.write("    …")
