"""From a table map to the schema of the table at that place in the log, and its decoders.

In: a table map with full metadata, what the catalog knows now. Out: a `TableSchema` equal to the
one the catalog gives for an unchanged table, and one decoder per column.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from resources.errors import UnsupportedEvent
from resources.model.table import Column, TableSchema
from resources.mysql.binlog import values
from resources.mysql.binlog.charsets import BINARY, charset_of_collation, text_decoder
from resources.mysql.binlog.json_value import json_text
from resources.mysql.binlog.mariadb_value import CATALOG_TYPES
from resources.mysql.binlog.options import ZeroDates
from resources.mysql.binlog.table_map import TableMap, WireColumn
from resources.mysql.binlog.wire_types import WireType
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
_OLD_TEMPORAL = frozenset({WireType.TIMESTAMP, WireType.TIME, WireType.DATETIME})
_COMPRESSED = frozenset({WireType.BLOB_COMPRESSED, WireType.VARCHAR_COMPRESSED})
_LONGTEXT_BYTES = 4


@dataclass(frozen=True)
class DecodableTable:
    """A table's schema at a place in the log, with what decodes its rows.

    Args:
        schema: The schema.
        decoders: One per column, in order.
        key: Indexes of the key's columns.
    """

    schema: TableSchema
    decoders: tuple[values.Decoder, ...]
    key: tuple[int, ...]


def build_table(
    table_map: TableMap, catalog: TableSchema | None, zero_dates: ZeroDates, where: str
) -> DecodableTable:
    """Return schema and decoders for a table map.

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
    columns = tuple(column for column, _ in built)
    names = [c.name for c in columns]
    key = tuple(names[i] for i in table_map.key)
    comment = catalog.comment if catalog is not None else ""
    return DecodableTable(
        schema=TableSchema(table_map.table, columns, key, comment),
        decoders=tuple(decoder for _, decoder in built),
        key=table_map.key,
    )


def _build_column(
    wire: WireColumn, known: Column | None, zero_dates: ZeroDates, where: str
) -> tuple[Column, values.Decoder]:
    if known is not None and (special := CATALOG_TYPES.get(known.source_type.lower())):
        decoder = special(wire)
        if decoder is not None:
            return known, decoder
    column, decoder = _from_wire(wire, zero_dates, where)
    if known is not None and (known.type, known.kind) == (column.type, column.kind):
        column = _refined(column, known)
    return column, decoder


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


def _from_wire(
    wire: WireColumn, zero_dates: ZeroDates, where: str
) -> tuple[Column, values.Decoder]:
    kind = wire.type
    if kind in _COMPRESSED or kind in _OLD_TEMPORAL:
        raise _refused(wire, where)
    fixed = values.fixed_decoder(wire, zero_dates)
    if fixed is not None:
        arrow, family, words = _fixed_type(wire)
        return _column(wire, arrow, words, family), fixed
    if kind in (WireType.ENUM, WireType.SET):
        return _labeled(wire, where)
    if kind == WireType.JSON:
        decoder = values.prefixed_decoder(wire.meta, json_text, "not binary JSON")
        return _column(wire, pa.large_string(), "json", "json"), decoder
    if kind == WireType.GEOMETRY:
        decoder = values.prefixed_decoder(wire.meta, values.geometry, "not a geometry")
        return _column(wire, GEOMETRY, "geometry", "geometry"), decoder
    if kind == WireType.VECTOR:
        decoder = values.prefixed_decoder(wire.meta, values.vector, "not a vector")
        return _column(wire, pa.list_(pa.float32()), "vector", "vector"), decoder
    if kind in (WireType.STRING, WireType.VARCHAR, WireType.VAR_STRING, WireType.BLOB):
        return _text_or_bytes(wire, where)
    raise _refused(wire, where)


def _fixed_type(wire: WireColumn) -> tuple[pa.DataType, str, str]:
    if wire.type in _INTEGERS:
        word = _INTEGER_WORDS[WireType(wire.type)]
        arrow = _INTEGERS[WireType(wire.type)][wire.unsigned]
        return arrow, "plain", f"{word} unsigned" if wire.unsigned else word
    if wire.type == WireType.NEWDECIMAL:
        precision, scale = wire.meta >> 8, wire.meta & 0xFF
        return decimal_type(precision, scale), "plain", f"decimal({precision},{scale})"
    return _FIXED[wire.type]


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


def _charset(wire: WireColumn, where: str) -> tuple[str, Callable[[bytes], str] | None]:
    """Return a text column's character set and decoder; no decoder for binary columns."""
    charset = charset_of_collation(wire.collation) if wire.collation is not None else None
    if charset == BINARY:
        return BINARY, None
    decode = text_decoder(charset) if charset is not None else None
    if charset is None or decode is None:
        raise UnsupportedEvent(
            f"column {wire.name} has character set {charset or f'of collation {wire.collation}'}, "
            "which cannot be decoded",
            where=where,
            remedy=f"ALTER TABLE … MODIFY `{wire.name}` … CHARACTER SET utf8mb4, or exclude it",
        )
    return charset, decode


def _labeled(wire: WireColumn, where: str) -> tuple[Column, values.Decoder]:
    charset, decode = _charset(wire, where)
    try:
        labels = tuple((decode or _ascii)(label) for label in wire.labels)
    except UnicodeDecodeError as error:
        raise UnsupportedEvent(
            f"labels of column {wire.name} are no {charset} text", where=where
        ) from error
    enum = wire.type == WireType.ENUM
    make = values.enum_decoder if enum else values.set_decoder
    word = "enum" if enum else "set"
    quoted = ",".join("'" + label.replace("'", "''") + "'" for label in labels)
    column = _column(wire, pa.string(), f"{word}({quoted})", word, labels, charset)
    return column, make(wire.meta, labels)


def _ascii(label: bytes) -> str:
    return label.decode("latin-1")


def _text_or_bytes(wire: WireColumn, where: str) -> tuple[Column, values.Decoder]:
    charset, decode = _charset(wire, where)
    blob = wire.type == WireType.BLOB
    huge = blob and wire.meta == _LONGTEXT_BYTES
    size_bytes = wire.meta if blob else 1 + (wire.meta > 255)
    if decode is not None:
        arrow = pa.large_string() if huge else pa.string()
        words = _blob_words(wire.meta, "text") if blob else f"char({wire.meta} bytes)"
        column = _column(wire, arrow, words, charset=charset)
        return column, values.prefixed_decoder(size_bytes, decode, f"not {charset} text")
    arrow = pa.large_binary() if huge else pa.binary()
    padded = wire.type == WireType.STRING
    convert = values.padded(wire.meta) if padded else values.plain_bytes
    words = _blob_words(wire.meta, "blob") if blob else f"binary({wire.meta})"
    column = _column(wire, arrow, words)
    return column, values.prefixed_decoder(size_bytes, convert, "not bytes")


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
