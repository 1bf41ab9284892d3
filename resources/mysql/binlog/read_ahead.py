"""Slices decoded in a thread of their own while the caller is busy with those before.

In: a function that yields slices. Out: the same slices in the same order, a few of them ahead.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TypeAlias

from resources.model.change import LogSlice

Produce: TypeAlias = Callable[[Callable[[], bool]], Iterator[LogSlice]]
"""Yields slices until what it is given says that nobody wants more."""

_AHEAD_BYTES = 32 << 20


def read_ahead(produce: Produce) -> Iterator[LogSlice]:
    """Yield what `produce` yields; an error comes after the slices before it.

    At most one slice, or several small ones, wait to be taken. The thread begins with the first
    slice asked for and has ended when this generator ends or is closed.
    """
    ahead = _Ahead(produce)
    try:
        while (piece := ahead.next()) is not None:
            yield piece
    finally:
        ahead.close()


class _Ahead:
    def __init__(self, produce: Produce) -> None:
        self._produce = produce
        self._changed = threading.Condition()
        self._waiting: deque[tuple[LogSlice, int]] = deque()
        self._bytes = 0
        self._closed = threading.Event()
        self._ended = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="binlog", daemon=True)
        self._thread.start()

    def next(self) -> LogSlice | None:
        """Return the next slice, None after the last."""
        with self._changed:
            while not self._waiting and not self._ended:
                self._changed.wait()
            if self._waiting:
                piece, size = self._waiting.popleft()
                self._bytes -= size
                self._changed.notify_all()
                return piece
        if self._error is not None:
            raise self._error
        return None

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        with self._changed:
            self._waiting.clear()
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        try:
            with closing(self._produce(self._closed.is_set)) as slices:  # type: ignore[type-var]
                for piece in slices:
                    self._put(piece)
                    if self._closed.is_set():
                        break
        except BaseException as error:  # raised again where the slices are taken
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _put(self, piece: LogSlice) -> None:
        size = sum(batch.rows.nbytes for batch in piece.batches)
        with self._changed:
            while self._waiting and self._bytes + size > _AHEAD_BYTES:
                if self._closed.is_set():
                    return
                self._changed.wait()
            self._waiting.append((piece, size))
            self._bytes += size
            self._changed.notify_all()
