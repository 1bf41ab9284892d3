"""What a statement did to a table's shape, in the words a target can follow.

In: two shapes, and which column of the second was which of the first. Out: typed changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from resources.model.change import Fills
from resources.model.table import Column, TableId
from resources.mysql.schema_history.shape import TableShape


@dataclass(frozen=True)
class ColumnAdded:
    """A column is new.

    Args:
        column: It.
        after: Name of the column before it, empty if it is the first.
    """

    column: Column
    after: str


@dataclass(frozen=True)
class ColumnDropped:
    """A column is gone."""

    column: Column


@dataclass(frozen=True)
class ColumnRenamed:
    """A column has another name; its values are the same ones."""

    old: str
    new: str


@dataclass(frozen=True)
class ColumnRetyped:
    """A column's definition changed: its type, labels, character set, NULLs or comment.

    Args:
        old: Before, under its old name.
        new: After, under its new name.
    """

    old: Column
    new: Column


@dataclass(frozen=True)
class ColumnsReordered:
    """The columns that stayed stand in another order."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class KeyChanged:
    """Rows are identified by other columns.

    Args:
        old: Before, by the columns' old names.
        new: After, by their new names.
    """

    old: tuple[str, ...]
    new: tuple[str, ...]


@dataclass(frozen=True)
class TableRenamed:
    """The table has another name."""

    old: TableId
    new: TableId


Change: TypeAlias = (
    ColumnAdded
    | ColumnDropped
    | ColumnRenamed
    | ColumnRetyped
    | ColumnsReordered
    | KeyChanged
    | TableRenamed
)


@dataclass(frozen=True)
class TableChange:
    """What a statement did to one table.

    Args:
        table: Its name afterwards, or the one it had if it is gone.
        before: Its shape before; None if it was not there or not known.
        after: Its shape afterwards; None if it is gone or cannot be told.
        was: The name it had before; None for a new table.
        origins: Per column of the shape afterwards its name before, empty for a new one.
        changes: What changed from one to the other, where both are known.
        unknown: Why the shape afterwards cannot be told; empty if it can.
        redefined: Columns with new definitions, be they other ones or not, by their names before.
        like: The table that a new one was made like (`CREATE TABLE … LIKE`).
        fills: What the rows there have in new columns, but for NULL; None if it cannot be told.
    """

    table: TableId
    before: TableShape | None
    after: TableShape | None
    was: TableId | None = None
    origins: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    redefined: frozenset[str] = frozenset()
    unknown: str = ""
    like: TableId | None = None
    fills: Fills | None = None


def table_change(
    before: TableShape, after: TableShape, origins: Sequence[str] | None = None
) -> TableChange:
    """Return what leads from one known shape to another; arguments as `list_changes`."""
    if origins is None:
        origins = before.schema.names
    changes = list_changes(before, after, origins)
    return TableChange(after.table, before, after, before.table, tuple(origins), changes)


def list_changes(
    before: TableShape, after: TableShape, origins: Sequence[str]
) -> tuple[Change, ...]:
    """Return the changes from one shape to another.

    Args:
        before: The first.
        after: The second.
        origins: Per column of the second its name in the first, empty for a new one.
    """
    old = {c.name: c for c in before.schema.columns}
    out: list[Change] = []
    if before.table != after.table:
        out.append(TableRenamed(before.table, after.table))
    out += [ColumnDropped(c) for name, c in old.items() if name not in origins]
    last = ""
    for column, origin in zip(after.schema.columns, origins, strict=True):
        if not origin:
            out.append(ColumnAdded(column, last))
        else:
            out += _column_changes(old[origin], column)
        last = column.name
    stayed = [name for name in old if name in origins]
    if stayed != [name for name in origins if name]:
        out.append(ColumnsReordered(after.schema.names))
    renamed = dict(zip(origins, after.schema.names, strict=True))
    if tuple(renamed.get(name) for name in before.schema.key) != after.schema.key:
        out.append(KeyChanged(before.schema.key, after.schema.key))
    return tuple(out)


def _column_changes(old: Column, new: Column) -> list[Change]:
    out: list[Change] = []
    if old.name != new.name:
        out.append(ColumnRenamed(old.name, new.name))
    if _definition(old) != _definition(new):
        out.append(ColumnRetyped(old, new))
    return out


def _definition(column: Column) -> tuple[object, ...]:
    return (
        column.type,
        column.source_type,
        column.nullable,
        column.kind,
        column.labels,
        column.charset,
        column.generated,
        column.invisible,
        column.comment,
    )
