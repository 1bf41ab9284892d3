"""Column lineage: which source columns a target's columns are made of, as Dagster shows it.

In: what transforms and routes say of every feed. Out: metadata of the target's materializations.
The change log stands for the sources: its columns are named `database.table.column`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import dagster as dg

from cdc_assets import naming

if TYPE_CHECKING:
    from cdc_assets.engine.pipeline import Pipeline
    from cdc_assets.engine.report import TableReport
    from resources.model.table import Column, TableSchema
    from resources.model.table_id import TableId

LINEAGE_FEEDS = 20
"""Source tables of a shared target whose columns are named; a thousand shards would drown it."""
NO_OTHERS: Mapping[str, Sequence[TableId]] = MappingProxyType({})
Lineage = Mapping[str, frozenset[str]]


def lineage_metadata(
    pipeline: Pipeline,
    reports: Iterable[TableReport],
    feeds: Sequence[TableId],
    others: Mapping[str, Sequence[TableId]] = NO_OTHERS,
) -> dict[str, Any]:
    """Return the columns of a target, what each is made of, and in which shape they are.

    Args:
        pipeline: The opened pipeline.
        reports: Of the target's feeds that were touched.
        feeds: All source tables that feed the target. Those that were not touched are taken to
            be made as a touched one is, as far as they have the columns.
        others: Feeds from other sources of the pipeline file, by the name of their pipelines.

    Returns:
        `dagster/column_schema` and `dagster/column_lineage`; nothing if no feed was touched.
    """
    from cdc_assets.metadata import column_schema
    from resources.stores.feeds import FeedStore

    told = [(report, report.schema) for report in reports if report.schema is not None]
    if not told:
        return {}
    widest, _ = max(told, key=lambda pair: len(pair[1].columns))
    schemas = [schema for _, schema in told]
    mine, sink = pipeline.name, pipeline.name.removeprefix(pipeline.log_name)
    lineages: dict[tuple[str, TableId], Lineage] = {
        (mine, report.table): report.lineage for report, _ in told[:LINEAGE_FEEDS]
    }
    for name, table in _in_turn({mine: feeds, **others}):
        if len(lineages) >= LINEAGE_FEEDS:
            break
        if (name, table) not in lineages:
            feed = FeedStore(pipeline.db, name).load(table, str(widest.target))
            schemas += [feed.schema] if feed is not None else []
            names = feed.schema.names if feed is not None else ()
            lineages[name, table] = {c: made for c, made in widest.lineage.items() if c in names}
    return {
        "dagster/column_schema": column_schema(joined(schemas), widest.lineage),
        "dagster/column_lineage": column_lineage(
            {(name.removesuffix(sink), table): made for (name, table), made in lineages.items()}
        ),
    }


def joined(schemas: Sequence[TableSchema]) -> TableSchema:
    """Return the columns of a target that feeds of several schemas share, in their order."""
    from resources.model.widening import widest

    columns: dict[str, Column] = {}
    for schema in schemas:
        for column in schema.columns:
            known = columns.get(column.name)
            columns[column.name] = column if known is None else widest(known, column) or known
    return replace(schemas[0], columns=tuple(columns.values()))


def column_lineage(feeds: Mapping[tuple[str, TableId], Lineage]) -> dg.TableColumnLineage:
    """Return the lineage of a target's columns.

    Args:
        feeds: Per change log and source table the source columns every column of the target
            is made of.
    """
    deps: dict[str, list[dg.TableColumnDep]] = {}
    for (name, table), lineage in sorted(feeds.items()):
        log = dg.AssetKey(naming.changes_key(name))
        for column, sources in lineage.items():
            found = deps.setdefault(column, [])
            found += [dg.TableColumnDep(log, f"{table}.{source}") for source in sorted(sources)]
    return dg.TableColumnLineage(deps)


def _in_turn(feeds: Mapping[str, Sequence[TableId]]) -> Iterator[tuple[str, TableId]]:
    """Yield feeds, one of each pipeline after the other, so that none crowds the others out."""
    for tables in zip_longest(*feeds.values()):
        yield from ((name, t) for name, t in zip(feeds, tables, strict=True) if t is not None)
