"""One run: capture and apply for a sync, capture, copy and apply for a snapshot.

In: an opened pipeline. Out: reports. Knows when stages run; what they do is theirs.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from cdc_assets.engine.capture import PURGED, capture_by_policy, ensure_origin
from cdc_assets.engine.configs import mark_edited
from cdc_assets.engine.copy import altered_meanwhile, copy_table, finish_copy
from cdc_assets.engine.left_out import mark_ahead
from cdc_assets.engine.overlap import capturing
from cdc_assets.engine.pending import Merging
from cdc_assets.engine.pipeline import Pipeline
from cdc_assets.engine.records import READ_AGAIN
from cdc_assets.engine.report import CaptureReport, CopyReport, SyncReport, TableReport
from cdc_assets.engine.route import target_id
from cdc_assets.engine.sharing import mark_lapsed, merge_lease
from resources.errors import CdcError, LeaseHeld, TerminalError, TransientError
from resources.model.place import Place
from resources.model.position import Position, reached
from resources.model.table import TableId

COPY_ATTEMPTS = 5
"""How often a table is copied again that was altered meanwhile."""


@dataclass
class SyncOptions:
    """How one sync run behaves.

    Args:
        follow_for: Seconds to keep tailing after the position the server had at the start.
        stop_at: A place to end at before that; cannot stand beside `follow_for`.
        stop: Asked at boundaries; True ends the run early.
        on_table: Called with a table's outcome as soon as it is known.
    """

    follow_for: float = 0.0
    stop_at: Place | None = None
    stop: Callable[[], bool] = lambda: False
    on_table: Callable[[TableReport], None] = field(default=lambda _report: None)


def run_sync(pipeline: Pipeline, options: SyncOptions | None = None) -> SyncReport:
    """Capture up to the position the server has now, and merge every table that changed.

    With `stop_at` capture ends there, if the server has got that far.

    Capturing and merging overlap. A table that cannot be merged is stopped or left behind, and
    the others go on. Where several sinks share the log, a run of one of them captures and those
    of the others follow what it commits.

    Returns:
        The report. Look at the tables' outcomes: a table's failure does not raise.

    Raises:
        LeaseHeld: Another run captures this pipeline, or merges into this sink of a shared log.
        CdcError: Capture failed, or the sink did not come back.
    """
    options = options or SyncOptions()
    name = merge_lease(pipeline.name) if pipeline.is_shared else pipeline.lease_name
    with pipeline.leases.held(name, pipeline.run_id, pipeline.options.lease_seconds) as lease:
        report = SyncReport(_nothing_captured(pipeline))
        report.new_tables = pipeline.tables.register(pipeline.source.list_tables())
        mark_lapsed(pipeline)
        mark_ahead(pipeline)
        mark_edited(pipeline)
        merging = Merging(pipeline, lease.token, report, options.on_table)
        merging.backlog()
        with capturing(
            pipeline,
            None if pipeline.is_shared else lease,
            report.capture,
            options.follow_for,
            options.stop_at,
            options.stop,
        ) as segments:
            for batch in segments:
                merging.segments(batch)
        report.capture.lag_bytes = pipeline.source.lag_bytes(report.capture.end)
    _read_again(pipeline, report, options)
    pipeline.release_sink()
    return report


def _read_again(pipeline: Pipeline, report: SyncReport, options: SyncOptions) -> None:
    """Load the tables whose rows changed without row events, or were lost with purged log.

    Those that an earlier run found and did not get to, since it was killed, are among them.
    """
    codes = (READ_AGAIN, PURGED) if pipeline.options.on_purged == "resnapshot" else (READ_AGAIN,)
    for table, state in pipeline.tables.all().items():
        if state.status == "needs_snapshot" and state.reason.startswith(codes):
            pipeline.say(f"{table}: {state.reason}")
            for outcome in _read_table(pipeline, table):
                if outcome.outcome == "current":
                    outcome.outcome = "loaded"
                report.add(outcome)
                options.on_table(outcome)


def _read_table(pipeline: Pipeline, table: TableId) -> list[TableReport]:
    """Load a table; one that cannot be loaded now waits, and keeps no other waiting."""
    try:
        return run_snapshot(pipeline, table)[1]
    except CdcError as error:
        if isinstance(error, TransientError) and not isinstance(error, LeaseHeld):
            raise
        pipeline.say(f"{table}: was not read again: {error}")
        report = TableReport(table, target_id(pipeline.routes(table)[0]), "needs_snapshot")
        report.reason = f"was not read again: {error}"
        return [report]


def run_tables(pipeline: Pipeline, tables: Iterable[TableId]) -> list[TableReport]:
    """Merge what is pending in the change log for some tables, stopped ones included.

    Reads the log that is there; captures nothing, so the source may be down.
    """
    last = pipeline.log.segments.last()
    token = pipeline.leases.next_token()
    report = SyncReport(_nothing_captured(pipeline))
    merging = Merging(pipeline, token, report)
    for table in tables:
        merging.table(table, last.number if last else 0)
    pipeline.release_sink()
    return list(report.feeds.values())


def run_snapshot(pipeline: Pipeline, table: TableId) -> tuple[CopyReport, list[TableReport]]:
    """Load one table in full into its targets and merge what changed meanwhile.

    A copy that a killed run left behind is resumed at its next chunk. One whose table was altered
    before it was complete begins anew.

    Returns:
        The copy's report and the outcome of the merge after it, per target.

    Raises:
        LeaseHeld: Another run copies this table, or captures and does not get far enough.
        CdcError: As `copy_table`.
    """
    ensure_origin(pipeline)
    name = f"copy:{pipeline.name}:{table}"
    with pipeline.leases.held(name, pipeline.run_id, pipeline.options.lease_seconds):
        pipeline.tables.register([table])
        report, through = _copied(pipeline, table)
        pipeline.offer(through)
        report = finish_copy(pipeline, report, through)
        sync = SyncReport(_nothing_captured(pipeline))
        merging = Merging(pipeline, pipeline.leases.next_token(), sync)
        last = pipeline.log.segments.last()
        outcomes = merging.table(table, last.number if last else 0)
    pipeline.release_sink()
    return report, outcomes


def _copied(pipeline: Pipeline, table: TableId) -> tuple[CopyReport, int]:
    """Copy a table; returns the report and a segment past the position after the last chunk."""
    for _ in range(COPY_ATTEMPTS):
        base, end = capture_through(pipeline, pipeline.source.current_position())
        report = copy_table(pipeline, table, base, end)
        if report.high is None:
            raise TerminalError(f"the copy of {table} ended without a position")
        through, _ = capture_through(pipeline, report.high)
        if not altered_meanwhile(pipeline, report, through):
            return report, through
        pipeline.say(f"{table}: was altered while it was copied, so it is copied again")
    raise TerminalError(
        f"table {table} was altered while it was copied, {COPY_ATTEMPTS} times",
        remedy="load it once nobody alters it",
    )


def capture_through(pipeline: Pipeline, position: Position) -> tuple[int, Position]:
    """Make sure the change log reaches a position, by this run's capture or another's.

    Returns:
        Number and end of the last segment; the end is at or past `position`.

    Raises:
        LeaseHeld: Another run holds the lease and did not get there within `wait_for_capture`.
    """
    patience = time.monotonic() + pipeline.options.wait_for_capture
    # Even an idle source may have something to remember from where the log begins.
    begun = pipeline.log.segments.last() is not None
    while True:
        resume = ensure_origin(pipeline)
        if begun and reached(resume, position):
            last = pipeline.log.segments.last()
            return (last.number, last.end) if last else (0, resume)
        begun = True
        try:
            with pipeline.leases.held(
                pipeline.lease_name, pipeline.run_id, pipeline.options.lease_seconds
            ) as lease:
                start = ensure_origin(pipeline)
                report = CaptureReport(start, start)
                deque(capture_by_policy(pipeline, lease, position, bool, report), maxlen=0)
        except LeaseHeld:
            if time.monotonic() > patience:
                raise
            time.sleep(0.5)


def _nothing_captured(pipeline: Pipeline) -> CaptureReport:
    start = ensure_origin(pipeline)
    return CaptureReport(start, start)
