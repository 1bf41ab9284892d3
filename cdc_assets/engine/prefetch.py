"""Chunks read on several connections at once, handed over in order, in bounded memory.

In: planned chunks. Out: their parts, as they arrive.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from resources.model.chunk import Chunk
from resources.model.source import ChunkRows, SnapshotSource
from resources.model.table import TableSchema

PARTS_AHEAD = 4
"""Parts one reader may be ahead of the writer; with the part size it bounds the memory."""


class ChunkParts:
    """One chunk's rows, part by part, while a thread is still reading them.

    Args:
        chunk: The chunk.
        stop: Set when nobody wants the rest.
    """

    def __init__(self, chunk: Chunk, stop: threading.Event) -> None:
        self.chunk = chunk
        self._stop = stop
        self._dropped = threading.Event()
        self._parts: queue.Queue[ChunkRows | None] = queue.Queue(PARTS_AHEAD)
        self._error: BaseException | None = None

    def __iter__(self) -> Iterator[ChunkRows]:
        """Yield the parts; raises here what the reading thread raised."""
        while (part := self._parts.get()) is not None:
            yield part
        if self._error is not None:
            raise self._error

    def fill(self, source: SnapshotSource, schema: TableSchema) -> None:
        """Read the chunk (in a reader thread)."""
        try:
            for part in source.read_chunk(schema, self.chunk):
                if not self._put(part):
                    return
        except BaseException as error:  # handed to the thread that iterates
            self._error = error
        self._put(None)

    def drop(self) -> None:
        """Let the reader stop early: the rest is not wanted."""
        self._dropped.set()

    def _put(self, part: ChunkRows | None) -> bool:
        while not (self._stop.is_set() or self._dropped.is_set()):
            try:
                self._parts.put(part, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False


@contextmanager
def read_ahead(
    source: SnapshotSource, schema: TableSchema, chunks: Iterator[Chunk], parallel: int
) -> Iterator[Iterator[ChunkParts]]:
    """Read up to `parallel` chunks at the same time and give them out in plan order.

    Args:
        source: Its `read_chunk` is called from several threads.
        schema: The table.
        chunks: The plan, drawn from as readers become free.
        parallel: Connections to use.
    """
    stop = threading.Event()
    pool = ThreadPoolExecutor(parallel, thread_name_prefix="copy")
    try:
        yield _in_order(source, schema, chunks, parallel, pool, stop)
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _in_order(
    source: SnapshotSource,
    schema: TableSchema,
    chunks: Iterator[Chunk],
    parallel: int,
    pool: ThreadPoolExecutor,
    stop: threading.Event,
) -> Iterator[ChunkParts]:
    ahead: deque[tuple[ChunkParts, Future[None]]] = deque()
    for chunk in chunks:
        parts = ChunkParts(chunk, stop)
        ahead.append((parts, pool.submit(parts.fill, source, schema)))
        if len(ahead) >= parallel:
            yield from _finished(ahead)
    while ahead:
        yield from _finished(ahead)


def _finished(ahead: deque[tuple[ChunkParts, Future[None]]]) -> Iterator[ChunkParts]:
    parts, future = ahead.popleft()
    yield parts
    parts.drop()
    future.result()
