"""How often one caller may call: WORKFLOWHUB_API_RATE, for each process of the web server."""

import time
from typing import Any

from rest_framework.request import Request
from rest_framework.throttling import UserRateThrottle


class CallerThrottle(UserRateThrottle):
    """Counts in fixed windows: one number a caller, where DRF keeps the time of every call."""

    num_requests: int | None
    duration: int | None
    left: float = 0.0

    def allow_request(self, request: Request, view: Any) -> bool:
        if not self.num_requests or not self.duration:
            return True
        window, passed = divmod(time.time(), self.duration)
        self.left = self.duration - passed
        key = f"{self.get_cache_key(request, view)}:{int(window)}"
        self.cache.add(key, 0, timeout=self.duration)
        try:
            return bool(self.cache.incr(key) <= self.num_requests)
        except ValueError:  # the window ended between the two lines
            return True

    def wait(self) -> float:
        return self.left
