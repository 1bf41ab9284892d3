"""Source tables -> target tables.

In: a source table's schema. Out: the target it belongs to. Rules of a pipeline file's `route`
key come with the pipeline-language release; until then a target carries its source's name.
"""

from __future__ import annotations

from cdc_assets.engine.pipeline import EngineOptions
from resources.model.table import TableId, TableSchema
from resources.sinks.contract import Mode, TargetId, TargetTable


def route_table(table: TableId) -> TargetId:
    """Return the target of a source table: its database as namespace, its own name."""
    return TargetId(table.database, table.table)


def source_of(target: TargetId) -> TableId:
    """Return the source table of a target: the inverse of `route_table`."""
    return TableId(target.namespace, target.table)


def route_schema(schema: TableSchema, options: EngineOptions) -> TargetTable:
    """Return the target table for one schema version of a source table.

    Args:
        schema: The source's schema.
        options: Say which tables are kept as append-only change logs.
    """
    mode: Mode = "append" if options.appends(schema.table) else "merge"
    return TargetTable(route_table(schema.table), schema, mode)
