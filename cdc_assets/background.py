"""Work in a thread of its own, its messages handled in the caller's.

In: a function. Out: what it says, one message at a time, with a beat in between, so that only the
caller's thread talks to Dagster and a quiet run still reports in time.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from typing import Generic, TypeVar

M = TypeVar("M")
T = TypeVar("T")

BEAT_SECONDS = 1.0
GRACE_SECONDS = 60.0
"""How long an interrupted run waits for its thread to reach a boundary."""


class Background(Generic[M, T]):
    """One piece of work and what it says.

    Args:
        work: Is handed `say` and `stopped`; ends soon after the latter returns True.
    """

    def __init__(self, work: Callable[[Callable[[M], None], Callable[[], bool]], T]) -> None:
        self._work = work
        self._said: queue.Queue[M | BaseException | None] = queue.Queue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._result: list[T] = []

    def messages(self) -> Generator[M | None, None, None]:
        """Start, and yield what the work says; None at least once a second.

        Leaving early asks the work to stop and waits for it.

        Raises:
            BaseException: What the work raised, after everything it said.
        """
        self._thread.start()
        try:
            while True:
                try:
                    message = self._said.get(timeout=BEAT_SECONDS)
                except queue.Empty:
                    yield None
                    continue
                if isinstance(message, BaseException):
                    raise message
                if message is None:
                    return
                yield message
        finally:
            self._stop.set()
            self._thread.join(GRACE_SECONDS)

    @property
    def result(self) -> T:
        """What the work returned, once `messages` has ended."""
        return self._result[0]

    def _run(self) -> None:
        try:
            self._result.append(self._work(self._said.put, self._stop.is_set))
            self._said.put(None)
        except BaseException as error:  # raised again in the caller's thread
            self._said.put(error)
