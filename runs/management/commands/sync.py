"""Makes the engines do what is wanted, and the database say what they do: once, or for ever."""

import argparse
import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from engines.models import Engine
from runs.models import WorkflowRun
from runs.reconciler.loop import watch
from runs.reconciler.once import once


class Command(BaseCommand):
    help = "Syncs runs and engines. Any number of these may run: leases decide who does what."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        how = parser.add_mutually_exclusive_group()
        how.add_argument("--once", action="store_true", help="one round, then end (the default)")
        how.add_argument("--watch", action="store_true", help="go on until SIGTERM")
        parser.add_argument("--engine", metavar="NAME", help="only this engine")
        parser.add_argument("--run", metavar="ID", type=int, help="only this run, once")

    def handle(self, *args: Any, **options: Any) -> None:
        engine = self._engine(options["engine"])
        if options["watch"]:
            if options["run"]:
                raise CommandError("--run is for one round: leave --watch out.")
            self._watch(engine)
            return
        run = None
        if options["run"]:
            run = WorkflowRun.objects.filter(pk=options["run"]).first()
            if run is None:
                raise CommandError(f"There is no run {options['run']}.")
        done = once(engine=engine, run=run)
        if options["verbosity"] > 0:
            names = ", ".join(done.looked_at) or "no engine"
            self.stdout.write(f"Looked at {names}; {done.handled} runs were due.")
            if done.busy:
                self.stdout.write(f"Looked after by another process: {', '.join(done.busy)}.")

    def _watch(self, engine: Engine | None) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        watch(stop, engine=engine)

    def _engine(self, name: str | None) -> Engine | None:
        if name is None:
            return None
        engine = Engine.objects.filter(name=name).first()
        if engine is None:
            known = ", ".join(Engine.objects.values_list("name", flat=True)) or "none"
            raise CommandError(f"There is no engine {name}. Known: {known}.")
        return engine
