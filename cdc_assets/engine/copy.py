"""Chunk plan -> sink, between watermarks, resumable.

In: a table's rows as they are, read chunk by chunk without locks. Out: a load beside the live
table, put in its place once every chunk is in.

Why no change is lost and none comes twice (DBLog, Netflix 2020): capture has everything from
`base_seq` on, every chunk is read after that, and merging whole rows by key is idempotent. So
replaying the log from `base_seq` over the chunks ends at the log's own state; from the position
the server had after the last chunk (`high`) on, the table equals the source.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pyarrow as pa

from cdc_assets.engine.aside import accepted, check_limit, refused_rows, undecoded_row
from cdc_assets.engine.pipeline import Pipeline
from cdc_assets.engine.prefetch import ChunkParts, read_ahead
from cdc_assets.engine.rate import RateLimit
from cdc_assets.engine.report import CopyReport
from cdc_assets.engine.route import route_schema, route_table
from resources.errors import ConfigError, DirtyRowError, SchemaMismatch, SourceUnavailable
from resources.failpoints import failpoint
from resources.model.change import RowKind, last_seq
from resources.model.chunk import Chunk
from resources.model.position import Position, reached
from resources.model.source import ChunkRows, SnapshotSource
from resources.model.table import TableId, TableSchema
from resources.sinks.contract import Fence, TargetTable
from resources.stores.dirty_rows import DirtyRow
from resources.stores.snapshots import Snapshot

VISIBLE_WITHIN = 60.0
"""Seconds a server may take to make visible what it has written to its log."""
PLAN_AHEAD = 64
"""Chunks planned and saved at once; the plan of a huge table is never held in memory."""


def copy_table(
    pipeline: Pipeline, table: TableId, base_segment: int, base_end: Position
) -> CopyReport:
    """Copy one table in full into a load beside the live one, resuming where a run broke.

    Args:
        pipeline: The opened pipeline.
        table: The source table.
        base_segment: Last segment committed before this call; the log after it is replayed over
            the copy. Ignored when an earlier run's copy is resumed.
        base_end: Where that segment ends.

    Returns:
        What was done. The load is complete, but not yet in the live table's place.

    Raises:
        ConfigError: The table is gone, has no key or a type the sink refuses.
        SchemaMismatch: The table was altered since the copy began; the copy was abandoned.
        DirtyLimitExceeded: Too many rows had to be set aside.
    """
    source = pipeline.source
    if not isinstance(source, SnapshotSource):
        raise ConfigError(f"source of pipeline {pipeline.name} has no snapshots")
    copying = _Copy(pipeline, source, table)
    copying.open(base_segment, base_end)
    copying.run()
    return copying.report


class _Copy:
    """One table's copy in one run."""

    def __init__(self, pipeline: Pipeline, source: SnapshotSource, table: TableId) -> None:
        self.pipeline = pipeline
        self.source = source
        self.table = table
        self.rate = RateLimit(pipeline.options.rows_per_second, pipeline.options.bytes_per_second)
        self.began = time.monotonic()
        self.rows = 0
        self.said = 0.0

    def open(self, base_segment: int, base_end: Position) -> None:
        """Find the unfinished snapshot, or start one."""
        schema = self.source.read_schemas([self.table]).get(self.table)
        if schema is None:
            raise ConfigError(
                f"table {self.table} is not on the source",
                remedy="check the pipeline's table patterns, or drop the partition",
            )
        snapshot = self.pipeline.snapshots.open_snapshot(self.table)
        if snapshot is not None and snapshot.schema.fingerprint() != schema.fingerprint():
            self.pipeline.snapshots.abandon(snapshot.load_id, "the source table was altered")
            snapshot = None
        resumed = snapshot is not None
        if snapshot is None:
            snapshot = self.pipeline.snapshots.start(
                self.table,
                schema,
                last_seq(base_segment),
                self._visible(base_end),
                self.source.estimate_rows(schema),
            )
        self.snapshot: Snapshot = snapshot
        self.schema: TableSchema = snapshot.schema
        self.target: TargetTable = route_schema(snapshot.schema, self.pipeline.options)
        self._check_target()
        self.report = CopyReport(
            self.table,
            route_table(self.table),
            snapshot.load_id,
            low=snapshot.low,
            schema=self.schema,
            resumed=resumed,
        )

    def _visible(self, base_end: Position) -> Position:
        """Return a position from which on reads see all that the log says up to `base_end`.

        A transaction is in the log before it is visible. One that is captured below the base,
        and not yet visible when its chunk is read, would be in neither.
        """
        patience = time.monotonic() + VISIBLE_WITHIN
        while not reached(low := self.source.current_position(), base_end):
            if time.monotonic() > patience:
                raise SourceUnavailable(
                    f"transactions before {base_end} are still not visible to a SELECT",
                    where=str(self.table),
                    remedy="look for commits that hang in the server's process list",
                )
            time.sleep(0.05)
        return low

    def _check_target(self) -> None:
        if self.target.mode == "append":
            raise ConfigError(
                f"table {self.table} is kept as an append-only change log and has no snapshot",
                remedy="remove it from pipeline.append to load its rows",
            )
        with self.pipeline.sink() as sink:
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

    def run(self) -> None:
        """Copy every chunk that is not in yet."""
        load_id = self.snapshot.load_id
        with self.pipeline.sink() as sink:
            sink.begin_load(self.target, load_id)
            done = sink.loaded_chunks(self.target.id, load_id)
        self.rows = sum(done.values())
        self.already = self.rows
        self.report.chunks = len(done)
        if self.snapshot.state in ("planning", "copying"):
            pending = (c for c in self._chunks() if c.number not in done)
            parallel = self.pipeline.options.parallel
            with read_ahead(self.source, self.schema, pending, parallel) as chunks:
                for parts in chunks:
                    self._copy_chunk(parts)
            failpoint("copy.before_copied")
            high = self.source.current_position()
            self.pipeline.snapshots.set_copied(load_id, high, self.rows)
            self.report.high = high
        else:
            self.report.high = self.snapshot.high
        self.report.rows = self.rows
        self.report.seconds = time.monotonic() - self.began

    def _chunks(self) -> Iterator[Chunk]:
        """Yield the saved plan, then plan on, saving ahead of reading."""
        load_id, store = self.snapshot.load_id, self.pipeline.snapshots
        saved = store.chunks(load_id)
        yield from saved
        if self.snapshot.planned:
            return
        last = saved[-1] if saved else None
        ahead: list[Chunk] = []
        rows = self.pipeline.options.chunk_rows
        for chunk in self.source.plan_chunks(self.schema, rows, last):
            ahead.append(chunk)
            if len(ahead) >= PLAN_AHEAD:
                store.add_chunks(load_id, ahead)
                yield from ahead
                ahead = []
        store.add_chunks(load_id, ahead)
        store.finish_plan(load_id)
        yield from ahead

    def _copy_chunk(self, parts: ChunkParts) -> None:
        failpoint("copy.before_chunk")
        try:
            written = self._load(parts.chunk, self._tables(parts))
        except DirtyRowError:
            written = self._load_without_refused(parts.chunk)
        failpoint("copy.after_chunk")
        self.rows += written
        self.report.chunks += 1
        self.report.chunks_copied += 1
        self._progress()

    def _load(self, chunk: Chunk, tables: Iterator[pa.Table]) -> int:
        with self.pipeline.sink() as sink:
            return sink.load_chunk(self.target, self.snapshot.load_id, chunk.number, tables)

    def _tables(self, parts: ChunkParts) -> Iterator[pa.Table]:
        for part in parts:
            self._set_aside(parts.chunk, self._undecoded(part))
            self.rate.took(part.rows.num_rows, part.rows.nbytes)
            yield pa.Table.from_batches([part.rows])

    def _load_without_refused(self, chunk: Chunk) -> int:
        """Read the chunk again and leave out what the sink names; the rare, slow way.

        The refused are found before the load's transaction opens, so one chunk is held in memory.
        """
        return self._load(chunk, iter(list(self._accepted(chunk))))

    def _accepted(self, chunk: Chunk) -> Iterator[pa.Table]:
        for part in self.source.read_chunk(self.schema, chunk):
            rows = pa.Table.from_batches([part.rows])
            with self.pipeline.sink() as sink:
                refused = sink.find_rejected(self.target, rows)
            dirty = refused_rows(self.pipeline, "copy", self.table, self.target, rows, refused)
            self._set_aside(chunk, [*self._undecoded(part), *dirty])
            yield rows.filter(accepted(rows, refused))

    def _undecoded(self, part: ChunkRows) -> list[DirtyRow]:
        return [undecoded_row(self.pipeline, "copy", row) for row in part.rejected]

    def _set_aside(self, chunk: Chunk, rows: Sequence[DirtyRow]) -> None:
        if rows:
            self.pipeline.dirty.add(self._placed(chunk, row) for row in rows)
            self.report.dirty += len(rows)
            check_limit(self.pipeline, self.table, self.rows)

    def _placed(self, chunk: Chunk, row: DirtyRow) -> DirtyRow:
        where = f"chunk {chunk.number} of load {self.snapshot.load_id}"
        return replace(row, seq=self.snapshot.base_seq, op=RowKind.INSERT, position=where)

    def _progress(self) -> None:
        now = time.monotonic()
        if now - self.said < 2.0:
            return
        self.said = now
        copied = self.rows - self.already
        speed = copied / max(now - self.began, 1e-9)
        estimate = max(self.snapshot.rows_estimated, self.rows)
        left = (estimate - self.rows) / speed if speed else 0.0
        self.pipeline.say(
            f"{self.table}: {self.report.chunks} chunks, {self.rows:,} of about {estimate:,} "
            f"rows, {speed:,.0f} rows/s, about {left:,.0f} s left"
        )


def finish_copy(
    pipeline: Pipeline, report: CopyReport, token: int, through_segment: int
) -> CopyReport:
    """Put a complete load in the live table's place, with the watermark it starts from.

    Args:
        pipeline: The opened pipeline.
        report: What `copy_table` returned.
        token: Fencing token of this run.
        through_segment: A committed segment whose end is at or past `report.high`.
    """
    snapshot = pipeline.snapshots.open_snapshot(report.table)
    if snapshot is None or snapshot.load_id != report.load_id:
        raise SchemaMismatch(
            f"the load {report.load_id} of {report.table} was abandoned by another run",
            remedy="materialize its snapshot partition again",
        )
    target = route_schema(snapshot.schema, pipeline.options)
    consistent = last_seq(through_segment)
    quiet = report.table not in pipeline.log.touched(snapshot.base_seq)
    new = consistent if quiet else snapshot.base_seq
    fence = Fence(pipeline.name, None, new, token)
    failpoint("copy.before_finish")
    with pipeline.sink() as sink:
        rows = sink.finish_load(target, report.load_id, fence, consistent)
    failpoint("copy.after_finish")
    stale = [r for r in pipeline.dirty.open_rows(table=report.table) if r.seq < snapshot.base_seq]
    pipeline.dirty.mark([r.id for r in stale if r.id], "superseded", "the table was read again")
    pipeline.tables.set(report.table, "behind", "", new)
    pipeline.snapshots.set_done(report.load_id)
    return replace(report, rows=rows, consistent_from=consistent)
