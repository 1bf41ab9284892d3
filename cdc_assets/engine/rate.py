"""A token bucket for what is read from a source.

In: rows and bytes as they are read. Out: a pause when they come too fast.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class RateLimit:
    """Keeps rows and bytes per second under their limits, shared by a run's threads.

    Args:
        rows: Rows per second, None for no limit.
        bytes_: Bytes per second, None for no limit.
        sleep: How to wait.
        clock: What tells the time, in seconds.
    """

    def __init__(
        self,
        rows: float | None,
        bytes_: float | None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = (rows, bytes_)
        self._clock = clock
        self._last = clock()
        self._free_at = [self._last, self._last]
        self._lock = threading.Lock()
        self._sleep = sleep

    def took(self, rows: int, bytes_: int) -> None:
        """Account for what was just read, and wait until the limits allow more.

        The time since the last call counts as time spent reading; of what was left over before
        it, at most one second's worth is saved up for a burst.
        """
        now = self._clock()
        with self._lock:
            pause = 0.0
            since = min(self._last, now - 1.0)
            self._last = now
            for i, (limit, amount) in enumerate(zip(self._limits, (rows, bytes_), strict=True)):
                if limit is None:
                    continue
                self._free_at[i] = max(self._free_at[i], since) + amount / limit
                pause = max(pause, self._free_at[i] - now)
        if pause > 0:
            self._sleep(pause)
