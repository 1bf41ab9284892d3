"""Gathers what a plan of the pipeline file is made from, and changes nothing.

In: an opened pipeline. Out: facts: the source's tables, the state store's memory, the targets'
columns.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from cdc_assets.engine.columns import TargetColumns
from cdc_assets.engine.configs import feed_config, log_is_whole
from cdc_assets.engine.report import TableReport
from cdc_assets.engine.route import target_id
from cdc_assets.engine.routing import Route
from cdc_assets.planning import Facts, TargetShape, plan_file
from resources.model.column_change import AddColumn, ColumnChange, DropColumn, RetypeColumn
from resources.model.table import Column, TableSchema
from resources.model.table_id import TableId
from resources.model.widening import widest

if TYPE_CHECKING:
    from cdc_assets.engine.pipeline import Pipeline
    from cdc_assets.engine.shaping import Shaping
    from resources.sinks.contract import Sink

MOST_SHAPES = 500
"""Feeds whose columns are compared, those with something to do first."""


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
            (t, str(r.target)): feed_config(pipeline.log_name, pipeline.options, r)
            for t, found in routes.items()
            for r in found
        },
        clashes=pipeline.options.router.clashes(sorted(selected)),
        history=pipeline.options.history,
    )
    return _with_details(pipeline, facts)


def _with_details(pipeline: Pipeline, facts: Facts) -> Facts:
    """Return the facts with what has to be asked of source and sink."""
    first = plan_file(facts)
    busy = {(plan.table, plan.target) for plan in (*first.new, *first.edited)}
    whole = frozenset(p.table for p in first.edited if log_is_whole(pipeline, p.table))
    routes = [r for t in sorted(facts.selected) for r in facts.routes[t]]
    first_busy = sorted(routes, key=lambda r: (r.table, r.target) not in busy)[:MOST_SHAPES]
    schemas = pipeline.source.read_schemas(sorted({route.table for route in first_busy}))
    shapes: dict[tuple[TableId, str], TargetShape] = {}
    pending: dict[tuple[TableId, str], tuple[str, ...]] = {}
    for route in first_busy:
        if route.table not in schemas:
            continue
        stored = pipeline.options.transforms.stored(schemas[route.table])
        shaping = pipeline.shaping(route, stored)
        name = (route.table, str(route.target))
        if (route.table, route.target) in busy:
            with pipeline.sink() as sink:
                shapes[name] = compare_target(sink, route, shaping.wanted)
        elif words := _pending(pipeline, route, shaping):
            pending[name] = words
    pipeline.release_sink()
    return replace(facts, whole=whole, shapes=shapes, pending=pending)


def _pending(pipeline: Pipeline, route: Route, shaping: Shaping) -> tuple[str, ...]:
    """Return what becomes of the difference between the source's columns and those applied."""
    columns = TargetColumns(pipeline, route, TableReport(route.table, target_id(route)))
    if columns.before is None or columns.live is None:
        return ()
    if columns.before.fingerprint() == shaping.wanted.fingerprint():
        return ()
    steps = columns.plan(shaping).steps
    with pipeline.sink() as sink:
        ddl = ["; ".join(sink.render_changes(target_id(route), s.changes)) for s in steps]
    return tuple(
        f"{step.event.replace('_', ' ')} {', '.join(step.columns)} ({step.change_class}, policy "
        f"{step.policy}): {step.action}" + (f": {text}" if text else "")
        for step, text in zip(steps, ddl, strict=True)
        if step.action != "nothing"
    )


def compare_target(sink: Sink, route: Route, wanted: TableSchema) -> TargetShape:
    """Return a target's columns as they are, as a route wants them, and what lies between.

    Args:
        sink: The opened sink.
        route: The route into the target; one that is shared takes nothing from it.
        wanted: The columns the file makes of the source's.
    """
    schema = sink.read_schema(target_id(route))
    columns = tuple((c.name, str(c.type)) for c in wanted.columns)
    if schema is None:
        return TargetShape(None, columns)
    live = {field.name: Column(field.name, field.type) for field in schema}
    changes: list[ColumnChange] = []
    for column in wanted.columns:
        here = live.get(column.name)
        if here is None:
            changes.append(AddColumn(column))
            continue
        # What other tables put into a shared target stays: its columns only become wider.
        needed = widest(here, column) if route.shared else column
        if needed is not None and here.type != needed.type:
            changes.append(RetypeColumn(needed))
    if not route.shared:
        changes += [DropColumn(name) for name in live if name not in wanted.names]
    ddl = tuple(sink.render_changes(target_id(route), changes)) if changes else ()
    return TargetShape(tuple((c.name, str(c.type)) for c in live.values()), columns, ddl)
