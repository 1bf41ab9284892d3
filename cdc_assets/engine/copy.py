"""Chunk plan -> sink, between watermarks, resumable.

In: a table's rows as they are, read chunk by chunk without locks. Out: a load beside the live
table of every target, put in its place once every chunk is in.

Why no change is lost and none comes twice (DBLog, Netflix 2020): capture has everything from
`base_seq` on, every chunk is read after that, and merging whole rows by key is idempotent. So
replaying the log from `base_seq` over the chunks ends at the log's own state; from the position
the server had after the last chunk (`high`) on, the table equals the source.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from cdc_assets.engine.configs import table_config_text
from cdc_assets.engine.loading import Loading
from cdc_assets.engine.pipeline import Pipeline
from cdc_assets.engine.prefetch import ChunkParts, read_ahead
from cdc_assets.engine.rate import RateLimit
from cdc_assets.engine.records import read_again
from cdc_assets.engine.report import CopyReport
from cdc_assets.engine.route import target_id
from resources.errors import ConfigError, DirtyRowError, SchemaMismatch, SourceUnavailable
from resources.failpoints import failpoint
from resources.model.change import last_seq
from resources.model.chunk import Chunk
from resources.model.position import Position, reached
from resources.model.source import ChunkRows, SnapshotSource
from resources.model.table import TableId, TableSchema
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
        rules = table_config_text(self.pipeline, self.table)
        if snapshot is not None and snapshot.schema.fingerprint() != schema.fingerprint():
            self.pipeline.snapshots.abandon(snapshot.load_id, "the source table was altered")
            snapshot = None
        elif snapshot is not None and self.pipeline.snapshots.rules(snapshot.load_id) != rules:
            self.pipeline.snapshots.abandon(snapshot.load_id, "its rules were edited")
            snapshot = None
        elif snapshot is not None and snapshot.state != "copied" and self._hides_bounds(schema):
            why = "its key is masked, so nothing says where its chunks end"
            self.pipeline.snapshots.abandon(snapshot.load_id, why)
            self.pipeline.say(f"{self.table}: the copy begins anew: {why}")
            snapshot = None
        resumed = snapshot is not None
        if snapshot is None:
            snapshot = self.pipeline.snapshots.start(
                self.table,
                schema,
                last_seq(base_segment),
                self._visible(base_end),
                self.source.estimate_rows(schema),
                rules,
            )
        self.snapshot: Snapshot = snapshot
        self.report = CopyReport(
            self.table,
            target_id(self.pipeline.routes(self.table)[0]),
            snapshot.load_id,
            low=snapshot.low,
            schema=schema,
            resumed=resumed,
        )
        self.loads = open_loads(self.pipeline, snapshot, self.report)
        for load in self.loads:
            load.check()

    def _hides_bounds(self, schema: TableSchema) -> bool:
        """Return whether the bounds of chunks may not be stored."""
        masker = self.pipeline.options.transforms.masker(schema)
        return masker is not None and bool(masker.hidden_key)

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

    def run(self) -> None:
        """Copy every chunk that is not in yet."""
        load_id = self.snapshot.load_id
        done = [load.begin() for load in self.loads]
        everywhere = set.intersection(*(set(chunks) for chunks in done))
        self.rows = sum(done[0].values())
        self.already = self.rows
        self.report.chunks = len(everywhere)
        if self.snapshot.state in ("planning", "copying"):
            pending = (c for c in self._chunks() if c.number not in everywhere)
            parallel = self.pipeline.options.parallel
            with read_ahead(self.source, self.snapshot.schema, pending, parallel) as chunks:
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
        """Yield the saved plan, then plan on, saving ahead of reading.

        Where masks hide the key, the plan is kept in memory alone: bounds are values of the key.
        """
        load_id, store = self.snapshot.load_id, self.pipeline.snapshots
        if self._hides_bounds(self.snapshot.schema):
            yield from self.source.plan_chunks(
                self.snapshot.schema, self.pipeline.options.chunk_rows
            )
            return
        saved = store.chunks(load_id)
        yield from saved
        if self.snapshot.planned:
            return
        last = saved[-1] if saved else None
        ahead: list[Chunk] = []
        rows = self.pipeline.options.chunk_rows
        for chunk in self.source.plan_chunks(self.snapshot.schema, rows, last):
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
        written = self._load(parts)
        failpoint("copy.after_chunk")
        self.rows += written
        self.report.chunks += 1
        self.report.chunks_copied += 1
        self._progress()

    def _load(self, parts: ChunkParts) -> int:
        """Load a chunk into every target; returns the rows of the first."""
        chunk = parts.chunk
        metered = self._metered(parts)
        # One target takes the parts as they come, several take them one after the other.
        read = metered if len(self.loads) == 1 else list(metered)
        written = []
        for load in self.loads:
            try:
                written.append(load.write(chunk, iter(read)))
            except DirtyRowError:
                again = self.source.read_chunk(self.snapshot.schema, chunk)
                written.append(load.write_accepted(chunk, again))
        return written[0]

    def _metered(self, parts: ChunkParts) -> Iterator[ChunkRows]:
        for part in parts:
            self.rate.took(part.rows.num_rows, part.rows.nbytes)
            yield part

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


def open_loads(pipeline: Pipeline, snapshot: Snapshot, report: CopyReport) -> list[Loading]:
    """Return a table's loads, one for each of its targets."""
    return [Loading(pipeline, route, snapshot, report) for route in pipeline.routes(report.table)]


def altered_meanwhile(pipeline: Pipeline, report: CopyReport, through_segment: int) -> bool:
    """Return whether the log behind a copy has a statement that changed the table's columns.

    Its chunks would be of one shape and the changes replayed over them of another.
    """
    snapshot = pipeline.snapshots.open_snapshot(report.table)
    if snapshot is None:
        return False
    upto = last_seq(through_segment)
    notices = pipeline.log.notices(report.table, snapshot.base_seq, upto)
    if all(n.shape is None or n.shape.names == snapshot.schema.names for n in notices):
        return False
    pipeline.snapshots.abandon(snapshot.load_id, "the source table was altered")
    return True


def finish_copy(pipeline: Pipeline, report: CopyReport, through_segment: int) -> CopyReport:
    """Put complete loads in the live tables' places, with the watermarks they start from.

    Args:
        pipeline: The opened pipeline.
        report: What `copy_table` returned.
        through_segment: A committed segment whose end is at or past `report.high`.
    """
    snapshot = pipeline.snapshots.open_snapshot(report.table)
    if snapshot is None or snapshot.load_id != report.load_id:
        raise SchemaMismatch(
            f"the load {report.load_id} of {report.table} was abandoned by another run",
            remedy="materialize its snapshot partition again",
        )
    consistent = last_seq(through_segment)
    quiet = report.table not in pipeline.log.touched(snapshot.base_seq)
    new = consistent if quiet else snapshot.base_seq
    state = pipeline.tables.get(report.table)
    if state is not None and state.status == "dropped":
        # A run that is killed next would leave a table that begins anew with its next row.
        why = read_again(pipeline, "its load was not finished")
        pipeline.tables.set(report.table, "needs_snapshot", why)
    failpoint("copy.before_finish")
    loads = open_loads(pipeline, snapshot, report)
    # Each with a new token: syncs that began after this run have moved the watermark, rightly so.
    rows = [load.finish(new, pipeline.leases.next_token(), consistent) for load in loads]
    failpoint("copy.after_finish")
    stale = [r for r in pipeline.dirty.open_rows(table=report.table) if r.seq < snapshot.base_seq]
    pipeline.dirty.mark([r.id for r in stale if r.id], "superseded", "the table was read again")
    pipeline.tables.set(report.table, "behind", "", new)
    pipeline.snapshots.set_done(report.load_id)
    return replace(report, rows=rows[0], consistent_from=consistent)
