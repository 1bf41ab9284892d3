"""One change log for several sinks: whichever run comes first captures, the others follow the log.

In: an opened pipeline, the one of a sink. Out: the segments of the log, each as soon as it is
committed, whoever committed it; and a sink that begins, returns or has another name, made known.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack

from cdc_assets.engine.capture import capture_by_policy, ensure_origin
from cdc_assets.engine.pipeline import Pipeline
from cdc_assets.engine.report import CaptureReport
from resources.errors import LeaseHeld
from resources.model.position import Position, reached
from resources.stores.leases import Lease
from resources.stores.log_readers import LogReader
from resources.stores.segments import Segment
from resources.stores.table_states import TableStateStore

FOLLOW_SECONDS = 0.25
"""Pause between looks at a log that another run moves on."""
FOLLOWING = ("live", "behind", "held", "stopped")
"""States of tables that were loaded and go on with the log, at once or once somebody decides."""
STRANGE = (
    "the target has rows of this pipeline that its state store knows nothing of: materialize its "
    "snapshot partition"
)
MOVED = (
    "the sink is another one than before, and has nothing of this table: materialize its snapshot "
    "partition"
)
LAPSED = (
    "the change log was deleted past what this sink had taken: materialize its snapshot partition"
)


def join_log(pipeline: Pipeline) -> None:
    """Make a sink known to the log it reads; called once a run, before anything else is done.

    A sink is known by its place: one whose name in the pipeline file changed, or that was the
    only one, goes on with its state. One that is new begins with nothing, and its tables are
    loaded or folded from the log like those of a new pipeline.

    Raises:
        SinkUnavailable: What is in the sink decides, and it cannot be asked.
        LeaseHeld: A run still goes on under the name the sink had before.
    """
    known = pipeline.readers.all()
    if pipeline.is_shared and pipeline.name in known:
        if known[pipeline.name].place != pipeline.place:
            _mark_moved(pipeline)
            pipeline.readers.keep(pipeline.name, place=pipeline.place)
        return
    if not pipeline.is_shared and (not known or pipeline.tables.all()):
        return
    old = predecessor(pipeline, known)
    if old is not None:
        _take_over(pipeline, old)
        return
    _mark_strange(pipeline)
    if pipeline.is_shared:
        others = {*pipeline.siblings, *known, pipeline.log_name} - {pipeline.name}
        pipeline.dirty.take_captured(others)
        pipeline.readers.add(pipeline.name, pipeline.place)


def _take_over(pipeline: Pipeline, old: str) -> None:
    """Move the state of a sink to its new name, once no run goes on under the old one."""
    name = pipeline.lease_name if old == pipeline.log_name else merge_lease(old)
    with pipeline.leases.held(name, pipeline.run_id, pipeline.options.lease_seconds):
        last = pipeline.log.segments.last()
        end = last.number if last else 0
        if pipeline.readers.take_over(old, pipeline.name, pipeline.place, end):
            pipeline.say(f"{pipeline.name} goes on with the state of {old}")


def merge_lease(pipeline: str) -> str:
    """Return the name of the lease that only one run may hold that merges into a sink.

    Args:
        pipeline: The name of the sink's pipeline.
    """
    return f"merge:{pipeline}"


def predecessor(pipeline: Pipeline, known: Mapping[str, LogReader] | None = None) -> str | None:
    """Return the name under which a sink's state is kept that has another name now, if any.

    Args:
        pipeline: The opened pipeline.
        known: The log's sinks; asked for if left out.
    """
    known = pipeline.readers.all() if known is None else known
    if pipeline.name in known or (not pipeline.is_shared and pipeline.tables.all()):
        return None
    gone = [
        reader
        for reader in known.values()
        if reader.pipeline not in pipeline.siblings and reader.place == pipeline.place
    ]
    if gone:
        return max(gone, key=lambda reader: reader.applied).pipeline
    if pipeline.is_shared and TableStateStore(pipeline.db, pipeline.log_name).all():
        with pipeline.sink() as sink:
            if sink.list_watermarks(pipeline.log_name):
                return pipeline.log_name
    return None


def _mark_strange(pipeline: Pipeline) -> None:
    """Let tables be read again whose targets were filled by a state that is not there."""
    with pipeline.sink() as sink:
        strange = {table for _, table in sink.list_watermarks(pipeline.log_name)}
    pipeline.tables.register(strange)
    for table in sorted(strange):
        pipeline.tables.set(table, "needs_snapshot", STRANGE)
        pipeline.say(f"{table}: {STRANGE}")


def _mark_moved(pipeline: Pipeline) -> None:
    """Let tables be read again that a sink with another place has nothing of."""
    with pipeline.sink() as sink:
        there = {table for _, table in sink.list_watermarks(pipeline.log_name)}
    for table, state in pipeline.tables.all().items():
        if state.status in FOLLOWING and table not in there:
            pipeline.tables.set(table, "needs_snapshot", MOVED)
            pipeline.say(f"{table}: {MOVED}")


def mark_lapsed(pipeline: Pipeline) -> None:
    """Let the tables of a sink be read again that was away while the log it had not read went.

    Called at the start of a run. What was forgotten may have been captured without a table, so
    that nothing tells which ones missed something.
    """
    floor = pipeline.log.segments.floor()
    if not pipeline.is_shared or floor is None or pipeline.applied() >= floor.number:
        return
    for table, state in pipeline.tables.all().items():
        if state.status in FOLLOWING:
            pipeline.tables.set(table, "needs_snapshot", LAPSED)
            pipeline.say(f"{table}: {LAPSED}")
    pipeline.set_applied(floor.number)


def capture_or_follow(
    pipeline: Pipeline,
    until: Position | None,
    stop: Callable[[], bool],
    report: CaptureReport,
) -> Iterator[Segment]:
    """Read on from what the sink has taken: from the log where others capture, else by capturing.

    The right to capture is taken up as soon as nobody has it, and given back as soon as the log
    reaches the end asked for, though merging may go on: a slow sink keeps no other waiting.

    Args:
        pipeline: The opened pipeline.
        until: Ends when the log reaches it; None follows for ever.
        stop: Asked between two looks, and at boundaries; True ends.
        report: Filled as it goes; of what others captured only the end.

    Yields:
        Segments of the log in order, those without rows among them.

    Raises:
        LeaseHeld: Another run has the right to capture and got nowhere in `wait_for_capture`.
        CdcError: As `capture`.
    """
    seen = pipeline.applied()
    waited = time.monotonic()
    # Even an idle source may have something to remember from where the log begins.
    begun = pipeline.log.segments.last() is not None
    while True:
        with ExitStack() as stack:
            lease, refused = _try_lease(pipeline, stack)
            end = ensure_origin(pipeline)
            for segment in pipeline.log.segments.list_segments(after=seen):
                seen, waited = segment.number, time.monotonic()
                yield segment
            if end != report.end:
                report.end, waited = end, time.monotonic()
            if (begun and until is not None and reached(end, until)) or stop():
                return
            if lease is not None:
                yield from capture_by_policy(pipeline, lease, until, stop, report)
                return
        begun = True
        if refused is not None and time.monotonic() - waited > pipeline.options.wait_for_capture:
            raise refused
        time.sleep(FOLLOW_SECONDS)


def _try_lease(pipeline: Pipeline, stack: ExitStack) -> tuple[Lease | None, LeaseHeld | None]:
    held = pipeline.leases.held(
        pipeline.lease_name, pipeline.run_id, pipeline.options.lease_seconds
    )
    try:
        return stack.enter_context(held), None
    except LeaseHeld as error:
        return None, error
