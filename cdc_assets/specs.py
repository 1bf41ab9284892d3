"""Target table -> AssetSpec, and the partitions all assets of a pipeline share.

In: settings and the inventory. Out: specs whose keys come from `naming`, nothing that connects.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from cdc_assets import naming
from cdc_assets.inventory import Inventory
from cdc_assets.settings import PipelineSettings
from resources.model.table_id import TableId

PIPELINE_TAG = "cdc/pipeline"
SOURCE_TAG = "cdc/source"
SNAPSHOT_TAG = "cdc/snapshot"
TAG_CHARACTERS = 63
"""Longest value Dagster's pages and its stricter kinds of tags take."""
SHOWN_TABLES = 100
"""Source tables of a target that its spec names; merged shards may be thousands."""


def has_snapshot(settings: PipelineSettings) -> bool:
    """Return whether tables are loaded by chunks; others begin empty and follow the log."""
    return settings.source.loads


def run_tags(settings: PipelineSettings) -> dict[str, str]:
    """Return the tags by which sensors and the run queue know a pipeline's sync runs."""
    return {
        PIPELINE_TAG: settings.name,
        SOURCE_TAG: source_tag(settings.source.server),
    }


def source_tag(server: str) -> str:
    """Return a server's value of `cdc/source`: itself, or its short name if it is long."""
    return server if len(server) <= TAG_CHARACTERS else naming.server_name(server)


def window_partitions(
    settings: PipelineSettings, inventory: Inventory
) -> dg.TimeWindowPartitionsDefinition:
    """Return the windows of commit time, in UTC, up to and with the current one.

    They begin with the first window that has data; a new pipeline's with the current one. A run
    that brings earlier windows, from a restored server say, moves the begin there.
    """
    length = settings.pipeline.window
    now = naming.window_partition(time.time_ns() // 1000, length)
    start = naming.window_start(min(inventory.first_window or now, now), length)
    if length == "hour":
        return dg.HourlyPartitionsDefinition(start_date=start, timezone="UTC", end_offset=1)
    return dg.DailyPartitionsDefinition(start_date=start, timezone="UTC", end_offset=1)


def table_partitions(settings: PipelineSettings) -> dg.DynamicPartitionsDefinition:
    """Return the dynamic partitions of the snapshot, one per source table."""
    return dg.DynamicPartitionsDefinition(name=naming.table_partitions_name(settings.name))


def changes_spec(settings: PipelineSettings) -> dg.AssetSpec:
    """Return the change log's spec."""
    return dg.AssetSpec(
        dg.AssetKey(naming.changes_key(settings.name)),
        description=settings.description
        or f"Every change of {settings.source.server}, as it was committed, in windows of a "
        f"{settings.pipeline.window}.",
        skippable=True,
        kinds={settings.source.type, "arrow"},
        metadata={
            "server": settings.source.server,
            "change log": str(settings.pipeline.change_log),
            "tables": list(settings.source.tables),
            "pipeline file": settings.file,
        },
        **_shared(settings),
    )


def snapshot_spec(settings: PipelineSettings) -> dg.AssetSpec:
    """Return the spec of the snapshot, one partition per source table."""
    return dg.AssetSpec(
        dg.AssetKey(naming.snapshot_key(settings.name)),
        description="Materializing a partition loads that table in full, without locks; a run "
        "that was killed is resumed at its next chunk.",
        skippable=True,
        kinds={settings.source.type, settings.sink.type},
        metadata={"server": settings.source.server},
        **_shared(settings),
    )


def table_spec(
    settings: PipelineSettings, target: TableId, tables: Sequence[TableId]
) -> dg.AssetSpec:
    """Return a target table's spec; it depends on the change log and on its snapshot.

    Args:
        settings: The pipeline's.
        target: Names of the target.
        tables: The source tables that feed it, as known now.
    """
    deps = [dg.AssetDep(dg.AssetKey(naming.changes_key(settings.name)))]
    if has_snapshot(settings):
        snapshot = dg.AssetKey(naming.snapshot_key(settings.name))
        deps.append(dg.AssetDep(snapshot, partition_mapping=dg.AllPartitionMapping()))
    return dg.AssetSpec(
        dg.AssetKey(naming.table_key(settings.name, target)),
        description=_described(settings, tables),
        deps=deps,
        skippable=True,
        kinds={settings.sink.type, "table"},
        metadata={"dagster/table_name": str(target), **_sources(tables)},
        **_shared(settings),
    )


def _described(settings: PipelineSettings, tables: Sequence[TableId]) -> str:
    if len(tables) == 1:
        return f"{tables[0]} of {settings.source.server}, kept equal to its source."
    return (
        f"{len(tables)} tables of {settings.source.server}, merged and kept equal to their sources."
    )


def _sources(tables: Sequence[TableId]) -> dict[str, Any]:
    if len(tables) == 1:
        return {"source table": str(tables[0])}
    names = [str(table) for table in tables[:SHOWN_TABLES]]
    left_out = len(tables) - len(names)
    return {"source tables": [*names, f"and {left_out} more"] if left_out else names}


def _shared(settings: PipelineSettings) -> Mapping[str, Any]:
    return {
        "group_name": settings.name,
        "owners": list(settings.owners),
        "tags": dict(settings.tags) | {PIPELINE_TAG: settings.name},
        "code_version": settings.config_hash(),
    }
