"""Changes of a target table's columns, in the few words every sink understands.

In: decisions of the engine about schema changes. Out: what `Sink.alter_table` is handed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from resources.model.table import Column


@dataclass(frozen=True)
class AddColumn:
    """Add a column, last; the rows there get NULL, or another column's value.

    Args:
        column: Name and type.
        copy_of: The column whose values the rows there get (a rename that keeps the old one).
    """

    kind: ClassVar[str] = "add"
    column: Column
    copy_of: str = ""


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
