"""From a table map to the schema of the table at that place in the log, and its converters.

In: a table map with full metadata, what the catalog knows now. Out: a `TableSchema` equal to the
one the catalog gives for an unchanged table, and one `WireCell` per column.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile

import pyarrow as pa

from resources.errors import UnsupportedEvent
from resources.model.table import Column, TableSchema
from resources.mysql.binlog.charsets import BINARY, charset_of_collation, text_decoder
from resources.mysql.binlog.options import ZeroDates
from resources.mysql.binlog.table_map import TableMap, WireColumn
from resources.mysql.binlog.wire_cells import (
    WireCell,
    address_cell,
    fixed_cell,
    string_cell,
    structure_cell,
)
from resources.mysql.binlog.wire_types import WireType
from resources.mysql.kernels import binary, labels
from resources.mysql.kernels.text import text_converter
from resources.mysql.types import GEOMETRY, decimal_type

_INTEGERS = {
    WireType.TINY: (pa.int8(), pa.uint8()),
    WireType.SHORT: (pa.int16(), pa.uint16()),
    WireType.INT24: (pa.int32(), pa.uint32()),
    WireType.LONG: (pa.int32(), pa.uint32()),
    WireType.LONGLONG: (pa.int64(), pa.uint64()),
}
_FIXED: dict[int, tuple[pa.DataType, str, str]] = {
    WireType.FLOAT: (pa.float32(), "plain", "float"),
    WireType.DOUBLE: (pa.float64(), "plain", "double"),
    WireType.BIT: (pa.uint64(), "bit", "bit"),
    WireType.YEAR: (pa.int16(), "year", "year"),
    WireType.DATE: (pa.date32(), "plain", "date"),
    WireType.DATETIME2: (pa.timestamp("us"), "plain", "datetime"),
    WireType.TIMESTAMP2: (pa.timestamp("us", tz="UTC"), "plain", "timestamp"),
    WireType.TIME2: (pa.duration("us"), "plain", "time"),
}
_INTEGER_WORDS = {
    WireType.TINY: "tinyint",
    WireType.SHORT: "smallint",
    WireType.INT24: "mediumint",
    WireType.LONG: "int",
    WireType.LONGLONG: "bigint",
}
_STRUCTURES = {
    WireType.JSON: (pa.large_string(), "json"),
    WireType.GEOMETRY: (GEOMETRY, "geometry"),
    WireType.VECTOR: (pa.list_(pa.float32()), "vector"),
}
_STRINGS = frozenset({WireType.STRING, WireType.VARCHAR, WireType.VAR_STRING, WireType.BLOB})
_OLD_TEMPORAL = frozenset({WireType.TIMESTAMP, WireType.TIME, WireType.DATETIME})
_COMPRESSED = frozenset({WireType.BLOB_COMPRESSED, WireType.VARCHAR_COMPRESSED})
_LONGTEXT_BYTES = 4
HASH_COLUMN = re.compile(r"DB_ROW_HASH_\d+")
"""Names that MariaDB gives columns no statement ever shows."""


@dataclass(frozen=True)
class DecodableTable:
    """A table's schema at a place in the log, with what decodes its rows.

    Args:
        schema: The schema.
        columns: How the cells of each column lie and become Arrow, in order; behind those of the
            schema the ones of columns that only the log has.
        key: Indexes of the key's columns.
    """

    schema: TableSchema
    columns: tuple[WireCell, ...]
    key: tuple[int, ...]


def build_table(
    table_map: TableMap, catalog: TableSchema | None, zero_dates: ZeroDates, where: str
) -> DecodableTable:
    """Return schema and converters for a table map.

    Args:
        table_map: With full metadata.
        catalog: What the catalog has for this table now; used where names and types agree.
        zero_dates: What a zero or impossible date becomes.
        where: Position in the log, for errors.

    Raises:
        UnsupportedEvent: The map names no columns, or a column cannot be decoded exactly.
    """
    if not table_map.named:
        raise UnsupportedEvent(
            f"rows of {table_map.table} are logged without column names",
            where=where,
            remedy="SET GLOBAL binlog_row_metadata = FULL, then reconnect the writing clients; "
            "read the table again by snapshot",
        )
    known = {c.name: c for c in catalog.columns} if catalog is not None else {}
    built = [
        _build_column(wire, known.get(wire.name), zero_dates, f"{where} ({table_map.table})")
        for wire in table_map.columns
    ]
    shown = len(built) - _count_hidden(table_map, known)
    columns = tuple(column for column, _ in built[:shown])
    names = [c.name for c in columns]
    key = tuple(names[i] for i in table_map.key)
    comment = catalog.comment if catalog is not None else ""
    return DecodableTable(
        schema=TableSchema(table_map.table, columns, key, comment),
        columns=tuple(cell for _, cell in built),
        key=table_map.key,
    )


def _count_hidden(table_map: TableMap, known: Mapping[str, Column]) -> int:
    """Return how many of the last columns hold hashes by which MariaDB keeps long unique keys.

    Source: MariaDB sql/sql_table.cc, `add_hash_field`.
    """
    names = [column.name for column in reversed(table_map.columns)]
    hidden = takewhile(lambda name: HASH_COLUMN.fullmatch(name) and name not in known, names)
    return sum(1 for _ in hidden)


def _build_column(
    wire: WireColumn, known: Column | None, zero_dates: ZeroDates, where: str
) -> tuple[Column, WireCell]:
    if known is not None and (cell := address_cell(known.source_type, wire)) is not None:
        return known, cell
    column, cell = _from_wire(wire, zero_dates, where)
    if known is not None and (known.type, known.kind) == (column.type, column.kind):
        column = _refined(column, known)
    return column, cell


def _refined(column: Column, known: Column) -> Column:
    """Take from the catalog what changes no value: the server's words, generation, comment."""
    return Column(
        name=column.name,
        type=column.type,
        source_type=known.source_type,
        nullable=column.nullable,
        kind=column.kind,
        labels=column.labels,
        charset=column.charset,
        generated=known.generated,
        invisible=column.invisible or known.invisible,
        comment=known.comment,
    )


def _from_wire(wire: WireColumn, zero_dates: ZeroDates, where: str) -> tuple[Column, WireCell]:
    kind = wire.type
    if kind in _COMPRESSED or kind in _OLD_TEMPORAL:
        raise _refused(wire, where)
    if kind in (WireType.ENUM, WireType.SET):
        return _labeled(wire, where)
    if kind in _STRINGS:
        return _text_or_bytes(wire, where)
    if (cell := structure_cell(wire)) is not None:
        arrow, word = _STRUCTURES[WireType(kind)]
        return _column(wire, arrow, word, word), cell
    if (fixed := _fixed_type(wire)) is not None:
        arrow, family, words = fixed
        cell = fixed_cell(wire, arrow, reject=zero_dates == "dirty")
        if cell is not None:
            return _column(wire, arrow, words, family), cell
    raise _refused(wire, where)


def _fixed_type(wire: WireColumn) -> tuple[pa.DataType, str, str] | None:
    if wire.type in _INTEGERS:
        word = _INTEGER_WORDS[WireType(wire.type)]
        arrow = _INTEGERS[WireType(wire.type)][wire.unsigned]
        return arrow, "plain", f"{word} unsigned" if wire.unsigned else word
    if wire.type == WireType.NEWDECIMAL:
        precision, scale = wire.meta >> 8, wire.meta & 0xFF
        return decimal_type(precision, scale), "plain", f"decimal({precision},{scale})"
    return _FIXED.get(wire.type)


def _column(
    wire: WireColumn,
    arrow: pa.DataType,
    words: str,
    kind: str = "plain",
    labels: tuple[str, ...] = (),
    charset: str = "",
) -> Column:
    return Column(
        name=wire.name,
        type=arrow,
        source_type=words,
        nullable=wire.nullable,
        kind=kind,
        labels=labels,
        charset=charset,
        invisible=not wire.visible,
    )


def _labeled(wire: WireColumn, where: str) -> tuple[Column, WireCell]:
    charset = charset_of_collation(wire.collation) if wire.collation is not None else None
    decode = _latin1 if charset == BINARY else text_decoder(charset or "")
    if charset is None or decode is None:
        raise _undecodable(wire, charset, where)
    try:
        words = tuple(decode(label) for label in wire.labels)
    except UnicodeDecodeError as error:
        raise UnsupportedEvent(
            f"labels of column {wire.name} are no {charset} text", where=where
        ) from error
    enum = wire.type == WireType.ENUM
    kind = "enum" if enum else "set"
    convert = (labels.enums if enum else labels.sets)(wire.meta, words)
    quoted = ",".join("'" + word.replace("'", "''") + "'" for word in words)
    column = _column(wire, pa.string(), f"{kind}({quoted})", kind, words, charset)
    return column, WireCell(0, wire.meta, convert)


def _latin1(label: bytes) -> str:
    return label.decode("latin-1")


def _text_or_bytes(wire: WireColumn, where: str) -> tuple[Column, WireCell]:
    charset = charset_of_collation(wire.collation) if wire.collation is not None else None
    blob = wire.type == WireType.BLOB
    huge = blob and wire.meta == _LONGTEXT_BYTES
    if charset == BINARY:
        arrow = pa.large_binary() if huge else pa.binary()
        fixed = wire.type == WireType.STRING
        words = _blob_words(wire.meta, "blob") if blob else f"binary({wire.meta})"
        convert = binary.padded(wire.meta) if fixed else binary.binaries(arrow)
        return _column(wire, arrow, words), string_cell(wire, convert)
    arrow = pa.large_string() if huge else pa.string()
    decode = text_converter(charset, arrow) if charset is not None else None
    if charset is None or decode is None:
        raise _undecodable(wire, charset, where)
    words = _blob_words(wire.meta, "text") if blob else f"char({wire.meta} bytes)"
    return _column(wire, arrow, words, charset=charset), string_cell(wire, decode)


def _undecodable(wire: WireColumn, charset: str | None, where: str) -> UnsupportedEvent:
    return UnsupportedEvent(
        f"column {wire.name} has character set {charset or f'of collation {wire.collation}'}, "
        "which cannot be decoded",
        where=where,
        remedy=f"ALTER TABLE … MODIFY `{wire.name}` … CHARACTER SET utf8mb4, or exclude it",
    )


def _blob_words(size_bytes: int, word: str) -> str:
    return {1: "tiny", 3: "medium", 4: "long"}.get(size_bytes, "") + word


def _refused(wire: WireColumn, where: str) -> UnsupportedEvent:
    if wire.type in _COMPRESSED:
        remedy = f"ALTER TABLE … MODIFY `{wire.name}` … without COMPRESSED"
        what = "is COMPRESSED, which cannot be decoded"
    elif wire.type in _OLD_TEMPORAL:
        remedy = "SET GLOBAL mysql56_temporal_format = ON; ALTER TABLE … FORCE"
        what = "has a date or time in the format before MySQL 5.6"
    else:
        remedy = "exclude the table"
        what = f"has wire type {wire.type}, which is unknown"
    return UnsupportedEvent(f"column {wire.name} {what}", where=where, remedy=remedy)
