"""Slices decoded in threads of their own while the caller is busy with those before.

In: a function that yields what the walk over a log finds. Out: its slices in the same order, a few
of them ahead. One thread reads and walks, another one converts: both leave Python for most of
their work, so that they share two processors well.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import closing
from queue import Queue
from typing import TypeAlias

from resources.model.change import LogSlice
from resources.mysql.binlog.gatherer import Gatherer, Piece

Produce: TypeAlias = Callable[[Callable[[], bool]], Generator[Piece]]
"""Yields pieces until what it is given says that nobody wants more."""

_AHEAD_BYTES = 32 << 20
_AHEAD_PIECES = 3


def read_ahead(produce: Produce) -> Generator[LogSlice]:
    """Yield the slices of what `produce` yields; an error comes after the slices before it.

    At most one slice, or several small ones, wait to be taken. The threads begin with the first
    slice asked for and have ended when this generator ends or is closed.
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
        self._pieces: Queue[Piece | None] = Queue(_AHEAD_PIECES)
        self._changed = threading.Condition()
        self._waiting: deque[tuple[LogSlice, int]] = deque()
        self._bytes = 0
        self._closed = threading.Event()
        self._ended = False
        self._error: BaseException | None = None
        self._threads = [
            threading.Thread(target=target, name=f"binlog {name}", daemon=True)
            for name, target in (("walk", self._walk), ("convert", self._convert))
        ]
        for thread in self._threads:
            thread.start()

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
        """End the threads."""
        self._closed.set()
        with self._changed:
            self._waiting.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _walk(self) -> None:
        error = None
        try:
            with closing(self._produce(self._closed.is_set)) as pieces:
                for piece in pieces:
                    self._pieces.put(piece)
                    if self._closed.is_set():
                        break
        except BaseException as raised:  # raised again where the slices are taken
            error = raised
        self._error = self._error or error
        self._pieces.put(None)

    def _convert(self) -> None:
        """Convert all pieces; once nobody wants more, only see them out."""
        gatherer = Gatherer()
        while (piece := self._pieces.get()) is not None:
            if self._closed.is_set():
                continue
            try:
                if (whole := gatherer.take(piece)) is not None:
                    self._put(whole)
            except BaseException as raised:
                self._error = raised
                self._closed.set()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _put(self, piece: LogSlice) -> None:
        size = sum(batch.rows.get_total_buffer_size() for batch in piece.batches)
        with self._changed:
            while self._waiting and self._bytes + size > _AHEAD_BYTES:
                if self._closed.is_set():
                    return
                self._changed.wait()
            self._waiting.append((piece, size))
            self._bytes += size
            self._changed.notify_all()
