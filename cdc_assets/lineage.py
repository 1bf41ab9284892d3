"""Column lineage: which source columns a target's columns are made of, as Dagster shows it.

In: what transforms and routes say of every feed. Out: metadata of the target's materializations.
The change log stands for the sources: its columns are named `database.table.column`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from cdc_assets import naming

if TYPE_CHECKING:
    from cdc_assets.engine.pipeline import Pipeline
    from cdc_assets.engine.report import TableReport
    from resources.model.table_id import TableId

LINEAGE_FEEDS = 20
"""Source tables of a shared target whose columns are named; a thousand shards would drown it."""
Lineage = Mapping[str, frozenset[str]]


def lineage_metadata(
    pipeline: Pipeline, reports: Iterable[TableReport], feeds: Iterable[TableId]
) -> dict[str, Any]:
    """Return the columns of a target, what each is made of, and in which shape they are.

    Args:
        pipeline: The opened pipeline.
        reports: Of the target's feeds that were touched.
        feeds: All source tables that feed the target. Those that were not touched are taken to
            be made as a touched one is, as far as they have the columns.

    Returns:
        `dagster/column_schema` and `dagster/column_lineage`; nothing if no feed was touched.
    """
    from cdc_assets.metadata import column_schema

    told = [report for report in reports if report.schema is not None]
    if not told:
        return {}
    widest = max(told, key=lambda r: len(r.schema.columns) if r.schema else 0)
    assert widest.schema is not None, "left out above"
    lineages: dict[TableId, Lineage] = {r.table: r.lineage for r in told[:LINEAGE_FEEDS]}
    for table in feeds:
        if len(lineages) >= LINEAGE_FEEDS:
            break
        if table not in lineages:
            feed = pipeline.feeds.load(table, str(widest.target))
            names = feed.schema.names if feed is not None else ()
            lineages[table] = {c: made for c, made in widest.lineage.items() if c in names}
    return {
        "dagster/column_schema": column_schema(widest.schema, widest.lineage),
        "dagster/column_lineage": column_lineage(pipeline.name, lineages),
    }


def column_lineage(pipeline: str, feeds: Mapping[TableId, Lineage]) -> dg.TableColumnLineage:
    """Return the lineage of a target's columns.

    Args:
        pipeline: The pipeline's name.
        feeds: Per source table the source columns every column of the target is made of.
    """
    log = dg.AssetKey(naming.changes_key(pipeline))
    deps: dict[str, list[dg.TableColumnDep]] = {}
    for table, lineage in sorted(feeds.items()):
        for column, sources in lineage.items():
            found = deps.setdefault(column, [])
            found += [dg.TableColumnDep(log, f"{table}.{source}") for source in sorted(sources)]
    return dg.TableColumnLineage(deps)
