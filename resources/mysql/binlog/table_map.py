"""TABLE_MAP: the shape of a table as it was when its rows were logged.

In: the event's body. Out: columns with wire type, length facts and, where the server writes
`binlog_row_metadata=FULL`, names, signs, collations, labels and the primary key.
Source: mysql-server libs/mysql/binlog/event/rows_event.h, `Table_map_event`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from resources.model.table import TableId
from resources.mysql.binlog.cursor import Cursor, Truncated
from resources.mysql.binlog.gtid import Flavor
from resources.mysql.binlog.wire_types import (
    CHARACTER_TYPES,
    MARIADB_CHARACTER_TYPES,
    NUMERIC_TYPES,
    WireType,
)

(
    _SIGNEDNESS, _DEFAULT_CHARSET, _COLUMN_CHARSET, _COLUMN_NAME, _SET_LABELS, _ENUM_LABELS,
    _GEOMETRY_TYPE, _PRIMARY_KEY, _PREFIX_KEY, _LABEL_DEFAULT_CHARSET, _LABEL_CHARSET,
    _VISIBILITY, _VECTOR_DIMENSIONS,
) = range(1, 14)  # fmt: skip
_MOST_COLUMNS = 4096
_LABELED = frozenset({WireType.ENUM, WireType.SET})


@dataclass(frozen=True, slots=True)
class WireColumn:
    """One column of a table map.

    Args:
        type: Wire type, ENUM and SET resolved.
        meta: Its length fact: bytes of a string, bytes of a BLOB's length, digits of a fraction,
            `precision << 8 | scale`, bits of a BIT, bytes of an ENUM or SET.
        nullable: Whether it may be NULL.
        name: Empty without full metadata.
        unsigned: Whether a numeric column is unsigned.
        collation: Collation number of text, ENUM and SET columns; None if unknown.
        labels: Labels of ENUM and SET as bytes in the column's character set.
        visible: Whether `SELECT *` shows it.
        dimensions: Of a VECTOR column.
    """

    type: int
    meta: int
    nullable: bool
    name: str = ""
    unsigned: bool = False
    collation: int | None = None
    labels: tuple[bytes, ...] = ()
    visible: bool = True
    dimensions: int = 0


@dataclass(frozen=True, slots=True)
class TableMap:
    """A table map.

    Args:
        number: The number row events refer to it by, within their transaction.
        table: The table.
        columns: Its columns in order.
        key: Indexes of the primary key's columns; without one, those of the first unique key
            without NULLs, which servers treat as primary; empty if there is none.
        named: Whether the event names its columns (`binlog_row_metadata=FULL`).
        signed: Whether it tells which numbers are unsigned (`MINIMAL` does, `NO_LOG` does not).
    """

    number: int
    table: TableId
    columns: tuple[WireColumn, ...]
    key: tuple[int, ...]
    named: bool
    signed: bool = False


def table_number(body: bytes) -> int:
    """Return the number of a TABLE_MAP or row event."""
    return Cursor(body).uint(6)


def table_name(body: bytes) -> TableId:
    """Return only whose map it is, so that unwanted tables cost nothing more."""
    cursor = Cursor(body)
    cursor.take(8)
    return _name(cursor)


def parse_table_map(body: bytes, flavor: Flavor) -> TableMap:
    """Read a TABLE_MAP.

    Args:
        body: The event's body.
        flavor: Whose event it is; they count different columns as text.

    Raises:
        Truncated: The bytes are no table map.
    """
    cursor = Cursor(body)
    number = cursor.uint(6)
    cursor.take(2)
    table = _name(cursor)
    count = cursor.packed()
    if not 1 <= count <= _MOST_COLUMNS:
        raise Truncated(f"no table has {count} columns")
    types = cursor.take(count)
    meta = Cursor(cursor.packed_bytes())
    wire = [_checked(*_wire_type(code, meta)) for code in types]
    nulls = int.from_bytes(cursor.take((count + 7) // 8), "little")
    columns = [WireColumn(t, m, bool(nulls >> i & 1)) for i, (t, m) in enumerate(wire)]
    text = MARIADB_CHARACTER_TYPES if flavor == "mariadb" else CHARACTER_TYPES
    details = _Details(columns, text)
    while cursor.left:
        kind = cursor.uint(1)
        details.read(kind, Cursor(cursor.packed_bytes()))
    return TableMap(
        number, table, tuple(details.columns), details.key, details.named, details.signed
    )


def _name(cursor: Cursor) -> TableId:
    database = cursor.take(cursor.uint(1)).decode("utf-8", "replace")
    cursor.take(1)
    table = cursor.take(cursor.uint(1)).decode("utf-8", "replace")
    cursor.take(1)
    return TableId(database, table)


def _wire_type(code: int, meta: Cursor) -> tuple[int, int]:
    """Read a column's length facts, which differ in size and byte order by type."""
    if code in (WireType.STRING, WireType.ENUM, WireType.SET):
        real, low = meta.uint(1), meta.uint(1)
        if real in _LABELED:
            return real, low
        # CHAR wider than 255 bytes: two more bits of its length hide, inverted, in the type.
        return WireType.STRING, low | ((real & 0x30) ^ 0x30) << 4
    if code == WireType.NEWDECIMAL:
        precision, scale = meta.uint(1), meta.uint(1)
        return code, precision << 8 | scale
    if code == WireType.BIT:
        bits, whole = meta.uint(1), meta.uint(1)
        return code, whole * 8 + bits
    if code in (WireType.VARCHAR, WireType.VAR_STRING):
        return code, meta.uint(2)
    if code in _ONE_BYTE:
        return code, meta.uint(1)
    return code, 0


def _checked(kind: int, meta: int) -> tuple[int, int]:
    """Refuse length facts no server writes, before a decoder is built on them."""
    if kind == WireType.NEWDECIMAL:
        precision, scale = meta >> 8, meta & 0xFF
        valid = 1 <= precision <= 65 and scale <= min(30, precision)
    else:
        valid = meta in _VALID.get(kind, range(1 << 16))
    if not valid:
        raise Truncated(f"wire type {kind} cannot have the length fact {meta}")
    return kind, meta


_VALID: dict[int, range] = {
    WireType.BIT: range(1, 65),
    WireType.ENUM: range(1, 3),
    WireType.SET: range(1, 9),
    **dict.fromkeys((WireType.TIME2, WireType.DATETIME2, WireType.TIMESTAMP2), range(7)),
    **dict.fromkeys(
        (WireType.BLOB, WireType.JSON, WireType.GEOMETRY, WireType.VECTOR), range(1, 5)
    ),
}
_ONE_BYTE = frozenset(
    {
        WireType.FLOAT,
        WireType.DOUBLE,
        WireType.BLOB,
        WireType.TINY_BLOB,
        WireType.MEDIUM_BLOB,
        WireType.LONG_BLOB,
        WireType.JSON,
        WireType.GEOMETRY,
        WireType.VECTOR,
        WireType.TIMESTAMP2,
        WireType.DATETIME2,
        WireType.TIME2,
    }
)


class _Details:
    """Optional metadata, laid over the columns as it is read."""

    def __init__(self, columns: list[WireColumn], text_types: frozenset[WireType]) -> None:
        self.columns = columns
        self._text_types = text_types
        self.key: tuple[int, ...] = ()
        self.named = self.signed = False

    def read(self, kind: int, cursor: Cursor) -> None:
        """Lay one field over the columns; fields of no use here, or unknown, are left."""
        if kind == _SIGNEDNESS:
            self._signs(cursor)
            self.signed = True
        elif kind in (_DEFAULT_CHARSET, _LABEL_DEFAULT_CHARSET):
            self._default_charset(self._subset(kind == _LABEL_DEFAULT_CHARSET), cursor)
        elif kind in (_COLUMN_CHARSET, _LABEL_CHARSET):
            for index in self._subset(kind == _LABEL_CHARSET):
                self._set(index, collation=cursor.packed())
        elif kind == _COLUMN_NAME:
            self._names(cursor)
        elif kind in (_SET_LABELS, _ENUM_LABELS):
            wanted = WireType.SET if kind == _SET_LABELS else WireType.ENUM
            for index in self._of(lambda c: c.type == wanted):
                labels = tuple(cursor.packed_bytes() for _ in range(_sane(cursor)))
                self._set(index, labels=labels)
        else:
            self._keys_and_flags(kind, cursor)

    def _keys_and_flags(self, kind: int, cursor: Cursor) -> None:
        if kind in (_PRIMARY_KEY, _PREFIX_KEY):
            key: list[int] = []
            while cursor.left:
                key.append(cursor.packed())
                if kind == _PREFIX_KEY:
                    cursor.packed()
            if any(index >= len(self.columns) for index in key):
                raise Truncated("a key column that the table does not have")
            self.key = tuple(key)
        elif kind == _VISIBILITY:
            bits = cursor.rest()
            for index in range(min(len(self.columns), len(bits) * 8)):
                self._set(index, visible=bool(bits[index >> 3] & 0x80 >> (index & 7)))
        elif kind == _VECTOR_DIMENSIONS:
            for index in self._of(lambda c: c.type == WireType.VECTOR):
                self._set(index, dimensions=cursor.packed())

    def _names(self, cursor: Cursor) -> None:
        names = [cursor.packed_bytes().decode("utf-8", "replace") for _ in self.columns]
        if len(set(names)) < len(names) or "" in names:
            raise Truncated("columns without names of their own")
        for index, name in enumerate(names):
            self._set(index, name=name)
        self.named = True

    def _signs(self, cursor: Cursor) -> None:
        bits = cursor.rest()
        for order, index in enumerate(self._of(lambda c: c.type in NUMERIC_TYPES)):
            if order >> 3 >= len(bits):
                raise Truncated("signs are missing")
            self._set(index, unsigned=bool(bits[order >> 3] & 0x80 >> (order & 7)))

    def _default_charset(self, subset: list[int], cursor: Cursor) -> None:
        default = cursor.packed()
        for index in subset:
            self._set(index, collation=default)
        while cursor.left:
            order, collation = cursor.packed(), cursor.packed()
            if order >= len(subset):
                raise Truncated("a character set for a column that is not there")
            self._set(subset[order], collation=collation)

    def _subset(self, labeled: bool) -> list[int]:
        kinds = _LABELED if labeled else self._text_types
        return self._of(lambda c: c.type in kinds)

    def _of(self, wanted: Callable[[WireColumn], bool]) -> list[int]:
        return [i for i, c in enumerate(self.columns) if wanted(c)]

    def _set(self, index: int, **facts: object) -> None:
        self.columns[index] = replace(self.columns[index], **facts)  # type: ignore[arg-type]


def _sane(cursor: Cursor) -> int:
    count = cursor.packed()
    if count > cursor.left:
        raise Truncated(f"{count} labels announced, {cursor.left} bytes left")
    return count
