"""Fills a table's targets again from the change log alone, by the rules of the pipeline file.

In: a table of which the change log has every row. Out: its targets as if they had always been
filled by the rules as they are now; its source is not asked.
"""

from __future__ import annotations

from dataclasses import replace

from cdc_assets.engine.apply import born
from cdc_assets.engine.columns import TargetColumns
from cdc_assets.engine.configs import log_is_whole
from cdc_assets.engine.pipeline import Pipeline
from cdc_assets.engine.records import REMEDIES
from cdc_assets.engine.report import TableReport
from cdc_assets.engine.route import target_id
from cdc_assets.engine.routing import Route
from cdc_assets.engine.run import run_tables
from resources.errors import ConfigError
from resources.failpoints import failpoint
from resources.model.change import last_seq
from resources.model.table import TableId
from resources.sinks.contract import Fence


def refold_table(pipeline: Pipeline, table: TableId) -> list[TableReport]:
    """Fill a table's targets again from the change log.

    Readers see a target without the table's rows until they are there again. A run that is
    killed leaves a target that the next sync, or this again, fills from where it is.

    Returns:
        What became of it, per target.

    Raises:
        ConfigError: The change log does not have every row of the table.
        LeaseHeld: Another run loads this table.
    """
    if not log_is_whole(pipeline, table):
        raise ConfigError(
            f"the change log does not have every row of {table}",
            where=str(table),
            remedy=REMEDIES[pipeline.options.history],
        )
    name = f"copy:{pipeline.name}:{table}"
    with pipeline.leases.held(name, pipeline.run_id, pipeline.options.lease_seconds) as lease:
        last = pipeline.log.segments.last()
        pipeline.offer(last.number if last else 0)
        # Its loads go with the targets: a copy that went on would finish without its rows.
        pipeline.snapshots.abandon_open(table, "folded again from the change log")
        for route in pipeline.routes(table):
            _begin_anew(pipeline, route, lease.token)
        pipeline.tables.set(table, "behind", "folded again from the change log")
        return run_tables(pipeline, [table])


def _begin_anew(pipeline: Pipeline, route: Route, token: int) -> None:
    """Take a feed's rows out of its target, and forget by which rules they were made.

    In this order: a target whose rules were forgotten would be merged by others in silence.
    """
    with pipeline.sink() as sink:
        if route.shared or pipeline.options.existing.of_load == "kept":
            _replace_by_nothing(pipeline, route, token)
        else:
            sink.drop_table(target_id(route))
    failpoint("refold.after_drop")
    pipeline.feeds.forget(route.table, str(target_id(route)))


def _replace_by_nothing(pipeline: Pipeline, route: Route, token: int) -> None:
    """Put an empty load in the place of a feed's rows; the table and rows of others stay."""
    last = pipeline.log.segments.last()
    upto = last_seq(last.number) if last else 0
    columns = TargetColumns(pipeline, route, TableReport(route.table, target_id(route)))
    target = columns.current()
    begin = born(pipeline, route.table, upto)
    if target is None or begin is None:
        return
    feed = pipeline.feed(route.table)
    load_id = f"refold-{token}"
    with pipeline.sink() as sink:
        target = replace(target, existing="kept")
        sink.begin_load(target, load_id, feed)
        sink.finish_load(target, load_id, Fence(feed, None, begin, token), upto)
