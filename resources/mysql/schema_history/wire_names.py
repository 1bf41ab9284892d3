"""A table map without names, and the schema that must be its: laid over each other and compared.

In: a table map as `binlog_row_metadata=MINIMAL` leaves it, a schema from history. Out: the map as
`FULL` would have given it, or in words why the schema cannot be its.
"""

from __future__ import annotations

import re
from dataclasses import replace

from resources.model.table import Column, TableSchema
from resources.mysql.binlog.charsets import BINARY, charset_of_collation
from resources.mysql.binlog.table_map import TableMap, WireColumn
from resources.mysql.binlog.wire_types import NUMERIC_TYPES, WireType
from resources.mysql.schema_history.character_sets import character_bytes
from resources.mysql.schema_history.column_types import BLOBS, TEXTS

_PLAIN: dict[str, tuple[WireType, int]] = {
    "tinyint": (WireType.TINY, 0),
    "smallint": (WireType.SHORT, 0),
    "mediumint": (WireType.INT24, 0),
    "int": (WireType.LONG, 0),
    "bigint": (WireType.LONGLONG, 0),
    "float": (WireType.FLOAT, 4),
    "double": (WireType.DOUBLE, 8),
    "year": (WireType.YEAR, 0),
    "date": (WireType.DATE, 0),
    "json": (WireType.JSON, 4),
    "vector": (WireType.VECTOR, 4),
    "uuid": (WireType.STRING, 16),
    "inet6": (WireType.STRING, 16),
    "inet4": (WireType.STRING, 4),
    **{name: (WireType.BLOB, size + 1) for size, name in enumerate(TEXTS)},
    **{name: (WireType.BLOB, size + 1) for size, name in enumerate(BLOBS)},
}
_FRACTIONAL = {
    "time": WireType.TIME2,
    "datetime": WireType.DATETIME2,
    "timestamp": WireType.TIMESTAMP2,
}
_STRINGS = {
    "char": WireType.STRING,
    "binary": WireType.STRING,
    "varchar": WireType.VARCHAR,
    "varbinary": WireType.VARCHAR,
}
_TYPE = re.compile(r"(\w+)(?:\((\d+)(?:,(\d+))?\))?")
_COLLATIONS = {charset_of_collation(number): number for number in range(256)}
"""A collation of each character set; which one it is changes no value."""
_UTF8 = _COLLATIONS["utf8mb4"]
_MOST_WORDS = 400


class ShapesDifferError(Exception):
    """A table map and a schema are not of the same table; the text shows both."""


def name_columns(table_map: TableMap, schema: TableSchema, hidden: int = 0) -> TableMap:
    """Return a table map with a schema's names, signs, character sets, labels and key.

    Count, types, lengths, NULLs and, where the map has them, signs and character sets are
    compared column by column. Labels are given in UTF-8, whatever the column's character set.

    Args:
        table_map: Without names.
        schema: What its table should look like.
        hidden: Columns of hashes the server has behind those of the schema.

    Raises:
        ShapesDifferError: They cannot belong together.
    """
    shown = table_map.columns[: len(table_map.columns) - hidden]
    hashes = table_map.columns[len(shown) :]
    if len(shown) != len(schema.columns) or any(c.type != WireType.LONGLONG for c in hashes):
        raise _differ(table_map, schema, "another number of columns")
    columns = []
    for wire, column in zip(shown, schema.columns, strict=True):
        fault = _fault(wire, column, table_map)
        if fault:
            raise _differ(table_map, schema, f"column {column.name} {fault}")
        columns.append(_named(wire, column))
    columns += [replace(wire, name=f"DB_ROW_HASH_{n}") for n, wire in enumerate(hashes, 1)]
    names = schema.names
    key = tuple(names.index(name) for name in schema.key)
    return replace(table_map, columns=tuple(columns), key=key, named=True)


def _fault(wire: WireColumn, column: Column, table_map: TableMap) -> str:
    """Return why a column cannot be the one of the map, empty if it can."""
    if (wire.type, wire.meta) != _wire_type(column):
        return "has another type or length"
    if wire.nullable != column.nullable:
        return "differs about NULL"
    if table_map.signed and wire.type in NUMERIC_TYPES and wire.unsigned != _unsigned(column):
        return "has another sign"
    if wire.collation is not None and column.kind == "plain":
        expected = column.charset or BINARY
        if charset_of_collation(wire.collation) != expected:
            return "has another character set"
    return ""


def _wire_type(column: Column) -> tuple[int, int] | None:
    """Return the wire type and length fact of a column, None if they cannot be told."""
    words = column.source_type.lower()
    match = _TYPE.match(words)
    name = match[1] if match else words
    size, scale = (int(match[2] or 0), int(match[3] or 0)) if match else (0, 0)
    if name in _PLAIN:
        return _PLAIN[name]
    if name in _FRACTIONAL:
        return _FRACTIONAL[name], size
    if name in _STRINGS:
        return _STRINGS[name], size * character_bytes(column.charset)
    if name == "decimal":
        return WireType.NEWDECIMAL, size << 8 | scale
    if name == "bit":
        return WireType.BIT, size
    if column.kind == "enum":
        return WireType.ENUM, 1 if len(column.labels) < 256 else 2
    if column.kind == "set":
        width = (len(column.labels) + 7) // 8
        return WireType.SET, width if width <= 4 else 8
    if column.kind == "geometry":
        return WireType.GEOMETRY, 4
    return None


def _unsigned(column: Column) -> bool:
    return "unsigned" in column.source_type.lower() or column.kind == "year"


def _named(wire: WireColumn, column: Column) -> WireColumn:
    collation = wire.collation
    if column.labels:
        collation = _UTF8
    elif collation is None:
        collation = _COLLATIONS[column.charset or BINARY]
    return replace(
        wire,
        name=column.name,
        unsigned=_unsigned(column),
        collation=collation,
        labels=tuple(label.encode() for label in column.labels),
        visible=not column.invisible,
    )


def _differ(table_map: TableMap, schema: TableSchema, what: str) -> ShapesDifferError:
    return ShapesDifferError(
        f"{what}: by its history it is ({schema_words(schema)}), the log has "
        f"({_map_words(table_map)})"
    )


def schema_words(schema: TableSchema) -> str:
    """Return a schema in words: names and types in order, cut where they are many."""
    return _cut([f"{c.name} {c.source_type or c.type}" for c in schema.columns])


def _map_words(table_map: TableMap) -> str:
    words = []
    for wire in table_map.columns:
        name = next((kind.name.lower() for kind in WireType if kind == wire.type), str(wire.type))
        words.append(f"{name}({wire.meta})" if wire.meta else name)
    return _cut(words)


def _cut(words: list[str]) -> str:
    text = ", ".join(words)
    if len(text) <= _MOST_WORDS:
        return text
    return f"{text[:_MOST_WORDS]}… of {len(words)} columns"
