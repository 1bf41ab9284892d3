"""A table's shape while a statement changes it.

In: a shape or nothing, definitions. Out: the shape after the statement, and which of its columns
was which before.
"""

from __future__ import annotations

import re
from dataclasses import replace

from resources.model.table import Column, TableId, TableSchema
from resources.mysql.binlog.charsets import BINARY
from resources.mysql.binlog.sql_tokens import ServerKind
from resources.mysql.schema_history.column_types import BLOBS, TEXTS, converted_type
from resources.mysql.schema_history.definitions import IndexDefinition
from resources.mysql.schema_history.shape import (
    PRIMARY,
    TableIndex,
    TableShape,
    count_keys,
    key_of,
    server_order,
)
from resources.mysql.schema_history.words import CannotTellError
from resources.mysql.types import ColumnFacts, Unsupported, column_from_facts

_LENGTH = re.compile(r"(?:var)?(?:char|binary)\((\d+)\)")
_LONG = frozenset({*TEXTS, *BLOBS})
_MOST_INDEXES = 64
_BOX = 8
_ASCII_UNLIKE = frozenset({"ucs2", "utf16", "utf16le", "utf32", "swe7"})
"""Character sets that do not write ASCII as ASCII does."""


class Draft:
    """Columns and indexes under change.

    Args:
        shape: The table before; None for a new one.
        charset: Character set of columns that name none.
        server: Whose table it is.

    Attributes:
        columns: The columns so far, each with its name before, empty for a new one.
        charset: Character set of columns that name none.
        comment: The table's comment.
        automatic: Its AUTO_INCREMENT column, as in `TableShape`.
    """

    def __init__(self, shape: TableShape | None, charset: str, server: ServerKind) -> None:
        self.charset = charset
        self._server, self._is_new = server, shape is None
        self.comment = shape.schema.comment if shape else ""
        self.columns: list[tuple[str, Column]] = (
            [(c.name, c) for c in shape.schema.columns] if shape else []
        )
        self._indexes: list[TableIndex] = list(shape.indexes) if shape else []
        self._foreign: set[str] = set(shape.foreign) if shape else set()
        self._lineage = shape.lineage if shape else None
        self.automatic = shape.automatic if shape else ""

    def find(self, name: str) -> int:
        """Return a column's place by its name now, in any case.

        Raises:
            CannotTellError: There is none, so the draft is not what the server had.
        """
        for index, (_, column) in enumerate(self.columns):
            if column.name.lower() == name.lower():
                return index
        raise CannotTellError(f"there is no column {name} to change")

    def has(self, name: str) -> bool:
        """Return whether there is a column of that name, in any case."""
        return any(column.name.lower() == name.lower() for _, column in self.columns)

    def insert(self, origin: str, column: Column, place: str | None) -> None:
        """Put a column in its place: None for the end, empty for the first, else after a column."""
        if place is None:
            self.columns.append((origin, column))
        else:
            at = self.find(place) + 1 if place else 0
            self.columns.insert(at, (origin, column))

    def follow_columns(self, renamed: dict[str, str], dropped: set[str]) -> None:
        """Let indexes follow columns that were renamed or dropped, by their names before."""
        followed = []
        for index in self._indexes:
            parts = tuple(
                (renamed.get(name, name) if name is not None else None, prefix)
                for name, prefix in index.parts
                if name not in dropped
            )
            if parts:
                followed.append(replace(index, parts=parts))
        self._indexes = followed

    def require_whole(self, old: Column, new: Column) -> None:
        """Refuse an indexed ENUM or SET that becomes a text: its index keeps the old length.

        Args:
            old: The column before.
            new: The column after, in its place and under its new name.
        """
        if old.labels and not new.labels:
            for index in self._indexes:
                if index.unique and new.name in (name for name, _ in index.parts):
                    raise CannotTellError(f"how much of {new.name} index {index.name} holds")

    def add_index(self, index: IndexDefinition, tolerant: bool = False) -> None:
        """Add an index or constraint.

        Args:
            index: The definition.
            tolerant: Whether an index of that name may be there already (`IF NOT EXISTS`).
        """
        if index.kind == "check":
            return
        name = index.name or index.symbol
        if index.kind == "foreign":
            first = index.parts[0][0] or ""
            self._foreign |= {n.lower() for n in (index.name, index.symbol, first) if n}
            return
        if index.kind == "primary":
            name = PRIMARY
        elif not name:
            name = self._generated_name(index, tolerant)
        if self._has_index(name):
            if tolerant:
                return
            raise CannotTellError(f"there is an index {name} already")
        parts = tuple(
            (None if column is None else self.columns[self.find(column)][1].name, prefix)
            for column, prefix in index.parts
        )
        self._indexes.append(TableIndex(name, parts, index.kind != "other"))

    def _generated_name(self, index: IndexDefinition, tolerant: bool) -> str:
        base = index.parts[0][0]
        base = "functional_index" if base is None else self.columns[self.find(base)][1].name
        if tolerant:
            return base
        names = [base, *(f"{base}_{n}" for n in range(2, 100))]
        for name in names[base.upper() == PRIMARY :]:
            if name.lower() in self._foreign:
                raise CannotTellError(f"the name of an index on {base} cannot be told")
            if not self._has_index(name):
                return name
        raise CannotTellError(f"too many indexes on {base}")

    def _has_index(self, name: str) -> bool:
        return any(i.name.lower() == name.lower() for i in self._indexes)

    def drop_index(self, name: str, tolerant: bool = False) -> None:
        """Drop an index by name; one that a foreign key made may not be known."""
        lowered = name.lower()
        if not (self._has_index(name) or tolerant or lowered in self._foreign):
            raise CannotTellError(f"there is no index {name} to drop")
        self._indexes = [i for i in self._indexes if i.name.lower() != lowered]
        self._foreign.discard(lowered)

    def drop_constraint(self, name: str) -> None:
        """Drop a constraint of any kind, which is an index only if one has that name."""
        if self._has_index(name):
            self.drop_index(name)

    def rename_index(self, old: str, new: str) -> None:
        """Give an index another name."""
        lowered = old.lower()
        if lowered in self._foreign:
            self._foreign = self._foreign - {lowered} | {new.lower()}
        elif not self._has_index(old):
            raise CannotTellError(f"there is no index {old} to rename")
        self._indexes = [
            replace(i, name=new) if i.name.lower() == lowered else i for i in self._indexes
        ]

    def convert(self, charset: str, changed: set[str]) -> None:
        """Convert text columns to a character set, all but those a statement redefines."""
        for at, (origin, column) in enumerate(self.columns):
            if column.charset and origin not in changed:
                self.columns[at] = origin, self._converted(column, charset)

    def _converted(self, column: Column, charset: str) -> Column:
        ascii_alike = _ASCII_UNLIKE.isdisjoint({column.charset, charset})
        if column.labels and not (ascii_alike and "".join(column.labels).isascii()):
            # Measured: MySQL and MariaDB reinterpret the bytes of labels instead of converting.
            raise CannotTellError(f"what becomes of the labels of {column.name}")
        # MySQL's catalog hides the character set of labels that are bytes.
        hidden = charset == BINARY and self._server.flavor == "mysql" and column.labels
        facts = ColumnFacts(
            name=column.name,
            column_type=converted_type(column.source_type, column.charset, charset),
            precision=None,
            scale=None,
            charset="" if hidden else charset,
            nullable=column.nullable,
            extra="INVISIBLE" if column.invisible else "",
            comment=column.comment,
        )
        built = column_from_facts(facts)
        if isinstance(built, Unsupported):
            raise CannotTellError(f"column {built.column}: {built.reason}")
        return replace(built, generated=column.generated)

    def finish(self, table: TableId) -> tuple[TableShape, tuple[str, ...]]:
        """Return the shape, and per column its name before, empty for a new one.

        Raises:
            CannotTellError: It has no columns or two of one name, which no table has.
        """
        primary = {name for i in self._indexes if i.name == PRIMARY for name, _ in i.parts}
        columns = tuple(
            replace(c, nullable=False) if c.name in primary else c for _, c in self.columns
        )
        if not columns or len({c.name.lower() for c in columns}) < len(columns):
            raise CannotTellError("the columns cannot be those of a table")
        if len(self._indexes) > _MOST_INDEXES:
            raise CannotTellError("more indexes than a table may have")
        whole = {c.name: c for c in columns}
        whole_parts = (_whole_columns(index, whole) for index in self._indexes)
        defined = (column for _, column in self.columns)
        indexes = server_order(whole_parts, defined, self._server)
        # Not every ALTER makes MariaDB sort its indexes anew.
        sure = self._is_new or self._server.flavor == "mysql" or count_keys(indexes, columns) < 2
        if not sure:
            raise CannotTellError("which of several unique keys identifies a row")
        schema = TableSchema(table, columns, key_of(indexes, columns), self.comment)
        foreign = frozenset(self._foreign)
        shape = TableShape(schema, self.charset, indexes, foreign, self._lineage, self.automatic)
        return shape, tuple(origin for origin, _ in self.columns)


def _whole_columns(index: TableIndex, columns: dict[str, Column]) -> TableIndex:
    """Return an index whose prefixes are only those shorter than the column, and that matter."""
    if not index.unique:
        return replace(index, parts=tuple((name, None) for name, _ in index.parts))
    parts = ((n, None if n is None else _prefix(columns[n], prefix)) for n, prefix in index.parts)
    return replace(index, parts=tuple(parts))


def _prefix(column: Column, prefix: int | None) -> int | None:
    """Return how much of a column an index holds, None for all of it."""
    if column.kind == "geometry":
        return prefix or _BOX  # never the whole of one
    if prefix is None:
        return None
    words = column.source_type
    length = _LENGTH.match(words)
    shorter = prefix < int(length[1]) if length else words.partition("(")[0] in _LONG
    return prefix if shorter else None
