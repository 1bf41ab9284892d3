"""One target of a copy: chunks into a load, the load into the live table's place.

In: chunks as the source gives them. Out: rows in the target's own columns; those that cannot be
written are in the dirty-data store.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pyarrow as pa

from cdc_assets.engine.aside import (
    accepted,
    check_limit,
    conflict_rows,
    failed_row,
    refused_rows,
    undecoded_row,
)
from cdc_assets.engine.columns import TargetColumns
from cdc_assets.engine.existing import stands
from cdc_assets.engine.load_plan import plan_load
from cdc_assets.engine.pipeline import Pipeline
from cdc_assets.engine.protected import Protection
from cdc_assets.engine.report import CopyReport, TableReport
from cdc_assets.engine.route import target_id
from cdc_assets.engine.routing import Route
from resources.errors import ConfigError, DirtyRowError
from resources.failpoints import failpoint
from resources.model.change import RowKind, segment_of
from resources.model.chunk import Chunk
from resources.model.source import ChunkRows
from resources.sinks.contract import Fence, RejectedWrite
from resources.stores.dirty_rows import DirtyRow
from resources.stores.snapshots import Snapshot

_ATTEMPTS = 5
"""How often rows of other feeds may change between looking for conflicts and finishing."""


class Loading:
    """One table's load into one of its targets.

    Args:
        pipeline: The opened pipeline.
        route: The way there.
        snapshot: The copy.
        report: Counts the rows set aside.
    """

    def __init__(
        self, pipeline: Pipeline, route: Route, snapshot: Snapshot, report: CopyReport
    ) -> None:
        self.pipeline = pipeline
        self.route = route
        self.snapshot = snapshot
        self.report = report
        transforms = pipeline.options.transforms
        Protection(pipeline).check_schema(snapshot.schema)
        self._masker = transforms.masker(snapshot.schema)
        self.shaping = pipeline.shaping(route, transforms.stored(snapshot.schema))
        self._columns = TargetColumns(pipeline, route, TableReport(route.table, target_id(route)))
        self._plan = plan_load(self._columns, self.shaping)
        self.target = self._plan.target
        if not route.shared:
            self.target = replace(self.target, existing=pipeline.options.existing.of_load)
        self._rows = 0

    def check(self) -> None:
        """Refuse a target that cannot be loaded.

        Raises:
            ConfigError: It is a log of changes, or the sink cannot hold it.
        """
        table = self.route.table
        if not self.pipeline.options.is_loaded(table):
            raise ConfigError(
                f"table {table} is kept as an append-only change log and has no snapshot",
                remedy="remove it from pipeline.append to load its rows",
            )
        with self.pipeline.sink() as sink:
            if sink.read_watermark(self.target.id, self.pipeline.feed(table)) is None:
                self.pipeline.require_alone(self.route)
            stands(self.pipeline, self.route, self.target, sink, loads=True)
            errors = [
                f
                for f in sink.check_table(self.target)
                if f.level == "error" and f.code != "schema_mismatch"
            ]
        if errors:
            raise ConfigError(
                "; ".join(f.message for f in errors),
                remedy="; ".join(f.remedy for f in errors),
            )

    def begin(self) -> dict[int, int]:
        """Begin the load or go on with it; returns the rows of the chunks that are in."""
        load_id = self.snapshot.load_id
        with self.pipeline.sink() as sink:
            sink.begin_load(self.target, load_id, self.pipeline.feed(self.route.table))
            return sink.loaded_chunks(self.target.id, load_id)

    def write(self, chunk: Chunk, parts: Iterator[ChunkRows]) -> int:
        """Write a chunk; returns its rows.

        Raises:
            DirtyRowError: The sink refused a row; use `write_accepted`.
        """
        return self._write(chunk, (self._taken(chunk, part) for part in parts))

    def write_accepted(self, chunk: Chunk, parts: Iterator[ChunkRows]) -> int:
        """Write a chunk without the rows the sink names; the rare, slow way.

        The refused are found before the load's transaction opens, so one chunk is held in memory.
        """
        return self._write(chunk, iter([self._accepted(chunk, part) for part in parts]))

    def _write(self, chunk: Chunk, tables: Iterator[pa.Table]) -> int:
        with self.pipeline.sink() as sink:
            written = sink.load_chunk(self.target, self.snapshot.load_id, chunk.number, tables)
        self._rows += written
        return written

    def _taken(self, chunk: Chunk, part: ChunkRows) -> pa.Table:
        """Return a part's rows as the target wants them."""
        rows, rejected = part.rows, part.rejected
        if self._masker is not None:
            rows = self._masker.apply(rows)
            rejected = [self._masker.apply_rejected(row) for row in rejected]
        dirty = [undecoded_row(self.pipeline, "copy", row, self.route) for row in rejected]
        segment = segment_of(self.snapshot.base_seq)
        table = self.route.table
        shaped = self.shaping.rows(rows, lambda: self.pipeline.context(table, segment))
        key = self.shaping.source.key
        dirty += [
            failed_row(self.pipeline, self.target, key, rows.slice(row.row, 1), row, table)
            for row in shaped.failed
        ]
        whole = pa.Table.from_batches([shaped.rows])
        found = self._columns.conform(whole, self.target)
        if found.bad:
            dirty += self._refused(whole, [RejectedWrite(*bad) for bad in found.bad])
        self._set_aside(chunk, dirty)
        return found.rows

    def _accepted(self, chunk: Chunk, part: ChunkRows) -> pa.Table:
        rows = self._taken(chunk, part)
        with self.pipeline.sink() as sink:
            refused = sink.find_rejected(self.target, rows)
        self._set_aside(chunk, self._refused(rows, refused))
        return rows.filter(accepted(rows, refused))

    def _refused(self, rows: pa.Table, refused: Sequence[RejectedWrite]) -> list[DirtyRow]:
        return refused_rows(self.pipeline, "copy", self.route.table, self.target, rows, refused)

    def _set_aside(self, chunk: Chunk, rows: Sequence[DirtyRow]) -> None:
        if rows:
            where = f"chunk {chunk.number} of load {self.snapshot.load_id}"
            self.pipeline.dirty.add(self._placed(row, where) for row in rows)
            self.report.dirty += len(rows)
            check_limit(self.pipeline, self.route.table, self._rows)

    def _placed(self, row: DirtyRow, where: str) -> DirtyRow:
        return replace(row, seq=self.snapshot.base_seq, op=RowKind.INSERT, position=where)

    def finish(self, new: int, token: int, consistent: int) -> int:
        """Put the load in the live table's place; returns the row count.

        Args:
            new: The watermark it starts from.
            token: Fencing token of this run.
            consistent: The watermark from which on it equals its source.
        """
        feed = self.pipeline.feed(self.route.table)
        fence = Fence(feed, None, new, token)
        for attempt in range(_ATTEMPTS):
            with self.pipeline.sink() as sink:
                if self._plan.folds:
                    sink.create_table(self.target)
                    failpoint("copy.before_alter")
                    sink.alter_table(self.target.id, self._plan.changes)
                taken = sink.load_conflicts(self.target, self.snapshot.load_id, feed)
                self._conflicting(taken)
                try:
                    rows = sink.finish_load(
                        self.target,
                        self.snapshot.load_id,
                        fence,
                        consistent,
                        keep=self._plan.keep,
                        conflicts=taken.num_rows,
                    )
                except DirtyRowError:
                    if attempt == _ATTEMPTS - 1:
                        raise
                    continue
            self._columns.loaded(self.shaping, self._plan.keep)
            return rows
        raise AssertionError("the loop returns or raises")

    def _conflicting(self, taken: pa.Table) -> None:
        """Set aside loaded rows whose keys other feeds have in the target."""
        found = conflict_rows(self.pipeline, self.route.table, self.target, taken)
        where = f"load {self.snapshot.load_id}"
        if found:
            self.pipeline.dirty.add(self._placed(row, where) for row in found)
            self.report.dirty += len(found)
            check_limit(self.pipeline, self.route.table, self._rows)
