"""Loads of the memory sink: chunks kept beside the live table, then put in its place.

In: chunks as Arrow tables. Out: one transaction that swaps or folds the loaded rows in and sets the
watermark.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pyarrow as pa

from resources.failpoints import failpoint
from resources.sinks import memory_tables as tables
from resources.sinks.contract import Feed, Fence, TargetId, TargetTable, Watermark
from resources.sinks.fence import check_token
from resources.sinks.loading import insert_parts, own_load
from resources.sinks.memory_state import Load, Refuse, Store, fitting, open_load
from resources.sinks.shape import check_keep, conflicts_changed, no_load, target_schema


class MemoryLoads:
    """The loads of one store; at most one per target and feed. Each call is told in `Sink`.

    Args:
        store: The store.
        refuse: Raises what is wrong with rows.
    """

    def __init__(self, store: Store, refuse: Refuse) -> None:
        self._store = store
        self._refuse = refuse

    def begin(self, target: TargetTable, load_id: str, feed: Feed) -> None:
        """Start a load or keep the one of this id."""
        with self._store.transaction() as state:
            load = state.loads.get((target.id, load_id))
            if load is None:
                others = state.loads.items()
                state.loads = {k: v for k, v in others if (k[0], v.feed) != (target.id, feed)}
                state.loads[target.id, load_id] = Load(feed, target_schema(target))
            else:
                own_load(load, target.id, load_id, feed)
            failpoint("sink.load.after_begin")

    def chunks(self, target: TargetId, load_id: str) -> dict[int, int]:
        """Return the chunks that are in, and their row counts."""
        load = self._store.state.loads.get((target, load_id))
        if load is None:
            return {}
        return {number: rows.num_rows for number, rows in load.chunks.items()}

    def write_chunk(
        self, target: TargetTable, load_id: str, chunk: int, rows: Iterable[pa.Table]
    ) -> int:
        """Keep a chunk of a load unless it is there already."""
        with self._store.transaction() as state:
            load = open_load(state, target, load_id)
            if chunk in load.chunks:
                return int(load.chunks[chunk].num_rows)
            if load.finished is not None:
                raise no_load(target.id, load_id)
            parts = [load.schema.empty_table()]

            def insert(part: pa.Table) -> None:
                self._refuse(target, part, None)
                parts.append(tables.shaped(load.schema, part))

            count = insert_parts(target, load.feed, rows, insert)
            chunks = {**load.chunks, chunk: pa.concat_tables(parts)}
            state.loads[target.id, load_id] = replace(load, chunks=chunks)
            failpoint("sink.load.after_mark")
        failpoint("sink.load.after_commit")
        return count

    def conflicts(self, target: TargetTable, load_id: str, feed: Feed) -> pa.Table:
        """Return the loaded rows whose keys other feeds have."""
        state = self._store.state
        load = own_load(state.loads.get((target.id, load_id)), target.id, load_id, feed)
        rows, live = load.rows(), state.tables.get(target.id)
        if not target.owner or load.finished is not None or live is None:
            return rows.slice(0, 0)
        in_live = tables.in_live_types(target, live.schema, rows)
        foreign = tables.foreign_owners(target, live, in_live)
        rows = rows.take(pa.array(list(foreign), pa.int64()))
        index = rows.schema.get_field_index(target.owner)
        owners = pa.array(list(foreign.values()), rows.schema.field(index).type)
        return rows.set_column(index, target.owner, owners)

    def finish(
        self,
        target: TargetTable,
        load_id: str,
        fence: Fence,
        consistent_from: int,
        keep: Sequence[str],
        conflicts: int,
    ) -> int:
        """Put the loaded rows in the live table's place."""
        with self._store.transaction() as state:
            load = own_load(state.loads.get((target.id, load_id)), target.id, load_id, fence.feed)
            if load.finished is not None:
                return load.finished
            check_token(target.id, state.watermarks.get((target.id, fence.feed)), fence)
            live, rows = state.tables.get(target.id), load.rows()
            check_keep(target, None if live is None else live.schema, keep)
            found, count = 0, int(rows.num_rows)
            if target.existing == "kept" and not (keep or target.owner):
                fitting(state, target)
            if live is not None and (target.owner or keep):
                folded = tables.fold(target, live, rows, fence.feed, keep)
                failpoint("sink.finish.after_delete")
                found, count = folded.conflicts, int(folded.new.num_rows)
                rows = pa.concat_tables([folded.others, folded.new])
                failpoint("sink.finish.after_insert")
            if found != conflicts:
                raise conflicts_changed(target.id, load_id, conflicts, found)
            state.tables[target.id] = rows
            failpoint("sink.finish.after_swap")
            state.loads[target.id, load_id] = replace(load, finished=count)
            mark = Watermark(fence.new, consistent_from, fence.token)
            state.watermarks[target.id, fence.feed] = mark
            failpoint("sink.finish.after_watermark")
        failpoint("sink.finish.after_commit")
        return count

    def abandon(self, target: TargetId, load_id: str) -> None:
        """Forget a load."""
        with self._store.transaction() as state:
            load = state.loads.get((target, load_id))
            if load is not None and load.finished is None:
                del state.loads[target, load_id]
