"""Tables that the change log does not fit: captured without them, or lost behind them.

In: the filters that segments were captured with, the targets' watermarks. Out: tables marked for
reading again, before anything is merged over the missing stretch.
"""

from __future__ import annotations

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

    Called under the capture lease and before capture goes on, when every watermark this state
    store knows of lies at or below the last segment. Merging into such a target would pass over
    changes in silence, until the new segments' numbers have caught up with the old ones.
    """
    last = pipeline.log.segments.last()
    end = last_seq(last.number if last else 0)
    with pipeline.sink() as sink:
        marks = sink.list_watermarks(pipeline.name)
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
    loaded = [t for t, s in pipeline.tables.all().items() if s.status in ("live", "behind")]
    for table in loaded:
        if filter_selects(last.capture_filter, table):
            continue
        feed = pipeline.feed(table)
        with pipeline.sink() as sink:
            found = [sink.read_watermark(target_id(r), feed) for r in pipeline.routes(table)]
        marks = [mark.seq for mark in found if mark is not None]
        if marks and was_left_out(pipeline, table, min(marks), last_seq(last.number)):
            pipeline.tables.set(table, "needs_snapshot", LEFT_OUT)
            pipeline.say(f"{table}: {LEFT_OUT}")
