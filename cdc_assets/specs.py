"""Target table -> AssetSpec, and the partitions all assets of a pipeline share.

In: settings and the inventory. Out: specs whose keys come from `naming`, nothing that connects.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from cdc_assets import naming
from cdc_assets.settings import PipelineFile, PipelineSettings
from cdc_assets.settings_env import server_of
from resources.model.table_id import TableId

if TYPE_CHECKING:
    from cdc_assets.members import Feeds

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
    """Return the tags by which sensors and the run queue know a pipeline's sync runs.

    Runs of several sinks do not wait for each other: each has the server for itself.
    """
    server, sink = settings.source.server, settings.sink_name
    return {
        PIPELINE_TAG: naming.file_of(settings.name),
        SOURCE_TAG: source_tag(f"{server} {settings.name}" if sink else server),
    }


def source_tag(server: str) -> str:
    """Return a server's value of `cdc/source`: itself, or its short name if it is long."""
    return server if len(server) <= TAG_CHARACTERS else naming.server_name(server)


def window_partitions(file: PipelineFile, first: str) -> dg.TimeWindowPartitionsDefinition:
    """Return the windows of commit time, in UTC, up to and with the current one.

    They begin with the first window that has data; a new pipeline's with the current one. A run
    that brings earlier windows, from a restored server say, moves the begin there.

    Args:
        file: The pipeline file.
        first: Partition key of the first window with data, empty if there is none.
    """
    length = file.pipeline.window
    now = naming.window_partition(time.time_ns() // 1000, length)
    start = naming.window_start(min(first or now, now), length)
    if length == "hour":
        return dg.HourlyPartitionsDefinition(start_date=start, timezone="UTC", end_offset=1)
    return dg.DailyPartitionsDefinition(start_date=start, timezone="UTC", end_offset=1)


def table_partitions(settings: PipelineSettings) -> dg.DynamicPartitionsDefinition:
    """Return the dynamic partitions of the snapshot, one per source table."""
    return dg.DynamicPartitionsDefinition(name=naming.table_partitions_name(settings.name))


def changes_spec(settings: PipelineSettings) -> dg.AssetSpec:
    """Return the change log's spec."""
    return dg.AssetSpec(
        dg.AssetKey(naming.changes_key(settings.log_name)),
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
        dg.AssetKey(naming.snapshot_key(settings.log_name, settings.sink_name)),
        description="Materializing a partition loads that table in full, without locks; a run "
        "that was killed is resumed at its next chunk.",
        skippable=True,
        kinds={settings.source.type, settings.sink.type},
        metadata={"server": settings.source.server},
        **_shared(settings, settings.sink_name),
    )


def table_spec(file: PipelineFile, target: TableId, feeds: Feeds) -> dg.AssetSpec:
    """Return a target table's spec; it depends on its sources' change logs and snapshots.

    Args:
        file: The pipeline file.
        target: Names of the target.
        feeds: The sources that feed it and their tables, as known now; all fill one sink.
    """
    first = feeds[0][0]
    deps = [dg.AssetDep(dg.AssetKey(naming.changes_key(s.log_name))) for s, _ in feeds]
    deps += [
        dg.AssetDep(
            dg.AssetKey(naming.snapshot_key(settings.log_name, settings.sink_name)),
            partition_mapping=dg.AllPartitionMapping(),
        )
        for settings, _ in feeds
        if has_snapshot(settings)
    ]
    return dg.AssetSpec(
        dg.AssetKey(naming.table_key(file.name, target, first.sink_name)),
        description=_described(feeds),
        deps=deps,
        skippable=True,
        kinds={first.sink.type, "table"},
        metadata={"dagster/table_name": f"{sink_address(first)}/{target}", **_sources(feeds)},
        **_shared(file if file.sources else first, first.sink_name),
    )


def sink_address(settings: PipelineSettings) -> str:
    """Return what names a pipeline's sink; never a secret.

    Dagster takes assets with one table name for one table: those of two sinks must differ.
    """
    sink = settings.sink.model_dump(exclude_none=True)
    place = sink.get("path") or sink.get("location")
    if place:
        return str(place)
    if "url" in sink:
        return server_of(sink["url"].get_secret_value())
    if "host" in sink:
        return f"{sink['host']}:{sink.get('port', '')}/{sink.get('database', '')}"
    name = naming.member_name(settings.whole.name, "", settings.sink_name)
    return f"{sink['type']}/{name}"


def _described(feeds: Feeds) -> str:
    count = sum(len(tables) for _, tables in feeds)
    servers = " and ".join(settings.source.server for settings, _ in feeds)
    if count == 1:
        return f"{feeds[0][1][0]} of {servers}, kept equal to its source."
    return f"{count} tables of {servers}, merged and kept equal to their sources."


def _sources(feeds: Feeds) -> dict[str, Any]:
    several = len(feeds) > 1
    names = [
        f"{settings.source_name}: {table}" if several else str(table)
        for settings, tables in feeds
        for table in tables
    ]
    if len(names) == 1:
        return {"source table": names[0]}
    left_out = len(names) - SHOWN_TABLES
    more = [f"and {left_out} more"] if left_out > 0 else []
    return {"source tables": [*names[:SHOWN_TABLES], *more]}


def _shared(file: PipelineFile, sink: str = "") -> Mapping[str, Any]:
    """Return what all assets of a file have; those of one of several sinks are a group."""
    name = naming.file_of(file.name)
    return {
        "group_name": naming.member_name(name, "", sink),
        "owners": list(file.owners),
        "tags": dict(file.tags) | {PIPELINE_TAG: name},
        "code_version": file.config_hash(),
    }
