"""Gathers what a plan of the pipeline file is made from, and changes nothing.

In: an opened pipeline. Out: facts: the source's tables, the state store's memory, the targets'
columns.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from cdc_assets.engine.configs import feed_config, log_is_whole
from cdc_assets.engine.route import target_id
from cdc_assets.engine.routing import Route
from cdc_assets.planning import Facts, TargetShape, plan_file
from resources.model.column_change import AddColumn, ColumnChange, DropColumn, RetypeColumn
from resources.model.table import Column, TableSchema
from resources.model.table_id import TableId

if TYPE_CHECKING:
    from cdc_assets.engine.pipeline import Pipeline
    from resources.sinks.contract import Sink

MOST_SHAPES = 200
"""Feeds whose columns are compared; of more, only what is done is said."""


def gather_facts(pipeline: Pipeline, selects: Callable[[TableId], bool]) -> Facts:
    """Return what is known of a pipeline.

    Args:
        pipeline: The opened pipeline.
        selects: Whether the file's patterns select a table.

    Raises:
        TransientError: The source, the sink or the state store cannot be reached.
    """
    selected = frozenset(pipeline.source.list_tables())
    states = pipeline.tables.all()
    kept = {feed: json.loads(config) for feed, config in pipeline.feeds.configs().items() if config}
    routes = {t: pipeline.routes(t) for t in {*selected, *states}}
    facts = Facts(
        selected=selected,
        known={t: (s.status, s.reason) for t, s in states.items() if s.status != "new"},
        loaded=frozenset(t for t, s in states.items() if s.status != "new"),
        chosen=frozenset(t for t in states if selects(t)),
        routes=routes,
        kept=kept,
        wanted={
            (t, str(r.target)): feed_config(pipeline.name, pipeline.options, r)
            for t, found in routes.items()
            for r in found
        },
        clashes=pipeline.options.router.clashes(sorted(selected)),
        history=pipeline.options.history,
    )
    return _with_details(pipeline, facts)


def _with_details(pipeline: Pipeline, facts: Facts) -> Facts:
    """Return the facts with what is asked only of tables with something to do."""
    first = plan_file(facts)
    busy = {(plan.table, plan.target) for plan in (*first.new, *first.edited)}
    whole = frozenset(p.table for p in first.edited if log_is_whole(pipeline, p.table))
    routes = [r for found in facts.routes.values() for r in found if (r.table, r.target) in busy]
    return Facts(
        **{**vars(facts), "whole": whole, "shapes": _shapes(pipeline, routes[:MOST_SHAPES])}
    )


def _shapes(pipeline: Pipeline, routes: Iterable[Route]) -> dict[tuple[TableId, str], TargetShape]:
    wanted = list(routes)
    schemas = pipeline.source.read_schemas(sorted({route.table for route in wanted}))
    shapes = {}
    with pipeline.sink() as sink:
        for route in wanted:
            if route.table in schemas:
                stored = pipeline.options.transforms.stored(schemas[route.table])
                shape = pipeline.shaping(route, stored).wanted
                shapes[route.table, str(route.target)] = _compare(sink, route, shape)
    pipeline.release_sink()
    return shapes


def _compare(sink: Sink, route: Route, wanted: TableSchema) -> TargetShape:
    schema = sink.read_schema(target_id(route))
    columns = tuple((c.name, str(c.type)) for c in wanted.columns)
    if schema is None:
        return TargetShape(None, columns)
    live = {field.name: Column(field.name, field.type) for field in schema}
    changes: list[ColumnChange] = []
    for column in wanted.columns:
        if column.name not in live:
            changes.append(AddColumn(column))
        elif live[column.name].type != column.type:
            changes.append(RetypeColumn(column))
    if not route.shared:
        changes += [DropColumn(name) for name in live if name not in wanted.names]
    ddl = tuple(sink.render_changes(target_id(route), changes)) if changes else ()
    return TargetShape(tuple((c.name, str(c.type)) for c in live.values()), columns, ddl)
