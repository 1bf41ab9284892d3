"""Copies that schema change tools fill, and the rename that puts one in its table's place.

In: what a statement did to shapes. Out: where a copy has its columns from, and whether its rows
are its table's own.

Rows reach a copy as rows of a table nobody asked for, so that what it holds can only be told from
how it came to be. gh-ost copies every row of its table on MySQL, and its statements say that they
are its own. On MariaDB, which grants locks in another order, its cut-over was seen to lose a row
written meanwhile; under pt-online-schema-change a `--where` may leave rows out, and people rename
tables of their own in the same way: then the table has to be read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from resources.model.table import TableId
from resources.mysql.binlog.bodies import Query
from resources.mysql.schema_history.apply import Shapes
from resources.mysql.schema_history.changes import TableChange
from resources.mysql.schema_history.shape import Lineage, TableShape
from resources.mysql.working_copies import is_working_copy

_GH_OST = "/* gh-ost */"


def with_lineage(change: TableChange, shapes: Shapes, rewrites: bool) -> TableShape | None:
    """Return the shape after a change, with where its columns come from if it is of a copy.

    Args:
        change: What a statement did.
        shapes: What was known before it.
        rewrites: Whether the statement may have changed rows or values of the table.
    """
    after = change.after
    if after is None or not is_working_copy(change.table.table):
        return after and replace(after, lineage=None)
    before = change.before
    if before is None or change.was is None:
        return replace(after, lineage=_begun(after, change.like, shapes))
    lineage = before.lineage
    if lineage is not None:
        names = dict(zip(before.schema.names, lineage.columns, strict=True))
        lineage = Lineage(
            lineage.of,
            tuple(names.get(origin, "") for origin in change.origins),
            lineage.keeps_rows and not rewrites and not _more_unique(before, after),
        )
    return replace(after, lineage=lineage)


def _begun(copy: TableShape, like: TableId | None, shapes: Shapes) -> Lineage | None:
    """Return the lineage of a new copy.

    It is of the table that it was made like, else of one that looks the same and lends its name.
    """
    if like is not None:
        return Lineage(shapes.key(like), copy.schema.names)
    for table in sorted(shapes.tables):
        if _is_copy_of(copy.table, table):
            original = shapes.tables[table].schema
            if (original.columns, original.key) == (copy.schema.columns, copy.schema.key):
                return Lineage(table, copy.schema.names)
    return None


def _is_copy_of(copy: TableId, table: TableId) -> bool:
    stem, _, _ = copy.table.lstrip("_").rpartition("_")
    cut = len(copy.table) >= _LONGEST_NAME and table.table.startswith(stem)
    return copy.database == table.database and (stem.lower() == table.table.lower() or cut)


_LONGEST_NAME = 64


def _more_unique(before: TableShape, after: TableShape) -> bool:
    """Return whether rows that were different may count as one now, and be left out."""
    known = {frozenset(name for name, _ in i.parts) for i in before.indexes if i.unique}
    return any(
        i.unique and frozenset(name for name, _ in i.parts) not in known for i in after.indexes
    )


def is_swap(change: TableChange, shapes: Shapes) -> bool:
    """Return whether a rename put a copy in the place of a table that was there.

    Args:
        change: What a statement did.
        shapes: What was known before it.
    """
    was, table = change.was, change.table
    if was is None or was.database != table.database or is_working_copy(table.table):
        return False
    there = shapes.get(table) is not None or shapes.key(table) in shapes.lost
    return there and is_working_copy(was.table)


def set_aside(changes: Sequence[TableChange], query: Query) -> set[TableId]:
    """Return the tables that gh-ost moved aside, to put its copy in their place with a next step.

    That is `--cut-over=two-step`; there is no such table in between, for nobody.

    Args:
        changes: What a statement did.
        query: The statement.
    """
    if _GH_OST not in query.sql:
        return set()
    gone = {change.table for change in changes if change.after is None and not change.unknown}
    return {c.was for c in changes if c.was in gone and c.after and is_working_copy(c.table.table)}


def keeps_rows(change: TableChange, shapes: Shapes, query: Query) -> bool:
    """Return whether a swap left every row and value of the table as its own row events say.

    Args:
        change: The swap.
        shapes: What was known before it.
        query: The statement.
    """
    lineage, old = _own_lineage(change, shapes), shapes.get(change.table)
    if lineage is None or old is None or not lineage.keeps_rows:
        return False
    if _GH_OST not in query.sql or shapes.server.flavor != "mysql":
        return False
    # A column dropped and added in one statement: its values are copied, for the name is the same.
    return lineage.columns == _by_name(change.origins, lineage.columns, old)


def swap_origins(change: TableChange, shapes: Shapes) -> tuple[str, ...]:
    """Return per column of the copy that a swap put in a table's place its name in that table.

    Empty for a column that the table had not. Tools copy values from a column to the one of the
    same name, also where the copy's was dropped and added.

    Args:
        change: The swap.
        shapes: What was known before it.
    """
    lineage, old = _own_lineage(change, shapes), shapes.get(change.table)
    if old is None:
        return change.origins
    blank = ("",) * len(change.origins)
    return _by_name(change.origins, lineage.columns if lineage is not None else blank, old)


def _own_lineage(change: TableChange, shapes: Shapes) -> Lineage | None:
    """Return the lineage of the copy that a swap put in the place of the table it is a copy of."""
    lineage = change.before.lineage if change.before is not None else None
    if lineage is None or shapes.key(lineage.of) != shapes.key(change.table):
        return None
    return lineage


def _by_name(names: tuple[str, ...], origins: tuple[str, ...], old: TableShape) -> tuple[str, ...]:
    """Return origins, with those of columns without one by their names."""
    left = {name.lower(): name for name in old.schema.names if name not in origins}
    return tuple(
        origin or left.get(name.lower(), "") for name, origin in zip(names, origins, strict=True)
    )
