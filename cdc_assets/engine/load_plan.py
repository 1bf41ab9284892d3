"""How a copy of a table gets into its target: in the live table's place, or folded into it.

In: the shape that is copied, and the columns the target has. Out: the table to load, and what the
live one needs before it can take the copy in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cdc_assets.engine.columns import TargetColumns
from cdc_assets.engine.records import passed_over
from cdc_assets.engine.shaping import Shaping
from resources.errors import SchemaMismatch
from resources.model.column_change import AddColumn, ColumnChange, DropColumn, RetypeColumn
from resources.model.table import Column
from resources.model.widening import describe, holds, widest
from resources.sinks.contract import TargetTable


@dataclass(frozen=True)
class LoadPlan:
    """How a copy gets into a target.

    Args:
        target: The table the copy is loaded as.
        changes: What the live table needs, where the copy is folded into it.
        keep: Columns of the live table that the source no longer has, and whose values stay.
        folds: Whether the copy is folded into the live table; else it takes its place.
    """

    target: TargetTable
    changes: tuple[ColumnChange, ...] = ()
    keep: tuple[str, ...] = ()
    folds: bool = False


def plan_load(columns: TargetColumns, shaping: Shaping) -> LoadPlan:
    """Return how a copy of a shape gets into the target.

    Raises:
        SchemaMismatch: A shared target has a column that no type holds beside the copy's.
    """
    wanted = shaping.target("append" if columns.appends else "merge")
    shared, live = columns.route.shared, columns.live
    anew = columns.pipeline.options.existing.of_load == "anew" and not shared
    if live is None or anew:
        return LoadPlan(wanted, folds=shared)
    here = {columns.fold(c.name): c for c in live}
    table, target = columns.route.table, columns.report.target
    as_they_are = passed_over(columns.pipeline, table, target, "alter_column_type")
    loaded = tuple(
        _load_column(columns, column, here.get(columns.fold(column.name)), as_they_are)
        for column in wanted.schema.columns
        if columns.fold(column.name) in here or column.name not in columns.ignored
    )
    names = {columns.fold(c.name) for c in loaded}
    left = [c.name for c in live if columns.fold(c.name) not in names]
    goes = [name for name in left if _goes(columns, name, wanted.schema.key)]
    keep = tuple(name for name in left if name not in goes)
    load = replace(wanted, schema=replace(wanted.schema, columns=loaded))
    if not (keep or shared):
        return LoadPlan(load)
    changes = [change for column in loaded for change in _changes(columns, here, column)]
    changes += [DropColumn(name) for name in goes]
    mine = tuple(k for k in keep if k in columns.kept) if shared else keep
    return LoadPlan(load, tuple(changes), mine, folds=True)


def _changes(columns: TargetColumns, live: dict[str, Column], column: Column) -> list[ColumnChange]:
    """Return what the live table needs to take a column of the copy in."""
    here = live.get(columns.fold(column.name))
    if here is None:
        return [AddColumn(replace(column, nullable=True))]
    if here.type == column.type:
        return []
    if holds(column, here):
        return [RetypeColumn(column)]
    # Its values are replaced by the copy's.
    return [DropColumn(here.name), AddColumn(replace(column, nullable=True))]


def _load_column(
    columns: TargetColumns, column: Column, here: Column | None, as_they_are: frozenset[str]
) -> Column:
    """Return a column of a copy: as wide as the live one, unless the policy follows exactly."""
    if here is None:
        return column
    table, shared = columns.route.table, columns.route.shared
    word = columns.pipeline.options.policy.word(table, "alter_column_type")
    if word == "ignore" or column.name in as_they_are:
        return replace(here, comment=column.comment)
    if word in ("evolve", "try_evolve") and not shared:
        return replace(column, name=here.name)
    wide = widest(here, column)
    if wide is not None:
        return replace(wide, name=here.name)
    if shared:
        raise SchemaMismatch(
            f"column {column.name} is {describe(here)} in the target and {describe(column)} "
            f"in {table}; no type holds both without loss",
            where=str(columns.report.target),
            remedy="cast it by a projection, or route the table to another target",
        )
    return replace(column, name=here.name)


def _goes(columns: TargetColumns, name: str, key: tuple[str, ...]) -> bool:
    """Return whether a column goes that the copy does not have.

    One the source no longer has goes as the policy says. One the pipeline file no longer asks
    for, or no longer lets through, always does; values kept by another key than the copy's too.
    """
    table, before = columns.route.table, columns.before
    own = before is not None and name in before.names and name not in columns.kept
    if columns.edited and not columns.route.shared:
        return own or (before is not None and before.key != key)
    word = columns.pipeline.options.policy.word(table, "drop_column")
    mine = name in columns.kept or own
    return word in ("evolve", "try_evolve") and not columns.route.shared and mine
