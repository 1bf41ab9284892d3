"""A table's shape: its schema, and what else a statement's effect on the schema depends on.

In: the catalog, or the statement that made the table. Out: immutable values that round-trip
through JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from resources.model.table import Column, TableId, TableSchema, schema_from_json
from resources.mysql.binlog.sql_tokens import ServerKind
from resources.mysql.catalog import choose_key
from resources.mysql.schema_history.character_sets import character_bytes

PRIMARY = "PRIMARY"
_LONGEST_INDEX = 3072
_LENGTH = re.compile(r"(?:var)?(?:char|binary)\((\d+)\)")


@dataclass(frozen=True)
class TableIndex:
    """An index of a table.

    Args:
        name: Its name; `PRIMARY` is the primary key.
        parts: Per part the column (None for an expression) and the prefix length in characters,
            None for the whole column and in an index that is not unique.
        unique: Whether it admits no two equal rows.
    """

    name: str
    parts: tuple[tuple[str | None, int | None], ...]
    unique: bool = True


@dataclass(frozen=True)
class Lineage:
    """Where a copy that a schema change tool fills has its columns from.

    Args:
        of: The table it is a copy of.
        columns: Per column of the copy its name in that table, empty for a column added.
        keeps_rows: Whether no statement so far can have given the copy other rows or values than
            that table has.
    """

    of: TableId
    columns: tuple[str, ...]
    keeps_rows: bool = True


@dataclass(frozen=True)
class TableShape:
    """A table's shape.

    Args:
        schema: Its schema, equal to the one the catalog gives.
        charset: Character set of columns that name none.
        indexes: Its indexes, the unique ones first and in the order the server keeps them.
        foreign: Names an index may have that a foreign key made by itself.
        lineage: For the copy of a schema change tool.
        automatic: Its AUTO_INCREMENT column, empty if it has none, None if that is not known.
    """

    schema: TableSchema
    charset: str
    indexes: tuple[TableIndex, ...] = ()
    foreign: frozenset[str] = frozenset()
    lineage: Lineage | None = None
    automatic: str | None = None

    @property
    def table(self) -> TableId:
        """Whose shape it is."""
        return self.schema.table

    def named(self, table: TableId) -> TableShape:
        """Return it under another name."""
        return replace(self, schema=replace(self.schema, table=table))

    def to_json(self) -> dict[str, Any]:
        """Return a JSON value that `shape_from_json` reads back to an equal shape."""
        lineage = self.lineage
        return {
            "schema": self.schema.to_json(),
            "charset": self.charset,
            "indexes": [[i.name, [list(p) for p in i.parts], i.unique] for i in self.indexes],
            "foreign": sorted(self.foreign),
            "lineage": lineage
            and [lineage.of.database, lineage.of.table, list(lineage.columns), lineage.keeps_rows],
            "automatic": self.automatic,
        }


def shape_from_json(value: dict[str, Any]) -> TableShape:
    """Read what `TableShape.to_json` wrote."""
    lineage = value["lineage"]
    return TableShape(
        schema=schema_from_json(value["schema"]),
        charset=value["charset"],
        indexes=tuple(
            TableIndex(name, tuple((column, prefix) for column, prefix in parts), unique)
            for name, parts, unique in value["indexes"]
        ),
        foreign=frozenset(value["foreign"]),
        lineage=lineage and Lineage(TableId(lineage[0], lineage[1]), tuple(lineage[2]), lineage[3]),
        automatic=value.get("automatic"),  # records of versions before this one lack it
    )


def server_order(
    indexes: Iterable[TableIndex], columns: Iterable[Column], server: ServerKind
) -> tuple[TableIndex, ...]:
    """Return indexes in the order in which the server keeps the unique ones, and logs the first.

    Args:
        indexes: In the order of their definition.
        columns: The table's, as they are defined: a primary key makes its columns NOT NULL, but
            only for indexes defined after it.
        server: Whose order.

    Source: mysql-server and MariaDB, `sort_keys` in sql/sql_table.cc.
    """
    known = {c.name: c for c in columns}
    ranked: list[tuple[tuple[bool, ...], TableIndex]] = []
    for index in indexes:
        if index.name == PRIMARY:
            known |= {n: replace(known[n], nullable=False) for n, _ in index.parts if n is not None}
        parts = [(known[name], prefix) for name, prefix in index.parts if name is not None]
        nulls = len(parts) < len(index.parts) or any(c.nullable for c, _ in parts)
        hashed = _is_hashed(parts, server)  # those come behind all others
        computed = server.flavor == "mysql" and any(c.generated for c, _ in parts)
        prefixed = any(prefix is not None for _, prefix in parts)
        rank = (not index.unique, hashed, nulls, index.name != PRIMARY, computed, prefixed)
        ranked.append((rank, index))
    return tuple(index for _, index in sorted(ranked, key=lambda pair: pair[0]))


def _is_hashed(parts: Iterable[tuple[Column, int | None]], server: ServerKind) -> bool:
    """Return whether MariaDB keeps a unique index of these columns by a hash."""
    return server.flavor == "mariadb" and sum(map(_index_bytes, parts)) > _LONGEST_INDEX


def count_hashes(shape: TableShape, server: ServerKind) -> int:
    """Return how many columns of hashes the log has behind those of a table."""
    known = {c.name: c for c in shape.schema.columns}
    unique = [
        [(known[name], prefix) for name, prefix in index.parts if name is not None]
        for index in shape.indexes
        if index.unique
    ]
    return sum(_is_hashed(parts, server) for parts in unique)


def _index_bytes(part: tuple[Column, int | None]) -> int:
    """Return the bytes of a column in an index, as far as that makes it a long one or not."""
    column, prefix = part
    width = character_bytes(column.charset)
    if prefix is not None:
        return prefix * width
    if column.source_type.endswith(("text", "blob")) or column.kind == "geometry":
        return _LONGEST_INDEX + 1
    length = _LENGTH.match(column.source_type)
    return int(length[1]) * width if length else 8


def key_of(indexes: Iterable[TableIndex], columns: Iterable[Column]) -> tuple[str, ...]:
    """Return the columns that identify a row, as the catalog chooses them."""
    nullable = {c.name: c.nullable for c in columns}
    return choose_key(nullable, {i.name: list(i.parts) for i in indexes if i.unique})


def count_keys(indexes: Iterable[TableIndex], columns: Iterable[Column]) -> int:
    """Return how many unique indexes could be the one that identifies a row; 1 if primary."""
    unique = [i for i in indexes if i.unique]
    if any(i.name == PRIMARY for i in unique):
        return 1
    return sum(bool(key_of([index], columns)) for index in unique)
