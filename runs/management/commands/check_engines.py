"""Asks every engine how it is, now, from this machine, and says what an operator should know."""

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from engines.base import EngineError
from engines.config import ConfigError
from engines.connect import connect
from engines.models import Engine
from engines.registry import UnknownKind


class Command(BaseCommand):
    help = "Tests the connection to each enabled engine. The exit code is 1 if one is not well."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("names", nargs="*", metavar="NAME", help="only these engines")

    def handle(self, *args: Any, **options: Any) -> None:
        names = options["names"]
        engines = Engine.objects.order_by("name")
        engines = engines.filter(name__in=names) if names else engines.enabled()
        unknown = sorted(set(names) - {engine.name for engine in engines})
        if unknown:
            raise CommandError(f"There is no engine {', '.join(unknown)}.")
        bad = [engine.name for engine in engines if not self._check(engine)]
        if bad:
            raise CommandError(f"Not well: {', '.join(bad)}.")

    def _check(self, engine: Engine) -> bool:
        try:
            answer = connect(engine).health()
        except (EngineError, ConfigError, UnknownKind) as error:
            self.stdout.write(f"{engine.name} ({engine.kind}): {error}")
            return False
        what = "well" if answer.ok else "not well"
        version = f", version {answer.version}" if answer.version else ""
        self.stdout.write(
            f"{engine.name} ({engine.kind}): {what}{version}. {answer.message}".rstrip()
        )
        return answer.ok
