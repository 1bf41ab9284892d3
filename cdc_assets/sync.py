"""The sync assets of a pipeline: its change log and its target tables, one op for all.

In: settings and known tables. Out: an assets definition. With `changes` selected a run reads the
log once and merges every table it touches; with tables alone it merges what is pending for them.
"""

# No `from __future__ import annotations`: Dagster reads the annotation of `context`.

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from cdc_assets import inventory, naming, verdicts
from cdc_assets.failures import failures, stopped_failure
from cdc_assets.members import Member, feeds_of, kind_of, raise_failed
from cdc_assets.settings import PipelineFile, PipelineSettings
from cdc_assets.settings_place import parse_place
from cdc_assets.specs import changes_spec, table_spec
from cdc_assets.targets import Targets, find_targets
from resources.errors import ConfigError

if TYPE_CHECKING:
    from cdc_assets.engine.pipeline import Pipeline
    from cdc_assets.engine.report import SyncReport, TableReport
    from cdc_assets.engine.run import SyncOptions
    from cdc_assets.events import Pages, RunEvents
    from resources.model.table_id import TableId


class SyncConfig(dg.Config):
    """Run config of a sync."""

    follow_for: float | None = Field(
        default=None,
        ge=0,
        description="Seconds to keep following after the run has caught up; the pipeline file's "
        "pipeline.follow_for if left out.",
    )
    stop_at: str | None = Field(
        default=None,
        description="Where to end before that: a time with its zone (2026-11-01T00:00:00Z), "
        "file:position or a GTID set; the pipeline file's source.stop_at if left out.",
    )


def build_sync(
    settings: PipelineSettings,
    targets: Targets,
    windows: dg.TimeWindowPartitionsDefinition,
) -> dg.AssetsDefinition:
    """Return `<pipeline>/changes` and one asset per known target.

    Args:
        settings: The pipeline's.
        targets: The targets known now; others are merged all the same.
        windows: The partitions of all of them.
    """
    tables = (table_spec(settings, t, [(settings, feeds)]) for t, feeds in targets.feeds.items())
    specs = [changes_spec(settings), *tables]

    @dg.multi_asset(
        name=naming.op_name(settings.name, "sync"),
        specs=[spec.replace_attributes(partitions_def=windows) for spec in specs],
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def sync(
        context: dg.AssetExecutionContext, config: SyncConfig
    ) -> Iterator[dg.MaterializeResult[None]]:
        from cdc_assets.open import opened

        keys = {tuple(key.path) for key in context.selected_asset_keys}
        with (
            failures(context.retry_number),
            opened(settings, context.run.run_id, context.log.info) as pipeline,
        ):
            if tuple(naming.changes_key(settings.log_name)) in keys:
                options = sync_options(settings, config)
                yield from sync_pipeline(context, settings, pipeline, options)
            else:
                tables = _feeding(context, pipeline, targets)
                events, stopped = merge_tables(context, settings, pipeline, tables)
                if stopped:
                    raise stopped_failure(stopped)
                yield from events.results()

    return sync


def build_capture(
    settings: PipelineSettings, windows: dg.TimeWindowPartitionsDefinition
) -> dg.AssetsDefinition:
    """Return the change log that several sinks share, as an asset of its own.

    Materialized by itself it reads the source's log up to now, and merges nothing. The syncs of
    the sinks do so too, and record it here.

    Args:
        settings: Of one of the sinks.
        windows: The partitions.
    """

    @dg.multi_asset(
        name=f"{settings.log_name}__capture",
        specs=[changes_spec(settings).replace_attributes(partitions_def=windows)],
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def capture(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        from cdc_assets.engine.run import capture_through
        from cdc_assets.events import RunEvents
        from cdc_assets.open import opened
        from cdc_assets.preflight import require_ready

        if not _follows(context, settings):
            return
        run = opened(settings, context.run.run_id, context.log.info, joins=False)
        with failures(context.retry_number), run as pipeline:
            require_ready(pipeline)
            interval = settings.pipeline.report_interval
            events = RunEvents(context, settings, pipeline, interval)
            capture_through(pipeline, pipeline.source.current_position())
            events.finish({})
            yield from events.results()

    return capture


def build_sync_op(settings: PipelineSettings) -> dg.OpDefinition:
    """Return the op that syncs one of several sinks: it captures if nobody does, and merges.

    It is no asset's own: the change log it may write is that of all sinks.

    Args:
        settings: The sink's pipeline.
    """

    @dg.op(name=naming.op_name(settings.name, "sync"), out=dg.Out(dg.Nothing))
    def sync(context: dg.OpExecutionContext, config: SyncConfig) -> None:
        from cdc_assets.open import opened

        run = opened(settings, context.run.run_id, context.log.info)
        with failures(context.retry_number), run as pipeline:
            for _ in sync_pipeline(context, settings, pipeline, sync_options(settings, config)):
                raise AssertionError("an op owes no results of assets")

    return sync


def build_merge(
    file: PipelineFile,
    members: Sequence[Member],
    windows: dg.TimeWindowPartitionsDefinition,
) -> dg.AssetsDefinition:
    """Return one asset per known target of several sources, or of one of several sinks.

    Syncs merge what is captured; materialized by itself, a target merges what is pending in the
    change logs. A source that fails keeps no other from it.

    Args:
        file: The pipeline file.
        members: Those that fill one sink.
        windows: The partitions of all of them.
    """
    specs = [table_spec(file, target, feeds) for target, feeds in feeds_of(members).items()]
    first = members[0].settings

    @dg.multi_asset(
        name=f"{naming.member_name(file.name, '', first.sink_name)}__targets",
        specs=[spec.replace_attributes(partitions_def=windows) for spec in specs],
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def merge(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        from cdc_assets.events import Pages

        pages = Pages(context)
        failed: dict[str, dg.Failure] = {}
        with ExitStack() as stack:
            merged = [_merge_member(context, m, stack, pages, failed) for m in members]
            yield from pages.results(touched=bool(failed))
            for events in merged:
                if events is not None:
                    events.check_owed()
        raise_failed(failed, kind_of([first]), len(members))

    return merge


def _merge_member(
    context: dg.AssetExecutionContext,
    member: Member,
    stack: ExitStack,
    pages: "Pages",
    failed: dict[str, dg.Failure],
) -> "RunEvents | None":
    """Merge what is pending of one source for the targets chosen; a failure is noted.

    Returns:
        Its events, whose pipeline the stack closes; None if it feeds none of the targets.
    """
    from cdc_assets.open import opened

    settings, events = member.settings, None
    if not member.targets.tables(_chosen(context)):
        return None
    try:
        with failures():
            run = opened(settings, context.run.run_id, context.log.info)
            pipeline = stack.enter_context(run)
            tables = _feeding(context, pipeline, member.targets)
            events, stopped = merge_tables(context, settings, pipeline, tables, pages)
            if stopped:
                raise stopped_failure(stopped)
    except dg.Failure as failure:
        failed[settings.part] = failure
    return events


def _feeding(
    context: dg.AssetExecutionContext, pipeline: "Pipeline", targets: Targets
) -> "list[TableId]":
    """Return the source tables that feed the targets chosen, those not in the graph too."""
    chosen = _chosen(context)
    tables = {*targets.tables(chosen), *pipeline.tables.all()}
    return find_targets(pipeline.options.router, tables).tables(chosen)


def _chosen(context: dg.AssetExecutionContext) -> "list[TableId]":
    return [naming.table_of_key(list(key.path)) for key in context.selected_asset_keys]


def sync_options(settings: PipelineSettings, config: SyncConfig) -> "SyncOptions":
    """Return how long a run follows and where it ends, by its config and the pipeline file.

    Raises:
        ConfigError: `stop_at` is no place, or stands beside `follow_for`.
    """
    from cdc_assets.engine.run import SyncOptions

    follow_for = settings.pipeline.follow_for
    stop_at = settings.source.stop_at.place() if settings.source.stop_at else None
    if config.follow_for is not None:
        follow_for = config.follow_for
    if config.stop_at is not None:
        stop_at = parse_place(config.stop_at)
    if stop_at is not None and follow_for:
        raise ConfigError(
            "a run that stops somewhere does not follow",
            where="run config",
            remedy="leave out `follow_for` or `stop_at`, or set follow_for: 0",
        )
    return SyncOptions(follow_for, stop_at)


def sync_pipeline(
    context: dg.AssetExecutionContext | dg.OpExecutionContext,
    settings: PipelineSettings,
    pipeline: "Pipeline",
    options: "SyncOptions",
) -> Iterator[dg.MaterializeResult[None]]:
    """Capture as far as the options say, and merge every touched table.

    The engine works in a thread of its own, so that a run that waits for changes still reports
    in time and ends at a boundary when it is cancelled.

    Raises:
        dagster.Failure: Tables stopped; the others are merged.
        CdcError: Capture failed; what was merged before is reported.
    """
    from cdc_assets.background import Background
    from cdc_assets.engine.report import TableReport
    from cdc_assets.engine.run import run_sync
    from cdc_assets.events import RunEvents
    from cdc_assets.metadata import capture_metadata
    from cdc_assets.preflight import require_ready

    if not _follows(context, settings):
        return
    require_ready(pipeline)
    events = RunEvents(context, settings, pipeline, settings.pipeline.report_interval)

    def work(say: Callable[[TableReport | str], None], stopped: Callable[[], bool]) -> "SyncReport":
        pipeline.say = say
        return run_sync(
            pipeline, replace(options, stop=stopped, on_table=lambda r: say(_copied(r)))
        )

    engine: Background[TableReport | str, SyncReport] = Background(work)
    try:
        with closing(engine.messages()) as messages:
            for message in messages:
                if isinstance(message, TableReport):
                    events.add(message)
                elif message is not None:
                    context.log.info(message)
                events.beat()
    except BaseException:
        events.beat(everything=True)
        raise
    pipeline.say = context.log.info
    events.finish(capture_metadata(engine.result.capture))
    verdicts.report_sinks(context.instance, settings, pipeline)
    _close(context, settings, events)
    yield from events.results()


def _follows(
    context: dg.AssetExecutionContext | dg.OpExecutionContext, settings: PipelineSettings
) -> bool:
    """Return whether there is a log to read; say so if there is none."""
    if not settings.source.follows:
        context.log.info(
            "nothing to do: with source.startup `snapshot` tables are loaded and not followed; run "
            + naming.job_name(settings.name, "snapshot")
        )
    return settings.source.follows


def merge_tables(
    context: dg.AssetExecutionContext,
    settings: PipelineSettings,
    pipeline: "Pipeline",
    tables: "list[TableId]",
    pages: "Pages | None" = None,
) -> "tuple[RunEvents, list[TableReport]]":
    """Merge what the change log holds for some tables; the source may be down.

    Args:
        context: Of the running op.
        settings: The pipeline's.
        pipeline: The opened pipeline.
        tables: Source tables.
        pages: Where events go, if sources of a file share a run.

    Returns:
        The run's events, and what became of feeds that are stopped.
    """
    from cdc_assets.engine.run import run_tables
    from cdc_assets.events import RunEvents, told

    events = RunEvents(context, settings, pipeline, settings.pipeline.report_interval, pages)
    reports = run_tables(pipeline, tables)
    for report in reports:
        context.log.info(f"{told(report)}: {report.outcome} {report.reason}")
        events.add(report)
    events.finish()
    return events, [r for r in reports if r.outcome == "stopped"]


def _close(
    context: dg.AssetExecutionContext | dg.OpExecutionContext,
    settings: PipelineSettings,
    events: "RunEvents",
) -> None:
    """Do what follows a sync: the inventory, and failing if tables stopped."""
    known = inventory.save_inventory(settings, events.states, events.touched_windows)
    if known:
        context.log.info(
            f"{len(known)} tables are new to the asset graph, reload the code location to see "
            "them: " + ", ".join(map(str, known[:20]))
        )
    if events.stopped:
        raise stopped_failure(events.stopped)


def _copied(report: "TableReport") -> "TableReport":
    """Return a copy for another thread: the engine goes on counting in its own."""
    return replace(report, kinds=dict(report.kinds), windows=set(report.windows))
