"""What sinks that load tables do alike: their loads are in the hands of one object, which they ask.

In: the calls of `Sink` about loads. Out: the same calls of `Loads`. What two engines check of a
load and of its rows in the same way is here too; statements are each engine's own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Protocol, Self, TypeVar

import pyarrow as pa

from resources.failpoints import failpoint
from resources.sinks import shape
from resources.sinks.contract import Feed, Fence, TargetId, TargetTable


class Loads(Protocol):
    """The loads of one place; at most one per feed and target. Each call is told in `Sink`."""

    def begin(self, target: TargetTable, load_id: str, feed: Feed) -> None:
        """See `Sink.begin_load`."""
        ...

    def chunks(self, target: TargetId, load_id: str) -> dict[int, int]:
        """See `Sink.loaded_chunks`."""
        ...

    def write_chunk(
        self, target: TargetTable, load_id: str, chunk: int, rows: Iterable[pa.Table]
    ) -> int:
        """See `Sink.load_chunk`."""
        ...

    def conflicts(self, target: TargetTable, load_id: str, feed: Feed) -> pa.Table:
        """See `Sink.load_conflicts`."""
        ...

    def finish(
        self,
        target: TargetTable,
        load_id: str,
        fence: Fence,
        consistent_from: int,
        keep: Sequence[str],
        conflicts: int,
    ) -> int:
        """See `Sink.finish_load`."""
        ...

    def abandon(self, target: TargetId, load_id: str) -> None:
        """See `Sink.abandon_load`."""
        ...


class LoadingSink(ABC):
    """The calls about loads, and the end of a `with` block, of a sink that has `_loads`."""

    _loads: Loads

    def begin_load(self, target: TargetTable, load_id: str, feed: Feed) -> None:
        """Prepare a load beside the live table; see `Sink.begin_load`."""
        self._loads.begin(target, load_id, feed)

    def loaded_chunks(self, target: TargetId, load_id: str) -> dict[int, int]:
        """Return the chunks that are in, and their row counts."""
        return self._loads.chunks(target, load_id)

    def load_chunk(
        self, target: TargetTable, load_id: str, chunk: int, rows: Iterable[pa.Table]
    ) -> int:
        """Write one chunk and its mark; see `Sink.load_chunk`."""
        return self._loads.write_chunk(target, load_id, chunk, rows)

    def load_conflicts(self, target: TargetTable, load_id: str, feed: Feed) -> pa.Table:
        """Return the loaded rows whose keys other feeds have; see `Sink.load_conflicts`."""
        return self._loads.conflicts(target, load_id, feed)

    def finish_load(
        self,
        target: TargetTable,
        load_id: str,
        fence: Fence,
        consistent_from: int,
        *,
        keep: Sequence[str] = (),
        conflicts: int = 0,
    ) -> int:
        """Put the loaded rows in the live table's place; see `Sink.finish_load`."""
        return self._loads.finish(target, load_id, fence, consistent_from, keep, conflicts)

    def abandon_load(self, target: TargetId, load_id: str) -> None:
        """Drop a load that will not be finished."""
        self._loads.abandon(target, load_id)

    @abstractmethod
    def close(self) -> None:
        """Release every connection and file."""

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()


class Begun(Protocol):
    """A load as an engine's ledger has it."""

    @property
    def feed(self) -> Feed:
        """Who began it."""
        ...


L = TypeVar("L", bound=Begun)


def own_load(load: L | None, target: TargetId, load_id: str, feed: Feed) -> L:
    """Return the load that was found under an id, if it is the feed's.

    Raises:
        TerminalError: It was not begun, or by another feed.
    """
    if load is None:
        raise shape.no_load(target, load_id)
    if load.feed != feed:
        raise shape.load_of_another(target, load_id, str(load.feed))
    return load


def insert_parts(
    target: TargetTable, feed: Feed, parts: Iterable[pa.Table], insert: Callable[[pa.Table], object]
) -> int:
    """Insert the parts of a chunk as they come, each checked before; returns the rows written.

    Args:
        target: The table.
        feed: Whose load it is.
        parts: Rows of the target's shape.
        insert: Inserts one part into the load's table.

    Raises:
        SchemaMismatch: A part has another shape.
        TerminalError: A part holds rows of another feed.
    """
    count = 0
    for part in parts:
        shape.check_rows(target, part, shape.target_schema(target))
        shape.check_owner(target, part, feed)
        insert(part)
        count += part.num_rows
        failpoint("sink.load.after_rows")
    return count
