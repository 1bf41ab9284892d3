"""Source -> segments in the change log.

In: slices of the source's log. Out: committed segments, each ending on a transaction boundary
and lying within one window of commit time. The only stage that moves the source position.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

import numpy as np

from cdc_assets.engine.aside import undecoded_row
from cdc_assets.engine.fills import stored_fills
from cdc_assets.engine.left_out import mark_left_out
from cdc_assets.engine.pipeline import Pipeline
from cdc_assets.engine.protected import Protection
from cdc_assets.engine.rate import RateLimit
from cdc_assets.engine.report import CaptureReport
from resources.errors import FencedOut, PositionPurged, TerminalError
from resources.failpoints import failpoint
from resources.model.arrays import from_numbers, to_numbers
from resources.model.change import (
    SEQ,
    ChangeBatch,
    LogSlice,
    RejectedRow,
    ShapeRecord,
    TableNotice,
    first_seq,
)
from resources.model.position import Position
from resources.model.table import TableId
from resources.stores.change_log import SegmentWriter
from resources.stores.dirty_rows import DirtyRow
from resources.stores.leases import Lease
from resources.stores.segments import Segment
from resources.stores.table_states import TableStateStore

PURGED = "purged"
"""Kind of the notices that stand for log nobody had read when the source dropped it."""


def ensure_origin(pipeline: Pipeline) -> Position:
    """Fix where the change log begins, once per pipeline, before anything is copied or read.

    Everything after this position is captured, so a snapshot begun later misses nothing.

    Returns:
        Where capture goes on: the end of the last segment, or the origin.
    """
    resume = pipeline.log.segments.resume_position()
    if resume is not None:
        return resume
    start = pipeline.source.start_position()
    pipeline.log.segments.ensure_origin(start)
    pipeline.say(f"the change log begins at {start}")
    resume = pipeline.log.segments.resume_position()
    if resume is None:
        raise TerminalError("the change log has no origin right after it was set")
    return resume


def window_of(ts_us: int, length: Literal["day", "hour"]) -> str:
    """Return the window a commit time lies in, as Dagster's partition key for it.

    Args:
        ts_us: Commit time, microseconds since the epoch.
        length: `day` gives `2026-11-20`, `hour` gives `2026-11-20-13:00`, both UTC.
    """
    moment = datetime.fromtimestamp(ts_us / 1_000_000, UTC)
    return moment.strftime("%Y-%m-%d" if length == "day" else "%Y-%m-%d-%H:00")


def capture_by_policy(
    pipeline: Pipeline,
    lease: Lease,
    until: Position | None,
    stop: Callable[[], bool],
    report: CaptureReport,
) -> Iterator[Segment]:
    """Do `capture`; with `on_purged: resnapshot`, go on where the source's log still is.

    Arguments, yields and errors as `capture`.
    """
    try:
        yield from capture(pipeline, lease, until, stop, report)
    except PositionPurged as error:
        if pipeline.options.on_purged == "fail":
            raise
        yield _bridge_purged(pipeline, lease, report, error)
        yield from capture(pipeline, lease, until, stop, report)


def capture(
    pipeline: Pipeline,
    lease: Lease,
    until: Position | None,
    stop: Callable[[], bool],
    report: CaptureReport,
) -> Iterator[Segment]:
    """Read the source's log into segments, yielding each one once it is committed.

    Args:
        pipeline: What to read and where to keep it.
        lease: The right to capture; verified in every segment's own commit.
        until: Ends after the transaction that reaches it; None follows for ever.
        stop: Asked at boundaries; True ends at the next one.
        report: Filled as it goes.

    Yields:
        Every segment that holds something of a table, in order.

    Raises:
        FencedOut: The lease was lost; what was not committed is dropped.
        CdcError: Whatever the source raises.
    """
    began = time.monotonic()
    mark_left_out(pipeline)
    state = _Capture(pipeline, lease, report)
    try:
        shapes = pipeline.log.segments.shapes()
        for part in pipeline.source.stream_changes(report.end, until, stop, shapes):
            if lease.lost.is_set():
                raise FencedOut(f"lease {lease.name} was lost while capturing")
            if segment := state.commit_before(part):
                yield segment
            state.take(part)
            if part.complete and state.is_due() and (segment := state.commit()):
                yield segment
        if segment := state.commit():
            yield segment
    finally:
        state.abandon()
        report.seconds += time.monotonic() - began


def _bridge_purged(
    pipeline: Pipeline, lease: Lease, report: CaptureReport, error: PositionPurged
) -> Segment:
    """Go on at the source's present end after log was dropped that nobody had read.

    The stretch becomes a segment without rows that marks every loaded table for reading again,
    so the change log stays one unbroken chain and says itself what is missing.

    Returns:
        That segment.
    """
    end = pipeline.source.current_position()
    writer = pipeline.log.begin_segment(lease, pipeline.run_id, pipeline.options.capture_filter)
    seq = first_seq(writer.number)
    for table in _followed(pipeline):
        where = f"{report.end} to {end}"
        writer.note(TableNotice(table, seq, PURGED, error.message, where, rewrites=True))
    last = pipeline.log.segments.last()
    window = last.window if last and last.window else _window_now(pipeline)
    # What was known of shapes at the old place says nothing about the new one.
    unknown = [ShapeRecord(table, "") for table in pipeline.log.segments.shapes()]
    segment = writer.commit(end, window, 0, 0, 0, shapes=unknown)
    report.end = end
    pipeline.say(f"segment {segment.number}: the log up to {end} is lost, tables are read again")
    return segment


def _followed(pipeline: Pipeline) -> list[TableId]:
    """Return the tables that some sink of the log follows, sorted."""
    names = (pipeline.name, *pipeline.siblings)
    states = [s for n in names for s in TableStateStore(pipeline.db, n).all().values()]
    return sorted({state.table for state in states if state.status != "new"})


def _window_now(pipeline: Pipeline) -> str:
    return window_of(time.time_ns() // 1000, pipeline.options.window)


class _Capture:
    """The open segment, and the arithmetic from the source's row counter to `_cdc_seq`."""

    def __init__(self, pipeline: Pipeline, lease: Lease, report: CaptureReport) -> None:
        self.pipeline = pipeline
        self.lease = lease
        self.report = report
        self.rate = RateLimit(pipeline.options.rows_per_second, pipeline.options.bytes_per_second)
        self.protection = Protection(pipeline)
        self.writer: SegmentWriter | None = None
        self.boundary: Position = report.end
        self.counted = 0
        self.base = 0
        last = pipeline.log.segments.last()
        self.window = last.window if last is not None else ""
        self.rejected: list[RejectedRow] = []
        self.shapes: list[ShapeRecord] = []
        self.transactions = 0
        self.first_ts = 0
        self.last_ts = 0
        self.opened = time.monotonic()
        self.whole = True

    def commit_before(self, part: LogSlice) -> Segment | None:
        """Close the segment if `part` begins a later window; a clock set back does not."""
        if not part.first_ts_us or not self.whole:
            return None
        window = window_of(part.first_ts_us, self.pipeline.options.window)
        segment = self.commit() if self.window and window > self.window else None
        self.window = max(window, self.window)
        return segment

    def take(self, part: LogSlice) -> None:
        """Write one slice into the open segment."""
        if self.writer is None:
            self._open()
        if self.writer is None:
            raise TerminalError("no segment is open")
        shift = first_seq(self.writer.number) - self.base
        for notice in part.notices:
            self.protection.check_statement(notice)
        for batch in part.batches:
            self.protection.check_schema(batch.schema)
            self.writer.write(_shifted(self._masked(batch), shift))
        for notice in part.notices:
            fills = stored_fills(self.pipeline.options.transforms, notice)
            self.writer.note(replace(notice, seq=notice.seq + shift, fills=fills))
        self.rejected += [self._without_secrets(r, r.seq + shift) for r in part.rejected]
        self.shapes += part.shapes
        self.counted += part.rows
        self.transactions += part.transactions
        self.first_ts = min(filter(None, (self.first_ts, part.first_ts_us)), default=0)
        self.last_ts = max(self.last_ts, part.last_ts_us)
        self.whole = part.complete
        if part.complete:
            self.boundary = part.end
        self.report.bytes_read += part.bytes_read
        self.rate.took(part.rows, part.bytes_read)

    def _masked(self, batch: ChangeBatch) -> ChangeBatch:
        masker = self.pipeline.options.transforms.masker(batch.schema)
        if masker is None:
            return batch
        return ChangeBatch(masker.schema, masker.apply(batch.rows))

    def _without_secrets(self, row: RejectedRow, seq: int) -> RejectedRow:
        """Return a rejected row as it may be kept: its bytes may hold what must not be."""
        self.protection.check_schema(row.schema)
        masker = self.pipeline.options.transforms.masker(row.schema)
        return replace(row if masker is None else masker.apply_rejected(row), seq=seq)

    def is_due(self) -> bool:
        """Return whether the open segment is large or old enough to be committed."""
        if self.writer is None:
            return False
        options = self.pipeline.options
        old = time.monotonic() - self.opened >= options.commit_interval
        return (
            old
            or self.writer.rows >= options.segment_rows
            or self.writer.bytes >= options.segment_bytes
        )

    def commit(self) -> Segment | None:
        """Commit what is open up to the last boundary; None if it holds nothing of any table."""
        if self.writer is None:
            return None
        if not self.whole:
            self.abandon()
            return None
        writer, self.writer = self.writer, None
        failpoint("capture.before_commit")
        segment = writer.commit(
            self.boundary,
            self.window,
            self.transactions,
            self.first_ts,
            self.last_ts,
            dirty=self._dirty_rows(),
            shapes=self.shapes,
        )
        failpoint("capture.after_commit")
        self._account(segment, writer.rows)
        return segment if segment.tables or self.rejected else None

    def abandon(self) -> None:
        """Drop what is open."""
        if self.writer is not None:
            self.writer.abandon()
            self.writer = None

    def _dirty_rows(self) -> list[DirtyRow]:
        """Return what could not be decoded, once for every sink of the log: it is in none."""
        rows = [undecoded_row(self.pipeline, "capture", row) for row in self.rejected]
        names = (self.pipeline.name, *self.pipeline.siblings)
        return [replace(row, pipeline=name) for name in names for row in rows]

    def _open(self) -> None:
        self.writer = self.pipeline.log.begin_segment(
            self.lease, self.pipeline.run_id, self.pipeline.options.capture_filter
        )
        self.base = self.counted
        self.opened = time.monotonic()
        self.rejected, self.shapes = [], []
        self.transactions = 0
        self.first_ts = self.last_ts = 0

    def _account(self, segment: Segment, rows: int) -> None:
        self.report.end = self.boundary
        self.report.transactions += self.transactions
        self.report.last_commit_us = max(self.report.last_commit_us, self.last_ts)
        self.report.dirty += len(self.rejected)
        if rows:
            self.report.segments.append(segment.number)
            self.report.rows[segment.window] = self.report.rows.get(segment.window, 0) + rows
            self.pipeline.say(
                f"segment {segment.number}: {rows:,} rows of {len(segment.tables)} tables, "
                f"{self.transactions:,} transactions up to {segment.end}"
            )


def _shifted(batch: ChangeBatch, shift: int) -> ChangeBatch:
    index = batch.rows.schema.get_field_index(SEQ)
    field = batch.rows.schema.field(index)
    seqs = to_numbers(batch.rows.column(index)) + np.uint64(shift)
    rows = batch.rows.set_column(index, field, from_numbers(field.type, seqs))
    return ChangeBatch(batch.schema, rows)
