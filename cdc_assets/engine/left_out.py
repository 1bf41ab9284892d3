"""Tables that the change log does not fit: captured without them, or lost behind them.

In: the filters that segments were captured with, the targets' watermarks. Out: tables marked for
reading again, before anything is merged over the missing stretch.
"""

from __future__ import annotations

from collections.abc import Collection

from cdc_assets.engine.pipeline import Pipeline
from cdc_assets.engine.route import target_id
from resources.model.change import last_seq, segment_of
from resources.model.patterns import filter_selects
from resources.model.table import TableId

LEFT_OUT = (
    "part of the change log was captured by a version of the pipeline file that did not select "
    "this table: let that run end, then materialize its snapshot partition"
)


AHEAD = (
    "the target is ahead of the change log, so the state store was lost or restored from a "
    "backup: materialize its snapshot partition"
)


def mark_ahead(pipeline: Pipeline) -> None:
    """Look for targets whose watermark lies past the change log's end.

    Called under the lease of the run, the capture lease unless the log is shared, and before
    capture goes on, when every watermark this state store knows of lies at or below
    `Pipeline.offered`. Merging into such a target would pass over changes in silence, until the
    new segments' numbers have caught up with the old ones.
    """
    with pipeline.sink() as sink:
        marks = sink.list_watermarks(pipeline.log_name)
    end = last_seq(pipeline.offered())  # asked afterwards: a load that ends meanwhile is no error
    ahead = {table for (_, table), mark in marks.items() if mark.seq > end}
    if not ahead:
        return
    pipeline.tables.register(ahead)
    states = pipeline.tables.all()
    for table in sorted(ahead):
        if states[table].status != "needs_snapshot":
            pipeline.tables.set(table, "needs_snapshot", AHEAD)
            pipeline.say(f"{table}: {AHEAD}")


def was_left_out(pipeline: Pipeline, table: TableId, after: int, upto: int) -> bool:
    """Return whether a segment in `(after, upto]` was captured without this table.

    Args:
        pipeline: The opened pipeline.
        table: The source table.
        after: The `_cdc_seq` the target is at.
        upto: The `_cdc_seq` it shall get to.
    """
    if pipeline.options.history == "log":
        return False  # a polled table carries its own mark: what was left out is read later
    filters = pipeline.log.segments.filters(segment_of(after), segment_of(upto))
    filters.discard(pipeline.options.capture_filter)
    return not all(filter_selects(f, table) for f in filters)


def mark_left_out(pipeline: Pipeline) -> None:
    """Look at every loaded table when the log so far was captured with another filter.

    A table without changes since would otherwise not be looked at, and miss those that the other
    filter left out. Called before capture goes on, so no such stretch is ever passed.
    """
    last = pipeline.log.segments.last()
    if last is None or last.capture_filter == pipeline.options.capture_filter:
        return
    _mark(pipeline, {last.capture_filter}, last.number)


def mark_passed_over(pipeline: Pipeline, upto: int, *, asks: bool = True) -> None:
    """Do the same for a sink of a shared log: others capture, perhaps by an older file.

    Where the sink itself selected something else before, all of the log there is is looked at.

    Args:
        pipeline: The opened pipeline.
        upto: The segment that the sink's tables are to be merged up to next.
        asks: Whether the sink is asked where its tables are; else all that were left out are
            marked.
    """
    own, reader = pipeline.options.capture_filter, pipeline.reader()
    before = reader.capture_filter if reader else ""
    filters = pipeline.log.segments.filters(pipeline.applied() if before == own else 0, upto)
    filters = (filters | {before}) - {own, ""}
    if filters:
        _mark(pipeline, filters, upto, asks=asks)
    if before != own:
        pipeline.readers.keep(pipeline.name, capture_filter=own)


def _mark(pipeline: Pipeline, filters: Collection[str], upto: int, *, asks: bool = True) -> None:
    """Mark the loaded tables that one of the filters left out past their watermark."""
    loaded = [t for t, s in pipeline.tables.all().items() if s.status in ("live", "behind")]
    for table in loaded:
        if all(filter_selects(f, table) for f in filters):
            continue
        if not asks or _misses(pipeline, table, upto):
            pipeline.tables.set(table, "needs_snapshot", LEFT_OUT)
            pipeline.say(f"{table}: {LEFT_OUT}")


def _misses(pipeline: Pipeline, table: TableId, upto: int) -> bool:
    """Return whether a target may lack changes that were captured without its table."""
    feed, floor = pipeline.feed(table), pipeline.log.segments.floor()
    with pipeline.sink() as sink:
        found = [sink.read_watermark(target_id(r), feed) for r in pipeline.routes(table)]
    marks = [mark.seq for mark in found if mark is not None]
    if not marks:
        return False
    # What was removed may have been captured without it: nothing tells any more.
    unknown = floor is not None and segment_of(min(marks) + 1) <= floor.number
    return unknown or was_left_out(pipeline, table, min(marks), last_seq(upto))
