"""What the memory sink holds: tables, watermarks and loads by store name.

In: targets, feeds and fences. Out: state that a transaction copies, changes and puts in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import RLock

import pyarrow as pa

from resources.failpoints import failpoint
from resources.sinks.contract import Feed, Fence, TargetId, TargetTable, Watermark
from resources.sinks.fence import moved_watermark
from resources.sinks.shape import misfit, no_load, no_table, show_schema, target_schema

Refuse = Callable[[TargetTable, pa.Table, pa.Table | None], None]
"""Raises what is wrong with rows of a target; beside its live table, also with their owners."""


@dataclass(frozen=True)
class Load:
    """A load: whose, of what columns, the chunks that are in, and the row count once finished."""

    feed: Feed
    schema: pa.Schema
    chunks: dict[int, pa.Table] = field(default_factory=dict)
    finished: int | None = None

    def rows(self) -> pa.Table:
        """Return the rows of all chunks."""
        return pa.concat_tables([self.schema.empty_table(), *self.chunks.values()])


@dataclass
class State:
    """All that transactions change."""

    tables: dict[TargetId, pa.Table] = field(default_factory=dict)
    watermarks: dict[tuple[TargetId, Feed], Watermark] = field(default_factory=dict)
    loads: dict[tuple[TargetId, str], Load] = field(default_factory=dict)

    def copy(self) -> State:
        """Return a copy to change; what it holds is never changed in place."""
        return State(dict(self.tables), dict(self.watermarks), dict(self.loads))

    def live(self, target: TargetId) -> pa.Table:
        """Return a table.

        Raises:
            SchemaMismatch: There is none.
        """
        if target not in self.tables:
            raise no_table(target)
        return self.tables[target]


@dataclass
class Store:
    """A state by name, and the lock its transactions hold."""

    state: State = field(default_factory=State)
    lock: RLock = field(default_factory=RLock)

    @contextmanager
    def transaction(self) -> Iterator[State]:
        """Give a copy of the state to change; it counts once the block ends without an error."""
        with self.lock:
            state = self.state.copy()
            yield state
            failpoint("sink.before_commit")
            self.state = state


STORES: dict[str, Store] = {}


def fits(live: pa.Schema, wanted: pa.Schema) -> bool:
    """Return whether a table has the columns wanted, in whatever order."""
    return {f.name: f.type for f in live} == {f.name: f.type for f in wanted}


def fitting(state: State, target: TargetTable) -> pa.Table:
    """Return the live table.

    Raises:
        SchemaMismatch: There is none, or it has other columns.
    """
    live = state.live(target.id)
    if not fits(live.schema, target_schema(target)):
        raise misfit(target.id, show_schema(live.schema), show_schema(target_schema(target)))
    return live


def move_watermark(state: State, target: TargetId, fence: Fence) -> None:
    """Compare and set a feed's watermark. Raises as `moved_watermark`."""
    found = state.watermarks.get((target, fence.feed))
    state.watermarks[target, fence.feed] = moved_watermark(target, found, fence)


def open_load(state: State, target: TargetTable, load_id: str) -> Load:
    """Return a load to write a chunk of.

    Raises:
        TerminalError: There is none of this id.
        SchemaMismatch: It was begun with other columns.
    """
    load = state.loads.get((target.id, load_id))
    if load is None:
        raise no_load(target.id, load_id)
    if not fits(load.schema, target_schema(target)):
        raise misfit(target.id, show_schema(load.schema), show_schema(target_schema(target)))
    return load
