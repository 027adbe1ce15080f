"""I1 and I2 as the engines see them: each attempt goes on there exactly as long as it does here.

Called by `manage.py fsck --ask-engines`, and by nothing else: the other checks ask no engine. Nothing
is changed, neither here nor there.
"""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from django.db.models import F, Q

from engines.base import EngineAdapter, EngineError, RunNotFound, RunSnapshot, Submission
from engines.clock import database_now
from engines.config import ConfigError
from engines.connect import connect
from engines.models import Engine
from engines.registry import UnknownKind
from engines.secrets import UnreadableSecret
from runs.invariants.check import ACTIVE, JUST_NOW
from runs.models import RunAttempt, WorkflowRun
from runs.states import ACTIVE_RUN_STATES

MOST = 1000  # attempts that are looked up at one engine, and runs that it may list
SECONDS = 60.0  # after which one engine is asked nothing more
OUR_ID = re.compile(r"wh-([0-9a-f-]{36})-\d+")

Item = TypeVar("Item")


@dataclass(slots=True, kw_only=True)
class Asked:
    """What an engine said. `left`: attempts that it was not asked about; `broken`: what breaks an
    invariant; `strangers`: what it runs under ids like ours that this hub never gave, such as another
    hub's; `silent`: why it could not be asked, or not to the end."""

    engine: str
    looked_up: int = 0
    left: int = 0
    broken: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    silent: str = ""


def ask_engines() -> Iterator[Asked]:
    """Every engine, one after the other. No error of an engine leaves this."""
    for engine in Engine.objects.order_by("name"):
        answer = Asked(engine=engine.name)
        try:
            if engine.enabled:
                _Talk(connect(engine), engine, answer).hold()
            else:
                answer.silent = "It is switched off."
        except (EngineError, ConfigError, UnknownKind, UnreadableSecret) as error:
            answer.silent = str(error)
        except Exception as error:  # noqa: BLE001 - one adapter's bug hides no other engine
            answer.silent = engine.words_of(error)
        yield answer


class _Talk:
    """With one engine."""

    def __init__(self, adapter: EngineAdapter, engine: Engine, answer: Asked) -> None:
        self.adapter = adapter
        self.engine = engine
        self.answer = answer
        self.ends = time.monotonic() + SECONDS

    def hold(self) -> None:
        attempts, left = self._attempts()
        self.answer.left = left + len(attempts)
        accepted = [attempt for attempt in attempts if attempt.accepted_at]
        if not self.adapter.observes_changes:
            for part in _parts(accepted, self.adapter.page_size):
                seen = self._observed([attempt.external_id for attempt in part])
                for attempt in part:
                    self._note(attempt, seen.get(attempt.external_id))
        # Others would tell of everything that ever changed besides: these are asked one by one.
        elif self.adapter.submission is not Submission.TAG_ONLY:
            for attempt in accepted:
                self._note(attempt, self._find(attempt.external_id))
        elif accepted:
            self.answer.silent = "It finds one run by our id only before it has taken it."
        for attempt in attempts:
            if not attempt.accepted_at:
                self._note(attempt, self._find(attempt.external_id))
        # What the built-in engine has is in our own tables, where I1b looks.
        if self.adapter.observes_changes and self.adapter.submission is not Submission.OURS:
            self._list()

    def _attempts(self) -> tuple[list[RunAttempt], int]:
        """Those that may be at the engine, one for each id of its: what goes on, then the newest; and
        how many more there are."""
        sent = RunAttempt.objects.filter(
            Q(sent_at__isnull=False) | Q(accepted_at__isnull=False),
            run__engine=self.engine,
            run__marked=False,
        ).exclude(external_id="")
        present = sent.filter(number=F("run__attempt"), run__state__in=ACTIVE)
        found: dict[str, RunAttempt] = {}
        for rows in (present, sent):
            for attempt in rows.select_related("run").order_by("-run_id", "-number")[:MOST]:
                if len(found) < MOST:
                    found.setdefault(attempt.external_id, attempt)
        return list(found.values()), sent.values("external_id").distinct().count() - len(found)

    def _find(self, external_id: str) -> RunSnapshot | None:
        self._check_time()
        try:
            return self.adapter.find(external_id)
        except RunNotFound:
            return None

    def _observed(self, ids: Sequence[str]) -> dict[str, RunSnapshot]:
        self._check_time()
        pages = self.adapter.observe(None, ids)
        return {snapshot.external_id: snapshot for page in pages for snapshot in page.snapshots}

    def _check_time(self) -> None:
        if time.monotonic() > self.ends:
            raise EngineError(f"It was asked for {SECONDS:.0f} s, and nothing more after that.")

    def _note(self, attempt: RunAttempt, seen: RunSnapshot | None) -> None:
        """Compares the two. What changed a moment ago, or meanwhile, may be on its way."""
        self.answer.looked_up += 1
        self.answer.left -= 1
        run = attempt.run
        present = attempt.number == run.attempt and not run.final
        if present and attempt.accepted_at and seen is None:
            text = "and the engine does not know it"
        elif not present and seen is not None and seen.state in ACTIVE_RUN_STATES:
            text = "and it goes on at the engine"
        else:
            return
        settled = WorkflowRun.objects.filter(
            pk=run.pk, version=run.version, updated_at__lt=database_now() - JUST_NOW
        )
        if settled.exists():
            word = "goes on" if present else "is over"
            number = f"attempt {attempt.number} of run {run.pk}"
            self.answer.broken.append(f"{number} ({attempt.external_id}) {word}, {text}")

    def _list(self) -> None:
        """What the engine has going under ids like ours, of which we know nothing."""
        listed = 0
        for page in self.adapter.observe(None, ()):
            self._check_time()
            for snapshot in page.snapshots:
                self._note_stranger(snapshot)
            listed += len(page.snapshots)
            if listed >= MOST and page.cursor is None:
                raise EngineError(f"It lists more than {listed} runs: not all were looked at.")

    def _note_stranger(self, snapshot: RunSnapshot) -> None:
        name = snapshot.external_id
        ours = OUR_ID.match(name)
        if ours is None or snapshot.state not in ACTIVE_RUN_STATES:
            return
        if RunAttempt.objects.filter(external_id=name).exists():
            return
        if WorkflowRun.objects.filter(uuid=ours[1]).exists():
            self.answer.broken.append(f"{name} goes on, and its run has no such attempt")
        else:
            self.answer.strangers.append(name)


def _parts(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    for at in range(0, len(items), size):
        yield items[at : at + size]
