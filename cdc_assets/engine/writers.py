"""The sinks a run writes through: one for a file, several for a server, never more than allowed.

In: what opens a sink. Out: a sink for one unit of work, given back afterwards.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from resources.sinks.contract import Sink


@dataclass
class _Open:
    sink: Sink
    since: float


class Writers:
    """Hands out sinks, as many at a time as there may be; others wait for their turn.

    A thread that holds one and asks again gets the same.

    Args:
        open_sink: Makes a sink.
        limit: How many there may be at a time.
        hold: Seconds a sink that admits one writing process is held before it is released, so
            that a long copy and a running sync get turns at the same file.
    """

    def __init__(self, open_sink: Callable[[], Sink], limit: int, hold: float) -> None:
        self._open_sink = open_sink
        self._hold = hold
        self._free = threading.Semaphore(limit)
        self._lock = threading.Lock()
        self._idle: list[_Open] = []
        self._mine = threading.local()

    @contextmanager
    def sink(self) -> Iterator[Sink]:
        """Hand out a sink for one unit of work."""
        held: _Open | None = getattr(self._mine, "held", None)
        if held is not None:
            yield held.sink
            return
        with self._free:
            with self._lock:
                held = self._idle.pop() if self._idle else None
            held = held or _Open(self._open_sink(), time.monotonic())
            self._mine.held = held
            try:
                yield held.sink
            finally:
                self._mine.held = None
                self._give_back(held)

    def _give_back(self, held: _Open) -> None:
        late = time.monotonic() - held.since > self._hold
        if late and not held.sink.capabilities.parallel_writers:
            held.sink.close()
            return
        with self._lock:
            self._idle.append(held)

    def release(self) -> None:
        """Close the sinks that nobody uses now; others are opened when they are needed."""
        held: _Open | None = getattr(self._mine, "held", None)
        if held is not None:  # asked by the one that uses it: it opens again by itself
            held.sink.close()
        with self._lock:
            idle, self._idle = self._idle, []
        for one in idle:
            one.sink.close()
