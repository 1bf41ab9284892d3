"""Changes of a target table's columns, in the few words every sink understands.

In: decisions of the engine about schema changes. Out: what `Sink.alter_table` is handed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import pyarrow as pa

from resources.model.table import Column

FILL = "fill"
"""What a sink that fills new columns has among its `Capabilities.schema_changes`."""


@dataclass(frozen=True)
class Fill:
    """A value that rows get in a column.

    Args:
        value: It, of the column's type and not NULL.
        owner: The column that says which feed a row came from; empty if every row gets it.
        feed: Whose rows get it, where there is an owner.
    """

    value: pa.Scalar
    owner: str = ""
    feed: str = ""


@dataclass(frozen=True)
class AddColumn:
    """Add a column, last; the rows there get NULL, another column's value, or a given one.

    Args:
        column: Name and type.
        copy_of: The column whose values the rows there get (a rename that keeps the old one).
        fill: What the rows there get. A column that is there already, of this type, is kept: its
            rows get the value all the same, however often. Only for sinks that can `FILL`.
    """

    kind: ClassVar[str] = "add"
    column: Column
    copy_of: str = ""
    fill: Fill | None = None


@dataclass(frozen=True)
class DropColumn:
    """Drop a column and its values."""

    kind: ClassVar[str] = "drop"
    name: str


@dataclass(frozen=True)
class RenameColumn:
    """Give a column another name; its values stay."""

    kind: ClassVar[str] = "rename"
    old: str
    new: str


@dataclass(frozen=True)
class RetypeColumn:
    """Give a column a type that holds every value of the one it has.

    Args:
        column: Its name and new type.
    """

    kind: ClassVar[str] = "retype"
    column: Column


ColumnChange: TypeAlias = AddColumn | DropColumn | RenameColumn | RetypeColumn
