"""Fills a hub with a month of history to look at, and takes it out again."""

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from runs.actions import cancel_run, start_run
from runs.management.demo import history
from runs.management.demo.stories import CLUSTER, LABEL, STORIES
from runs.models import Workflow, WorkflowRun
from runs.policy import Actor
from runs.states import Wanted

USUAL = 4000
SLOW = 300  # seconds that each step of the runs takes that go on


class Command(BaseCommand):
    help = (
        "Makes about so many runs of the last 30 days, of six workflows that never ran, with what "
        "failed and was retried, and starts a few. They carry the label demo=true."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "runs", nargs="?", type=_number, default=USUAL, help=f"{USUAL} by default"
        )
        parser.add_argument("--seed", type=int, default=1, help="another one tells another month")
        parser.add_argument("--remove", action="store_true", help="take all of it out again")
        parser.add_argument(
            "--beside", action="store_true", help="also where the hub has runs of its own"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        selector = ",".join(f"{key}={value}" for key, value in LABEL.items())
        there = WorkflowRun.objects.for_selector(selector).exists()
        if options["remove"]:
            going_on = WorkflowRun.objects.for_selector(selector).active()
            for run in going_on.exclude(wanted=Wanted.CANCEL):
                cancel_run(Actor(), run)
            gone, left = history.clear(self._say), going_on.count()
            rest = f" Still ending: {left:,}. Run this again in a moment." if left else ""
            self.stdout.write(f"Removed {gone:,} runs.{rest}")
            return
        if there:
            raise CommandError("The demonstration is there already: first demo_data --remove.")
        if WorkflowRun.objects.exists() and not options["beside"]:
            raise CommandError(
                "This hub has runs of its own. To put the demonstration beside them: --beside."
            )
        made = history.fill(options["runs"], seed=options["seed"], say=self._say)
        live = self._start_some()
        self.stdout.write(f"Made {made:,} runs of {history.DAYS} days, and started {live}.")

    def _start_some(self) -> int:
        """What runs now, and one that waits for a cluster which is switched off."""
        slow = [story for story in STORIES if story.engine != CLUSTER][:4]
        for story in slow:
            workflow = Workflow.objects.get(title=story.title, latest=True)
            start_run(Actor(), workflow, parameters={"pace": SLOW}, note="Of the demonstration.")
        (waiting,) = (story for story in STORIES if story.engine == CLUSTER)
        workflow = Workflow.objects.get(title=waiting.title, latest=True)
        engine = history.engine_of(waiting.engine)
        start_run(Actor(), workflow, engine=engine, note="Of the demonstration.")
        return len(slow) + 1

    def _say(self, done: int, of: int) -> None:
        self.stderr.write(f"{done:,} of about {of:,}", ending="\r")


def _number(text: str) -> int:
    if not text.isdecimal() or not 100 <= int(text) <= 20_000_000:
        raise argparse.ArgumentTypeError("Give a number from 100 to 20000000.")
    return int(text)
