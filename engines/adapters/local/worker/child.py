"""A worker's child: takes a step, runs it, records its outcome and takes the next in one transaction,
and sleeps when there is nothing to do until its parent wakes it. While steps are short it takes several
together."""

import os
import select
import signal
import time
from collections.abc import Sequence
from typing import NamedTuple

import structlog
from django.db import DatabaseError, InterfaceError, OperationalError, connection

from engines.adapters.local.worker.batch import Size, Waiting
from engines.adapters.local.worker.board import Slot
from engines.adapters.local.worker.running import Runner
from engines.dag import spool
from engines.dag.definitions import Plan
from engines.dag.held import Taker
from engines.dag.leases import hand_back
from engines.dag.outcome import Outcome, Taken, refused
from engines.dag.processes import adopt_orphans, die_with_parent
from engines.dag.spool import Ended
from engines.dag.turns import Turn, turn
from engines.faults import crash_point

log = structlog.get_logger("engines.worker")

IDLE_SECONDS = 5.0  # a look in spite of no wake-up
LONGEST_PAUSE = 2.0
STAY_SECONDS = 0.2  # then the execution that waits longest has its turn
MORE = b"m"


class Done(NamedTuple):
    """What a child has to tell: how its tries ended, and those (step, token) that it took with them and
    never began."""

    outcomes: Sequence[Outcome] = ()
    unbegun: Sequence[tuple[int, int]] = ()


class Child:
    """`wake`: a pipe's end to read from, `more`: one to write to when others could work as well.
    `waiting`, `ended`: of the steps that it takes together."""

    def __init__(
        self, taker: Taker, slot: Slot, wake: int, more: int, waiting: Waiting, ended: Ended
    ) -> None:
        self.taker = taker
        self.slot = slot
        self.wake = wake
        self.more = more
        self.waiting = waiting
        self.ended = ended
        self.size = Size()

    def main(self, parent: int) -> None:
        """Until the board says that the worker drains."""
        os.setsid()
        die_with_parent(parent)
        adopt_orphans()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        runner = Runner(self.slot)
        runner.install()
        done = Done()
        plan: Plan | None = None
        stayed_since, execution = time.monotonic(), 0
        while True:
            stay = time.monotonic() - stayed_since < STAY_SECONDS
            taken = self.turn(done, plan, stay=stay)
            done = Done()
            self.slot.holds = bool(taken)
            if not taken:
                if self.slot.drains:
                    self.ended.close()
                    return
                self.sleep()
                continue
            plan = taken[0].plan
            if plan.id != execution or not stay:
                stayed_since, execution = time.monotonic(), plan.id
            crash_point("step.taken")
            done = self.run(runner, taken)
            if done.outcomes:
                self.size.learn(done.outcomes)
            crash_point("step.ended")

    def run(self, runner: Runner, taken: Sequence[Taken]) -> Done:
        """One after the other, until one doesn't do what it was to do, which may keep the others from
        starting, or the parent gives those that wait to others."""
        self.slot.relieved = False
        self.waiting.put([(step.step_id, step.token) for step in taken])
        outcomes: list[Outcome] = []
        for step in taken:
            if outcomes:
                self.ended.keep(outcomes[-1])
            if self.waiting.next() is None:
                break
            crash_point("step.next")
            outcomes.append(runner.run(step))
            if not outcomes[-1].plain:
                return Done(outcomes, self.waiting.withdraw())
        return Done(outcomes)

    def turn(self, done: Done, plan: Plan | None, *, stay: bool) -> list[Taken]:
        """Records and takes, however long the database is away."""
        turned = self._insist(done, plan, stay=stay, want=self.size.want)
        if turned is None:
            return []
        self.ended.forget()
        if not self.slot.relieved:
            for outcome in turned.late:
                log.warning("an outcome came too late", step=outcome.name, id=outcome.step_id)
        if turned.others:
            os.write(self.more, MORE)
        return turned.taken

    def _insist(
        self,
        done: Done,
        plan: Plan | None,
        *,
        stay: bool,
        want: int,
        others: Sequence[Outcome] = (),
    ) -> Turn | None:
        """While the database is down it goes on trying, with the outcomes on disk; what the database
        refuses for good fails its step. `others`: outcomes that go by themselves. None if the worker
        drains before the database is back."""
        outcomes, unbegun = done
        pause, spooled, again, unsure = 0.05, False, False, False
        while True:
            try:
                if unsure:
                    # It may have been committed, and only the answer got lost.
                    hand_back(self.taker, [*outcomes, *others])
                    unsure = False
                wanted = 0 if self.slot.drains else want
                turned = turn(self.taker, outcomes, plan, unbegun=unbegun, stay=stay, want=wanted)
            except (OperationalError, InterfaceError) as error:
                log.warning("the database can't be reached", error=str(error).strip())
                connection.close()
                unsure = True
                if not spooled:
                    for outcome in outcomes:
                        spool.keep(outcome)
                    spooled = True
                if self.slot.drains:
                    return None
                time.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
            except DatabaseError as error:
                connection.close()
                if len(outcomes) > 1:
                    each = self._one_by_one(done, plan, stay=stay, want=want)
                    if each is None:
                        return None
                    turned = each
                    break
                if not outcomes or again:
                    raise
                outcomes, again = [refused(outcomes[0], error)], True
            else:
                break
        if spooled and outcomes:
            crash_point("spool.recorded")
            for outcome in outcomes:
                spool.drop(outcome)
        return turned

    def _one_by_one(self, done: Done, plan: Plan | None, *, stay: bool, want: int) -> Turn | None:
        """Which of them the database refuses shows when each goes by itself."""
        late: list[Outcome] = []
        for outcome in done.outcomes:
            turned = self._insist(
                Done([outcome], done.unbegun), plan, stay=stay, want=0, others=done.outcomes
            )
            if turned is None:
                return None
            late += turned.late
        last = self._insist(Done(), None, stay=stay, want=want)
        return last._replace(late=late) if last else None

    def sleep(self) -> None:
        ready, _, _ = select.select([self.wake], [], [], IDLE_SECONDS)
        if ready and not os.read(self.wake, 4096):
            os._exit(0)  # the parent is gone
