"""Arrow types in ClickHouse: exact or refused, by the table in docs/types.md.

In: Arrow types and rows of a target's schema. Out: ClickHouse type names, rows as ClickHouse takes
them, and the same rows back.

Several Arrow types are held as one ClickHouse type (text and bytes are both String). Which one a
column was made for stands at the end of its comment, `[cdc:large_binary]`, so that it is renamed,
exchanged and dropped together with the column.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

GEOMETRY = pa.struct([("srid", pa.uint32()), ("wkb", pa.binary())])
VECTOR = pa.list_(pa.float32())
_TICKS = "DateTime64(6, 'UTC')"
_PLAIN = {
    pa.bool_(): "Bool",
    pa.int8(): "Int8",
    pa.int16(): "Int16",
    pa.int32(): "Int32",
    pa.int64(): "Int64",
    pa.uint8(): "UInt8",
    pa.uint16(): "UInt16",
    pa.uint32(): "UInt32",
    pa.uint64(): "UInt64",
    pa.float32(): "Float32",
    pa.float64(): "Float64",
    pa.date32(): "Date32",
    pa.timestamp("us", tz="UTC"): _TICKS,
    pa.timestamp("us"): _TICKS,
    pa.duration("us"): "Int64",
    pa.string(): "String",
    pa.large_string(): "String",
    pa.binary(): "String",
    pa.large_binary(): "String",
    GEOMETRY: "String",
    VECTOR: "Array(Float32)",
}
_MARKS = {
    "datetime": pa.timestamp("us"),
    "time": pa.duration("us"),
    "large_string": pa.large_string(),
    "binary": pa.binary(),
    "large_binary": pa.large_binary(),
    "geometry": GEOMETRY,
}
"""Arrow types that a ClickHouse type alone does not tell, by the mark in the column's comment."""
_BACK = {name: type_ for type_, name in reversed(_PLAIN.items()) if type_ not in _MARKS.values()}
_WRAPPERS = re.compile(r"^(?:Nullable|LowCardinality)\((.*)\)$")
_WIDEST = 76


@dataclass(frozen=True)
class Reach:
    """The first and last day that a server's Date32 and DateTime64 hold.

    Servers of today hold years 1 to 9999, older ones 1900 to 2299; beyond that they store another
    day without a word.
    """

    first: int
    last: int


FULL_REACH = Reach(-719_162, 2_932_896)
OLD_REACH = Reach(-25_567, 120_529)


def clickhouse_type(type_: pa.DataType) -> str | None:
    """Return the ClickHouse type of a column that is never NULL, None where none is exact."""
    if type_ in _PLAIN:
        return _PLAIN[type_]
    if pa.types.is_decimal(type_) and 0 <= type_.scale <= type_.precision <= _WIDEST:
        return f"Decimal({type_.precision}, {type_.scale})"
    return None


def nullable_type(type_: pa.DataType) -> str | None:
    """Return the ClickHouse type of a column that may be NULL, None where none is exact.

    A vector that is NULL is an empty array, since arrays cannot be NULL in ClickHouse; an empty
    vector is therefore refused (`misfits`).
    """
    plain = clickhouse_type(type_)
    return plain if plain is None or type_ == VECTOR else f"Nullable({plain})"


def bare(type_: str) -> str:
    """Return a ClickHouse type without `Nullable` and `LowCardinality` around it."""
    while match := _WRAPPERS.match(type_):
        type_ = match[1]
    return type_


def takes_null(type_: str) -> bool:
    """Return whether a ClickHouse column of this type holds NULL, in whatever form."""
    return type_.removeprefix("LowCardinality(").startswith("Nullable(") or type_ == _PLAIN[VECTOR]


def mark_of(type_: pa.DataType) -> str:
    """Return what a column's comment ends with, empty where its ClickHouse type tells enough."""
    return next((f"[cdc:{name}]" for name, marked in _MARKS.items() if marked == type_), "")


def comment_of(type_: pa.DataType, comment: str = "") -> str:
    """Return the comment of a column: the source's own words, then the mark."""
    return f"{comment} {mark_of(type_)}".strip()


def arrow_type(type_: str, comment: str) -> pa.DataType:
    """Return the Arrow type of a column there; text where ClickHouse's own has no counterpart."""
    type_ = bare(type_)
    if match := re.search(r"\[cdc:(\w+)\]$", comment):
        marked = _MARKS.get(match[1])
        if marked is not None and clickhouse_type(marked) == type_:
            return marked
    if type_ in _BACK:
        return _BACK[type_]
    if match := re.fullmatch(r"Decimal\((\d+), (\d+)\)", type_):
        precision, scale = int(match[1]), int(match[2])
        return (pa.decimal128 if precision <= 38 else pa.decimal256)(precision, scale)
    return pa.string()


def fits(type_: pa.DataType, live: str) -> bool:
    """Return whether a ClickHouse column takes and gives back values of an Arrow type exactly.

    The time zone of a DateTime64 changes only how it is shown.
    """
    live = bare(live)
    wanted = clickhouse_type(type_)
    if wanted == _TICKS:
        return live.startswith("DateTime64(6")
    return wanted == live


def to_storage(rows: pa.Table) -> pa.Table:
    """Return rows as ClickHouse takes them: durations as microseconds, geometries as bytes."""
    for i, field in enumerate(rows.schema):
        column = rows.column(i)
        if pa.types.is_duration(field.type):
            rows = rows.set_column(i, field.name, column.cast(pa.int64()))
        elif field.type == GEOMETRY:
            chunks = [_geometry_bytes(c) for c in column.chunks]
            rows = rows.set_column(i, field.name, pa.chunked_array(chunks, pa.binary()))
        elif field.type == VECTOR and column.null_count:
            empty = pa.scalar([], VECTOR)
            rows = rows.set_column(i, field.name, pc.if_else(pc.is_null(column), empty, column))
    return rows


def from_storage(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return rows as ClickHouse gives them in the Arrow types of `schema`."""
    columns = [_column(c, f.type) for c, f in zip(rows.columns, schema, strict=True)]
    return pa.table(columns, schema=schema)


def misfits(column: pa.ChunkedArray, reach: Reach) -> tuple[pa.ChunkedArray | None, str]:
    """Return which values ClickHouse would change without a word, and what is wrong with them.

    Args:
        column: Values of one of the types `clickhouse_type` knows.
        reach: The days the server holds.

    Returns:
        A mask, None where every value fits, and the reason.
    """
    type_ = column.type
    if type_ == VECTOR:
        bad = pc.equal(pc.list_value_length(column), 0)
        return _any(bad), "an empty vector cannot be told from NULL in ClickHouse"
    if not (pa.types.is_date(type_) or pa.types.is_timestamp(type_)):
        return None, ""
    ticks = 1 if pa.types.is_date(type_) else 86_400_000_000
    number = column.cast(pa.int32() if ticks == 1 else pa.int64())
    low, high = reach.first * ticks, (reach.last + 1) * ticks - 1
    bad = pc.or_(pc.less(number, low), pc.greater(number, high))
    return _any(bad), "a date outside the years that this ClickHouse server holds"


def _any(mask: pa.ChunkedArray) -> pa.ChunkedArray | None:
    return mask if pc.any(mask).as_py() else None


def _column(column: pa.ChunkedArray, type_: pa.DataType) -> pa.ChunkedArray:
    if type_ == GEOMETRY:
        return pa.chunked_array([_geometry(c) for c in column.chunks], type_)
    if type_ == VECTOR:
        column = column.cast(type_)
        empty = pc.equal(pc.list_value_length(column), 0)
        return pc.if_else(empty, pa.scalar(None, type_), column)
    return column.cast(type_)


def _geometry_bytes(values: pa.StructArray) -> pa.Array:
    """Return geometries as MySQL keeps them: 4 bytes of SRID, little-endian, then WKB."""
    made = [
        None if v is None else v["srid"].to_bytes(4, "little") + v["wkb"]
        for v in values.to_pylist()
    ]
    return pa.array(made, pa.binary())


def _geometry(values: pa.Array) -> pa.Array:
    made = [
        None if v is None else {"srid": int.from_bytes(v[:4], "little"), "wkb": v[4:]}
        for v in values.to_pylist()
    ]
    return pa.array(made, GEOMETRY)
