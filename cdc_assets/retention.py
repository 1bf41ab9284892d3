"""What the compact job does: closed windows become Parquet, old ones are forgotten.

In: an opened pipeline for every sink of a change log, and settings. Out: a smaller change log that
still holds everything some table has not applied, but for what has waited longer than it may.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdc_assets import naming
from cdc_assets.engine.apply import born
from cdc_assets.engine.left_out import mark_passed_over
from cdc_assets.engine.route import target_id
from resources.errors import CdcError
from resources.model.change import last_seq, segment_of

if TYPE_CHECKING:
    from cdc_assets.engine.pipeline import Pipeline
    from cdc_assets.settings import PipelineSettings
    from resources.model.table_id import TableId
    from resources.stores.table_states import TableState

ORPHAN_SECONDS = 86_400.0
"""Files of the change log that nothing refers to are deleted at this age."""
LAGGING = (
    "its changes waited in the change log for longer than pipeline.retention.lagging, and were "
    "deleted: materialize its snapshot partition"
)
_CLOSED = ("done", "abandoned")


@dataclass(frozen=True)
class Need:
    """What a sink still has to take of the change log.

    Args:
        tables: By table, the segment it goes on after.
        after: The segment after which anything counts; None if only its tables do.
        asked: Whether the sink itself was asked, or did not answer: then the state store's word
            counts, which may ask for more than needed.
    """

    tables: Mapping[TableId, int]
    after: int | None = None
    asked: bool = True


def compact_log(settings: PipelineSettings, pipelines: Sequence[Pipeline], now: float) -> None:
    """Compact closed windows, forget those past retention, delete old dirty rows.

    Args:
        settings: Of one of the pipelines.
        pipelines: The opened pipeline of every sink that reads the log.
        now: Seconds since the epoch.
    """
    pipeline, length = pipelines[0], settings.pipeline.window
    current = naming.window_partition(int(now * 1e6), length)
    segments = pipeline.log.segments.list_bare()
    for window in sorted({s.window for s in segments if s.window and s.window < current}):
        files = pipeline.log.compact(window)
        pipeline.say(f"window {window}: {len(files)} Parquet files")
    dropped = pipeline.log.purge(current)
    kept_from = _kept_from(settings, pipelines, now)
    # What a sink has not passed tells it what was captured without a table, rows or none.
    passed = [each.applied() for each in pipelines if each.is_shared and each.reader()]
    upto = min(passed, default=None)
    forgotten = pipeline.log.purge(kept_from, keep_parquet=False, upto=upto)
    orphans = pipeline.log.sweep_orphans(ORPHAN_SECONDS)
    rows: dict[str, int] = {}
    for each in pipelines:
        for state, count in each.dirty.purge(int(settings.dirty_data.keep * 1e6)).items():
            rows[state] = rows.get(state, 0) + count
    pipeline.say(
        f"deleted: {len(dropped)} segment files, {len(forgotten)} files past retention, "
        f"{len(orphans)} orphans, {sum(rows.values())} dirty rows"
    )
    if rows.get("open"):
        pipeline.say(f"{rows['open']} of those dirty rows were open: they were never put right")


def _kept_from(settings: PipelineSettings, pipelines: Sequence[Pipeline], now: float) -> str:
    """Return the oldest window that is kept; tables that need an older one are told."""
    retention = settings.pipeline.retention
    length = settings.pipeline.window
    kept_from = naming.window_before(now, retention.change_log, length)
    lagging = retention.longest(several=pipelines[0].is_shared)
    bound = naming.window_before(now, lagging, length) if lagging else ""
    for pipeline in pipelines:
        need = find_need(pipeline)
        needed = needed_window(pipeline, need)
        if not needed or needed >= kept_from:
            continue
        who = pipeline.name if pipeline.is_shared else "some table"
        pipeline.say(f"window {needed} is past retention, but {who} has not applied it")
        if needed < bound:
            _give_up(pipeline, need, bound)
        kept_from = max(needed, bound)
    return kept_from


def find_need(pipeline: Pipeline) -> Need:
    """Return what a sink still has to take.

    Tables that wait for a snapshot need no log from before it.

    Raises:
        CdcError: The only sink of the log cannot be asked.
    """
    after = pipeline.applied() if pipeline.is_shared and pipeline.reader() else None
    try:
        tables = dict(_asked(pipeline))
    except CdcError:
        if not pipeline.is_shared:
            raise
        return Need(dict(_told(pipeline)), after, asked=False)
    finally:
        pipeline.release_sink()
    return Need(tables, after)


def needed_window(pipeline: Pipeline, need: Need) -> str:
    """Return the oldest window that a sink still has to take something of, empty if none."""
    store = pipeline.log.segments
    found = [s for t, after in need.tables.items() for s in store.list_of_table(t, after)[:1]]
    if need.after is not None:
        found += [s for s in store.list_bare() if s.number > need.after and s.window][:1]
    return min((s.window for s in found if s.window), default="")


def _asked(pipeline: Pipeline) -> Iterator[tuple[TableId, int]]:
    """Yield where each table goes on, by the watermarks in the sink."""
    copying = _copying(pipeline)
    with pipeline.sink() as sink:
        for table, state in pipeline.tables.all().items():
            feed = pipeline.feed(table)
            found = [sink.read_watermark(target_id(r), feed) for r in pipeline.routes(table)]
            marks = [mark.seq for mark in found if mark is not None]
            if table in copying:
                # Until the copy is in, a live table goes on from its own mark.
                live = [] if state.status == "needs_snapshot" else marks
                yield table, segment_of(min([copying[table], *live]))
            elif state.status == "needs_snapshot":
                continue
            elif not marks and pipeline.is_shared and state.status == "live":
                yield table, pipeline.applied()  # the sink has lost it, or is not mounted now
            elif not marks and pipeline.options.history == "snapshot":
                begin = _held_since(pipeline, state)
                if begin is not None:
                    yield table, segment_of(begin)
            else:
                yield table, segment_of(min(marks)) if len(marks) == len(found) else 0


def _told(pipeline: Pipeline) -> Iterator[tuple[TableId, int]]:
    """Yield where each table goes on at the earliest, by the state store alone."""
    copying = _copying(pipeline)
    for table, state in pipeline.tables.all().items():
        base = [segment_of(copying[table])] if table in copying else []
        if state.status == "live":
            yield table, min([pipeline.applied(), *base])
        elif state.status in ("behind", "held", "stopped"):
            yield table, 0
        elif base:
            yield table, base[0]


def _copying(pipeline: Pipeline) -> dict[TableId, int]:
    """Return the `_cdc_seq` from which changes are replayed over each copy that is under way."""
    loads = pipeline.snapshots.list_snapshots()
    return {s.table: s.base_seq for s in loads if s.state not in _CLOSED}


def _held_since(pipeline: Pipeline, state: TableState) -> int | None:
    """Return where the log of a table begins that was made while it was followed, and now waits."""
    last = pipeline.log.segments.last()
    if last is None or state.status not in ("held", "stopped"):
        return None
    return born(pipeline, state.table, last_seq(last.number))


def _give_up(pipeline: Pipeline, need: Need, bound: str) -> None:
    """Let tables be read again that need what is older than a window: it is deleted next."""
    store = pipeline.log.segments
    for table, after in need.tables.items():
        if any(s.window < bound for s in store.list_of_table(table, after)[:1]):
            pipeline.snapshots.abandon_open(table, "the change log behind it was deleted")
            pipeline.tables.set(table, "needs_snapshot", LAGGING)
            pipeline.say(f"{table}: {LAGGING}")
    old = [s.number for s in store.list_bare() if s.window and s.window < bound]
    if pipeline.is_shared and old:
        mark_passed_over(pipeline, old[-1], asks=need.asked)
        pipeline.set_applied(old[-1])
