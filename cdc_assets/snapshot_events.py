"""What a snapshot run tells Dagster of a table it has loaded.

In: the reports of a copy and of the merges after it. Out: materializations of the snapshot's
partition and of every target the table feeds, and the targets' verdicts.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dagster as dg

from cdc_assets import checks, inventory, naming, verdicts
from cdc_assets.engine.report import rank
from cdc_assets.engine.route import target_name
from cdc_assets.lineage import lineage_metadata
from cdc_assets.members import other_feeds
from cdc_assets.metadata import copy_metadata
from cdc_assets.targets import Targets, find_targets

if TYPE_CHECKING:
    from cdc_assets.engine.pipeline import Pipeline
    from cdc_assets.engine.report import CopyReport, TableReport
    from cdc_assets.settings import PipelineSettings
    from resources.model.table_id import TableId


def report_copy(
    context: dg.AssetExecutionContext | dg.OpExecutionContext,
    settings: PipelineSettings,
    pipeline: Pipeline,
    copied: CopyReport,
    merged: Sequence[TableReport],
) -> None:
    """Log the loaded partition, and every target of the table in the window of now.

    Args:
        context: Of the running op.
        settings: The pipeline's.
        pipeline: The opened pipeline.
        copied: What the copy did.
        merged: What became of the changes behind it, per target.
    """
    states = pipeline.tables.all()
    targets = find_targets(pipeline.options.router, {copied.table, *states})
    found = copy_metadata(copied)
    if copied.dirty:
        found |= checks.dirty_metadata(pipeline, [copied.table])
    context.log.info(f"{copied.table}: {copied.rows:,} rows in {copied.seconds:.1f} s")
    context.log_event(
        dg.AssetMaterialization(
            dg.AssetKey(naming.snapshot_key(settings.log_name, settings.sink_name)),
            partition=naming.table_partition(copied.table),
            metadata=found
            | {"targets": ", ".join(str(r.target) for r in merged)}
            | _after(max(merged, key=lambda r: rank(r.outcome))),
        )
    )
    window = naming.window_partition(time.time_ns() // 1000, settings.pipeline.window)
    others = other_feeds(settings, pipeline.db)
    for report in merged:
        fed = others.get(str(report.target), {})
        _report_target(context, settings, pipeline, targets, copied, report, found, window, fed)
    inventory.save_inventory(settings, [], [window])
    touched = targets.of([copied.table])
    verdicts.report_dirty_rows(context.instance, settings, pipeline, targets, touched, states)


def _report_target(
    context: dg.AssetExecutionContext | dg.OpExecutionContext,
    settings: PipelineSettings,
    pipeline: Pipeline,
    targets: Targets,
    copied: CopyReport,
    report: TableReport,
    found: dict[str, Any],
    window: str,
    others: Mapping[str, Sequence[TableId]],
) -> None:
    target = target_name(report.target)
    feeds = targets.feeds[target]
    (route,) = (r for r in pipeline.routes(copied.table) if r.target == target)
    if report.schema is None and copied.schema is not None:
        stored = pipeline.options.transforms.stored(copied.schema)
        shaping = pipeline.shaping(route, stored)
        report = replace(report, schema=shaping.wanted, lineage=shaping.lineage)
    shown = found | _after(report) | {"target": str(target)}
    shown |= {"source": settings.source_name} if settings.source_name else {}
    if len(feeds) > 1 or others:
        shown["source table"] = str(copied.table)
    with pipeline.sink() as sink:
        shown["dagster/row_count"] = sink.count_rows(report.target)
    shown |= lineage_metadata(pipeline, [report], feeds, others)
    key = dg.AssetKey(settings.table_key(target))
    context.log_event(dg.AssetMaterialization(key, partition=window, metadata=shown))
    state = pipeline.tables.get(copied.table)
    if state is not None and state.status in checks.RESTING:
        resting = checks.resting_shown(pipeline, target, [state], shared=len(feeds) > 1)
        context.log_event(dg.AssetObservation(key, metadata=resting))


def _after(report: TableReport) -> dict[str, Any]:
    """Return what became of the changes behind a copy."""
    return {"changes merged after the copy": report.changes, "outcome": report.outcome}
