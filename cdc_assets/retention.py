"""What the compact job does: closed windows become Parquet, old ones are forgotten.

In: an opened pipeline and its settings. Out: a smaller change log that still holds everything
some table has not applied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_assets import naming
from cdc_assets.engine.apply import born
from cdc_assets.engine.route import target_id
from resources.model.change import last_seq, segment_of

if TYPE_CHECKING:
    from cdc_assets.engine.pipeline import Pipeline
    from cdc_assets.settings import PipelineSettings
    from resources.stores.segments import Segment
    from resources.stores.table_states import TableState

ORPHAN_SECONDS = 86_400.0
"""Files of the change log that nothing refers to are deleted at this age."""


def compact_log(settings: PipelineSettings, pipeline: Pipeline, now: float) -> None:
    """Compact closed windows, forget those past retention, delete old dirty rows.

    Args:
        settings: The pipeline's.
        pipeline: The opened pipeline.
        now: Seconds since the epoch.
    """
    length = settings.pipeline.window
    current = naming.window_partition(int(now * 1e6), length)
    segments = pipeline.log.segments.list_bare()
    for window in sorted({s.window for s in segments if s.window and s.window < current}):
        files = pipeline.log.compact(window)
        pipeline.say(f"window {window}: {len(files)} Parquet files")
    dropped = pipeline.log.purge(current)
    kept_from = naming.window_partition(
        int((now - settings.pipeline.retention.change_log) * 1e6), length
    )
    needed = first_needed_window(pipeline)
    if needed and needed < kept_from:
        pipeline.say(f"window {needed} is past retention, but some table has not applied it")
        kept_from = needed
    forgotten = pipeline.log.purge(kept_from, keep_parquet=False)
    orphans = pipeline.log.sweep_orphans(ORPHAN_SECONDS)
    rows = pipeline.dirty.purge(int(settings.dirty_data.keep * 1e6))
    pipeline.say(
        f"deleted: {len(dropped)} segment files, {len(forgotten)} files past retention, "
        f"{len(orphans)} orphans, {sum(rows.values())} dirty rows"
    )
    if rows.get("open"):
        pipeline.say(f"{rows['open']} of those dirty rows were open: they were never put right")


def first_needed_window(pipeline: Pipeline) -> str:
    """Return the oldest window that a table still has to apply, empty if there is none.

    Tables that wait for a snapshot need no log from before it.
    """
    needed: list[Segment] = []
    closed = ("done", "abandoned")
    loads = pipeline.snapshots.list_snapshots()
    copying = {s.table: s for s in loads if s.state not in closed}
    with pipeline.sink() as sink:
        for table, state in pipeline.tables.all().items():
            feed = pipeline.feed(table)
            found = [sink.read_watermark(target_id(r), feed) for r in pipeline.routes(table)]
            marks = [mark.seq for mark in found if mark is not None]
            if table in copying:
                # Until the copy is in, a live table goes on from its own mark.
                live = [] if state.status == "needs_snapshot" else marks
                after = min([copying[table].base_seq, *live])
            elif state.status == "needs_snapshot":
                continue
            elif not marks and pipeline.options.history == "snapshot":
                begin = _held_since(pipeline, state)
                if begin is None:
                    continue
                after = begin
            else:
                after = min(marks) if len(marks) == len(found) else 0
            needed += pipeline.log.segments.list_of_table(table, segment_of(after))[:1]
    pipeline.release_sink()
    return min((s.window for s in needed if s.window), default="")


def _held_since(pipeline: Pipeline, state: TableState) -> int | None:
    """Return where the log of a table begins that was made while it was followed, and now waits."""
    last = pipeline.log.segments.last()
    if last is None or state.status not in ("held", "stopped"):
        return None
    return born(pipeline, state.table, last_seq(last.number))
