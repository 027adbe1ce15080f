"""A lease that this process holds, and the patience with whatever is done under it."""

import time
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import transaction

from engines.faults import crash_point
from runs import leases
from runs.wakeups import wake_reconciler


class Hold:
    """Proof that we may act on a thing. Used by the thread that acts and by the one that renews.

    `fence` goes into every write. `check` comes before every call to an engine: a process that was
    paused past its lease finds out before it calls. Renewal stops when the acting thread has not
    come by for too long, so that another process may take over from one that hangs.
    """

    def __init__(self, fence: leases.Fence, began: float) -> None:
        self.fence = fence
        self._until = began + settings.WORKFLOWHUB_LEASE
        self._patience = 3 * settings.WORKFLOWHUB_ENGINE_DEADLINE + settings.WORKFLOWHUB_LEASE
        self._came_by = time.monotonic()
        self._deadline: float | None = None
        self._asked_to_end = False
        self.lost = False

    @property
    def ending(self) -> bool:
        """Whether nothing new should be begun."""
        late = self._deadline is not None and time.monotonic() >= self._deadline
        return self._asked_to_end or late

    def end_soon(self) -> None:
        self._asked_to_end = True

    def end_after(self, seconds: float) -> None:
        """Nothing new is begun after so many seconds from now."""
        self._deadline = time.monotonic() + seconds

    def check(self) -> None:
        """Raises LeaseLost unless the lease is ours by this machine's clock, too."""
        self._came_by = time.monotonic()
        if self.lost or self._came_by >= self._until:
            self.lost = True
            raise leases.LeaseLost(f"The lease {self.fence.name} ran out before it was renewed.")
        if self._came_by >= self._until - settings.WORKFLOWHUB_LEASE / 2:
            self.renew()  # where no other thread does it

    def come_by(self) -> None:
        """Says that the acting thread is well, also while it has nothing to do."""
        self._came_by = time.monotonic()

    def renew(self) -> None:
        """Lengthens the lease; marks the hold as lost where that fails."""
        began = time.monotonic()
        if self.lost or began - self._came_by > self._patience:
            return
        if leases.renew(self.fence, settings.WORKFLOWHUB_LEASE):
            self._until = began + settings.WORKFLOWHUB_LEASE
        else:
            self.lost = True

    def release(self) -> None:
        """Gives the lease up and tells the others, so that one takes over at once."""
        self.lost = True
        with transaction.atomic():
            leases.release(self.fence)
            wake_reconciler()
            crash_point("release.writing")
        crash_point("release.written")


def take(name: str, owner: UUID, *, until: datetime | None = None) -> Hold | None:
    """The hold of a free lease, or None. `until`: see leases.acquire."""
    began = time.monotonic()
    fence = leases.acquire(name, owner, settings.WORKFLOWHUB_LEASE, until=until)
    crash_point("lease.taken")
    return Hold(fence, began) if fence else None
