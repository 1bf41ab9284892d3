"""What a statement's effect on a table is, told with the shapes before and after it.

In: the effect that the words of the statement tell, and what it did to the table's shape. Out: the
effect with the shape from here on, where its columns come from, and what the table was called.
"""

from __future__ import annotations

from dataclasses import replace

from resources.mysql.binlog.bodies import Query
from resources.mysql.binlog.ddl import TableEffect
from resources.mysql.binlog.sql_tokens import tokenize, without_literals
from resources.mysql.schema_history.apply import Shapes
from resources.mysql.schema_history.changes import TableChange
from resources.mysql.schema_history.copies import is_swap, swap_origins
from resources.mysql.schema_history.values import keeps_values
from resources.mysql.schema_history.wire_names import schema_words


def swap_effect(change: TableChange, before: Shapes, rewrites: bool) -> TableEffect:
    """Return the effect of a rename that puts a tool's copy in the place of its table.

    Args:
        change: The swap.
        before: What was known before it.
        rewrites: Whether the copy may hold other rows or values than the table did.
    """
    old = before.get(change.table)
    shown = [
        f"({schema_words(shape.schema)})" if shape is not None else "an unknown shape"
        for shape in (old, change.after)
    ]
    detail = f"{change.was} was put in its place: {shown[0]} became {shown[1]}"
    return TableEffect(change.table, "alter", rewrites, detail)


def is_gone(change: TableChange) -> bool:
    """Return whether a table is surely not there after a statement."""
    return change.after is None and not change.unknown


def dropped_effect(change: TableChange, query: Query) -> TableEffect:
    """Return the effect of a statement that drops a table without naming it.

    Args:
        change: What it did to the table.
        query: The statement.
    """
    return TableEffect(change.table, "drop", True, without_literals(tokenize(query)))


def told_effect(
    effect: TableEffect, change: TableChange, before: Shapes, query: Query
) -> TableEffect:
    """Return an effect with all that is known of it.

    Args:
        effect: What the words of the statement tell, or `swap_effect`.
        change: What the statement did to the table.
        before: What was known before it.
        query: The statement.
    """
    if change.unknown:
        return effect
    if change.after is None:
        return replace(effect, kind="rename_away" if effect.kind == "rename" else "drop")
    told = replace(effect, shape=change.after.named(effect.table).schema, origins=change.origins)
    if change.was is None:
        return told if change.before is not None else replace(told, kind="create")
    if is_swap(change, before):
        return replace(told, origins=swap_origins(change, before))
    if effect.doubt == "names" or (
        effect.doubt == "values"
        and change.fills is not None
        and keeps_values(change, query, before.server)
    ):
        told = replace(told, rewrites=False, fills=change.fills or ())
    renamed = before.key(change.was) != before.key(change.table)
    return replace(told, kind="rename", was=change.was) if renamed else told


def was_not_there(change: TableChange, before: Shapes) -> bool:
    """Return whether a table is not there after a statement, as it was not before.

    `DROP TABLE IF EXISTS` is logged also where it dropped nothing.

    Args:
        change: What the statement did to the table.
        before: What was known before it, of every table that was there.
    """
    known = before.get(change.table) is not None or before.key(change.table) in before.lost
    return is_gone(change) and not known
