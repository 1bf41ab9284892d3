"""The memory sink: the whole contract over Arrow tables, for tests and dry runs.

In: what every sink gets. Out: tables that live as long as the process, by store name, so that a
sink object given up in the middle of a call can be opened anew on what it left.

A transaction changes a copy of the store's state and puts it in place at the end; an exception
anywhere before leaves the old state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from threading import RLock
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa

from resources.errors import DirtyRowError
from resources.failpoints import failpoint
from resources.model.source import Finding
from resources.sinks.bisect import Refusal, Rows, bisect_rejected
from resources.sinks.contract import (
    Capabilities,
    Fence,
    RejectedWrite,
    TargetId,
    TargetTable,
    Watermark,
    Written,
)
from resources.sinks.fence import check_token, moved_watermark
from resources.sinks.shape import (
    check_mode,
    check_rows,
    key_schema,
    misfit,
    misfit_finding,
    no_load,
    no_table,
    shape_findings,
    show_schema,
    target_schema,
)

Reject = Callable[[str, Any], bool]


@dataclass(frozen=True)
class _Load:
    id: str
    schema: pa.Schema
    chunks: dict[int, pa.Table] = field(default_factory=dict)
    finished: bool = False


@dataclass
class _State:
    tables: dict[TargetId, pa.Table] = field(default_factory=dict)
    watermarks: dict[tuple[TargetId, str], Watermark] = field(default_factory=dict)
    loads: dict[TargetId, _Load] = field(default_factory=dict)

    def copy(self) -> _State:
        return _State(dict(self.tables), dict(self.watermarks), dict(self.loads))


@dataclass
class _Store:
    state: _State = field(default_factory=_State)
    lock: RLock = field(default_factory=RLock)


_STORES: dict[str, _Store] = {}


class MemorySink:
    """A sink in this process's memory.

    Args:
        name: Sinks of the same name share their tables.
        reject: Asked per column name and value of rows to write; True refuses the row. For
            tests of dirty data.
    """

    capabilities = Capabilities(decimal_precision=76, parallel_writers=True)

    def __init__(self, name: str = "default", *, reject: Reject | None = None) -> None:
        self._store = _STORES.setdefault(name, _Store())
        self._reject = reject

    def check_table(self, target: TargetTable) -> list[Finding]:
        """Return findings about names, key, and a table of that name with other columns."""
        findings = shape_findings(target, fold=str)
        live = self._store.state.tables.get(target.id)
        if live is not None and not findings and live.schema != target_schema(target):
            wanted = show_schema(target_schema(target))
            findings.append(misfit_finding(target, show_schema(live.schema), wanted))
        return findings

    def read_schema(self, target: TargetId) -> pa.Schema | None:
        """Return the target's columns, None if it does not exist."""
        live = self._store.state.tables.get(target)
        return None if live is None else live.schema

    def create_table(self, target: TargetTable) -> None:
        """Create the table if it is missing."""
        with self._transaction() as state:
            state.tables.setdefault(target.id, target_schema(target).empty_table())

    def drop_table(self, target: TargetId) -> None:
        """Drop the table, its watermarks and loads."""
        with self._transaction() as state:
            state.tables.pop(target, None)
            state.loads.pop(target, None)
            state.watermarks = {k: w for k, w in state.watermarks.items() if k[0] != target}

    def read_table(self, target: TargetId) -> pa.Table:
        """Return all rows."""
        return self._live(self._store.state, target)

    def count_rows(self, target: TargetId) -> int:
        """Return the number of rows."""
        return int(self._live(self._store.state, target).num_rows)

    def read_watermark(self, target: TargetId, pipeline: str) -> Watermark | None:
        """Return the watermark, None if there is none."""
        return self._store.state.watermarks.get((target, pipeline))

    def list_watermarks(self, pipeline: str) -> dict[TargetId, Watermark]:
        """Return every watermark of a pipeline."""
        found = self._store.state.watermarks.items()
        return {target: mark for (target, whose), mark in found if whose == pipeline}

    def merge(
        self, target: TargetTable, upserts: pa.Table, deletes: pa.Table, fence: Fence
    ) -> Written:
        """Delete and upsert by key in one transaction; see `Sink.merge`."""
        check_mode(target, "merge")
        check_rows(target, upserts, target_schema(target))
        check_rows(target, deletes, key_schema(target))
        with self._transaction() as state:
            live = self._fitting(state, target)
            _move_watermark(state, target.id, fence)
            failpoint("sink.after_fence")
            touched = {*_keys(target, upserts), *_keys(target, deletes)}
            kept = np.array([k not in touched for k in _keys(target, live)], dtype=bool)
            live = live.filter(pa.array(kept))
            failpoint("sink.after_delete")
            self._refuse_rejected(target, upserts)
            state.tables[target.id] = pa.concat_tables([live, upserts.cast(live.schema)])
            failpoint("sink.after_insert")
        failpoint("sink.after_commit")
        return Written(upserts.num_rows, deletes.num_rows)

    def append(self, target: TargetTable, rows: pa.Table, fence: Fence) -> Written:
        """Add rows in one transaction; see `Sink.append`."""
        check_mode(target, "append")
        check_rows(target, rows, target_schema(target))
        with self._transaction() as state:
            live = self._fitting(state, target)
            _move_watermark(state, target.id, fence)
            failpoint("sink.after_fence")
            self._refuse_rejected(target, rows)
            state.tables[target.id] = pa.concat_tables([live, rows.cast(live.schema)])
            failpoint("sink.after_insert")
        failpoint("sink.after_commit")
        return Written(rows.num_rows)

    def find_rejected(self, target: TargetTable, rows: pa.Table) -> list[RejectedWrite]:
        """Name the rows with NULL in the key and those the `reject` hook refuses."""
        check_rows(target, rows, target_schema(target))

        def trial(indices: Rows) -> Refusal | None:
            return self._refusal(target, rows.take(pa.array(indices)))

        return bisect_rejected(rows.num_rows, trial)

    def begin_load(self, target: TargetTable, load_id: str) -> None:
        """Start a load or keep the one of this id; see `Sink.begin_load`."""
        with self._transaction() as state:
            load = state.loads.get(target.id)
            if load is None or load.id != load_id:
                state.loads[target.id] = _Load(load_id, target_schema(target))
            failpoint("sink.load.after_begin")

    def loaded_chunks(self, target: TargetId, load_id: str) -> dict[int, int]:
        """Return the chunks that are in, and their row counts."""
        load = self._store.state.loads.get(target)
        if load is None or load.id != load_id:
            return {}
        return {number: rows.num_rows for number, rows in load.chunks.items()}

    def load_chunk(
        self, target: TargetTable, load_id: str, chunk: int, rows: Iterable[pa.Table]
    ) -> int:
        """Keep a chunk of a load unless it is there already; see `Sink.load_chunk`."""
        with self._transaction() as state:
            load = _open_load(state, target, load_id)
            if chunk in load.chunks:
                return int(load.chunks[chunk].num_rows)
            if load.finished:
                raise no_load(target.id, load_id)
            parts = [load.schema.empty_table()]
            for part in rows:
                check_rows(target, part, load.schema)
                self._refuse_rejected(target, part)
                parts.append(part.cast(load.schema))
                failpoint("sink.load.after_rows")
            loaded = pa.concat_tables(parts)
            state.loads[target.id] = replace(load, chunks={**load.chunks, chunk: loaded})
            failpoint("sink.load.after_mark")
        failpoint("sink.load.after_commit")
        return int(loaded.num_rows)

    def finish_load(
        self, target: TargetTable, load_id: str, fence: Fence, consistent_from: int
    ) -> int:
        """Put the loaded rows in the live table's place; see `Sink.finish_load`."""
        with self._transaction() as state:
            load = state.loads.get(target.id)
            if load is None or load.id != load_id:
                raise no_load(target.id, load_id)
            count = sum(int(t.num_rows) for t in load.chunks.values())
            if load.finished:
                return count
            check_token(target.id, state.watermarks.get((target.id, fence.pipeline)), fence)
            rows = [load.schema.empty_table(), *load.chunks.values()]
            state.tables[target.id] = pa.concat_tables(rows)
            failpoint("sink.finish.after_swap")
            state.loads[target.id] = replace(load, finished=True)
            mark = Watermark(fence.new, consistent_from, fence.token)
            state.watermarks[target.id, fence.pipeline] = mark
            failpoint("sink.finish.after_watermark")
        failpoint("sink.finish.after_commit")
        return count

    def abandon_load(self, target: TargetId, load_id: str) -> None:
        """Forget a load."""
        with self._transaction() as state:
            load = state.loads.get(target)
            if load is not None and load.id == load_id and not load.finished:
                del state.loads[target]

    def close(self) -> None:
        """Do nothing: the tables outlive the sink."""

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

    @contextmanager
    def _transaction(self) -> Iterator[_State]:
        with self._store.lock:
            state = self._store.state.copy()
            yield state
            failpoint("sink.before_commit")
            self._store.state = state

    def _live(self, state: _State, target: TargetId) -> pa.Table:
        if target not in state.tables:
            raise no_table(target)
        return state.tables[target]

    def _fitting(self, state: _State, target: TargetTable) -> pa.Table:
        live = self._live(state, target.id)
        if live.schema != target_schema(target):
            raise misfit(target.id, show_schema(live.schema), show_schema(target_schema(target)))
        return live

    def _refuse_rejected(self, target: TargetTable, rows: pa.Table) -> None:
        refusal = self._refusal(target, rows)
        if refusal is not None:
            raise DirtyRowError(refusal.message, field=refusal.field, where=str(target.id))

    def _refusal(self, target: TargetTable, rows: pa.Table) -> Refusal | None:
        for name in target.schema.key if target.mode == "merge" else ():
            if rows[name].null_count:
                return Refusal(name, "NULL in a key column")
        if self._reject is not None:
            for name in rows.column_names:
                if any(self._reject(name, value) for value in rows[name].to_pylist()):
                    return Refusal(name, "the sink's reject hook refused the value")
        return None


def _keys(target: TargetTable, rows: pa.Table) -> list[tuple[Any, ...]]:
    return list(zip(*(rows[k].to_pylist() for k in target.schema.key), strict=True))


def _move_watermark(state: _State, target: TargetId, fence: Fence) -> None:
    found = state.watermarks.get((target, fence.pipeline))
    state.watermarks[target, fence.pipeline] = moved_watermark(target, found, fence)


def _open_load(state: _State, target: TargetTable, load_id: str) -> _Load:
    load = state.loads.get(target.id)
    if load is None or load.id != load_id:
        raise no_load(target.id, load_id)
    if load.schema != target_schema(target):
        raise misfit(target.id, show_schema(load.schema), show_schema(target_schema(target)))
    return load
