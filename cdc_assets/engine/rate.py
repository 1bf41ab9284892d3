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
        self._free_at = [clock(), clock()]
        self._lock = threading.Lock()
        self._sleep = sleep

    def took(self, rows: int, bytes_: int) -> None:
        """Account for what was just read, and wait until the limits allow more.

        A quiet second is not saved up: at most one second's worth may come in a burst.
        """
        now = self._clock()
        with self._lock:
            pause = 0.0
            for i, (limit, amount) in enumerate(zip(self._limits, (rows, bytes_), strict=True)):
                if limit is None:
                    continue
                self._free_at[i] = max(self._free_at[i], now - 1.0) + amount / limit
                pause = max(pause, self._free_at[i] - now)
        if pause > 0:
            self._sleep(pause)
