"""A table as a MySQL-family server has it: its columns and its indexes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LiveColumn:
    """A column that is there.

    Args:
        name: Its name.
        type: Its type as the catalog spells it, without display widths.
        collation: Of a text, empty else.
        generated: Whether the server computes it.
    """

    name: str
    type: str
    collation: str = ""
    generated: bool = False


@dataclass(frozen=True)
class Indexes:
    """Indexes of a table.

    Args:
        key: Columns of its primary key.
        unique: Whether it has another unique index.
        plain: Whether it has any other index.
    """

    key: frozenset[str]
    unique: bool
    plain: bool


Columns = tuple[LiveColumn, ...]
