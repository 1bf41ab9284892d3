"""Tables and their schemas: what a source says a table is, in Arrow types.

In: facts from a catalog or from a table-map event. Out: immutable values every room shares.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pyarrow as pa

from resources.model.table_id import TableId as TableId


@dataclass(frozen=True)
class Column:
    """One column.

    Args:
        name: As the server spells it.
        type: Arrow type by the table in docs/types.md (exact or refused).
        source_type: The server's own words, e.g. `decimal(10,2) unsigned`.
        nullable: Whether the source allows NULL.
        kind: The source's type family where Arrow's type alone does not tell it: one of
            `plain json enum set bit year geometry vector uuid inet`.
        labels: ENUM and SET labels in index order.
        charset: Character set of text columns, in the server's words (`latin1`, `utf8mb4`).
        generated: A generated column (its values are read like any other's).
        invisible: Not in `SELECT *`, but in row events.
        comment: The source's comment.
    """

    name: str
    type: pa.DataType
    source_type: str = ""
    nullable: bool = True
    kind: str = "plain"
    labels: tuple[str, ...] = ()
    charset: str = ""
    generated: bool = False
    invisible: bool = False
    comment: str = ""

    def field(self) -> pa.Field:
        """Return the Arrow field, source type and kind kept in its metadata."""
        meta = {"cdc.type": self.source_type, "cdc.kind": self.kind}
        return pa.field(self.name, self.type, self.nullable, metadata=meta)


@dataclass(frozen=True)
class TableSchema:
    """One version of one table's shape.

    Args:
        table: Whose shape it is.
        columns: In the server's order, invisible and generated ones included.
        key: Names of the columns that identify a row: the primary key, else a unique key
            without NULLs, else empty.
        comment: The source's comment.
        partial: Whether columns that nothing needed were left out of what is stored.
    """

    table: TableId
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    comment: str = ""
    partial: bool = False

    def arrow(self) -> pa.Schema:
        """Return the Arrow schema of the table's own columns."""
        return self._arrow

    @cached_property
    def _arrow(self) -> pa.Schema:
        return pa.schema([c.field() for c in self.columns])

    def column(self, name: str) -> Column:
        """Return a column by name.

        Raises:
            KeyError: There is none of that name.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in order."""
        return tuple(c.name for c in self.columns)

    def fingerprint(self) -> str:
        """Return 16 hex digits that differ when names, types, order, key or `partial` differ.

        Comments, nullability and source wording do not count: they change no value.
        """
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        shape = [[c.name, str(c.type), c.kind] for c in self.columns]
        what: list[Any] = [str(self.table), shape, list(self.key)]
        text = json.dumps(what + ["partial"] * self.partial, ensure_ascii=False)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def with_key(self, key: tuple[str, ...]) -> TableSchema:
        """Return a copy with another key."""
        return replace(self, key=key)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON value that `schema_from_json` reads back to an equal schema."""
        arrow = self.arrow().serialize().to_pybytes().hex()
        columns = [
            {
                "name": c.name,
                "source_type": c.source_type,
                "kind": c.kind,
                "labels": list(c.labels),
                "charset": c.charset,
                "generated": c.generated,
                "invisible": c.invisible,
                "comment": c.comment,
            }
            for c in self.columns
        ]
        return {
            "database": self.table.database,
            "table": self.table.table,
            "key": list(self.key),
            "comment": self.comment,
            "columns": columns,
            "arrow": arrow,
            **({"partial": True} if self.partial else {}),
        }


def schema_from_json(value: dict[str, Any]) -> TableSchema:
    """Read what `TableSchema.to_json` wrote."""
    arrow = pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(value["arrow"])))
    columns = tuple(
        Column(
            name=c["name"],
            type=f.type,
            nullable=f.nullable,
            source_type=c["source_type"],
            kind=c["kind"],
            labels=tuple(c["labels"]),
            charset=c["charset"],
            generated=c["generated"],
            invisible=c["invisible"],
            comment=c["comment"],
        )
        for c, f in zip(value["columns"], arrow, strict=True)
    )
    table = TableId(value["database"], value["table"])
    partial = value.get("partial", False)
    return TableSchema(table, columns, tuple(value["key"]), value["comment"], partial)
