"""Arrow types in DuckDB: exact or refused, by the table in docs/types.md.

In: Arrow types and tables of a target's schema. Out: DuckDB type names, tables as DuckDB takes
them, expressions and casts that bring the very same Arrow types back.
"""

from __future__ import annotations

import pyarrow as pa

from resources.sinks.decimal_text import decimal_text
from resources.sinks.duckdb_names import quote
from resources.sinks.retype import widens
from resources.sinks.value_texts import hexadecimal, microseconds, value_text

_PLAIN = {
    pa.bool_(): "BOOLEAN",
    pa.int8(): "TINYINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.uint8(): "UTINYINT",
    pa.uint16(): "USMALLINT",
    pa.uint32(): "UINTEGER",
    pa.uint64(): "UBIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.date32(): "DATE",
    pa.timestamp("us"): "TIMESTAMP",
    pa.timestamp("us", tz="UTC"): "TIMESTAMP WITH TIME ZONE",
    pa.duration("us"): "INTERVAL",
    pa.string(): "VARCHAR",
    pa.large_string(): "VARCHAR",
    pa.binary(): "BLOB",
    pa.large_binary(): "BLOB",
}
_MAX_PRECISION = 38


def duckdb_type(type_: pa.DataType) -> str | None:
    """Return the DuckDB type in the words of its catalog, None where there is no exact one.

    DECIMAL beyond 38 digits comes as VARCHAR; whether that is allowed is the sink's setting
    (`is_text_decimal` tells).
    """
    if type_ in _PLAIN:
        return _PLAIN[type_]
    if pa.types.is_decimal(type_):
        if is_text_decimal(type_):
            return "VARCHAR"
        return f"DECIMAL({type_.precision},{type_.scale})"
    if pa.types.is_struct(type_):
        parts = [(f.name, duckdb_type(f.type)) for f in type_]
        if any(inner is None for _, inner in parts):
            return None
        return "STRUCT(" + ", ".join(f"{_bare(n)} {inner}" for n, inner in parts) + ")"
    if pa.types.is_list(type_):
        inner = duckdb_type(type_.value_type)
        return None if inner is None else f"{inner}[]"
    return None


def is_text_decimal(type_: pa.DataType) -> bool:
    """Return whether a type is a DECIMAL that DuckDB can only hold as text."""
    return bool(pa.types.is_decimal(type_)) and type_.precision > _MAX_PRECISION


def held_alike(a: pa.DataType, b: pa.DataType) -> bool:
    """Return whether a column of one type can be read as the other."""
    if is_text_decimal(a) or is_text_decimal(b):
        return bool(a == b)
    return duckdb_type(a) == duckdb_type(b)


def literal(value: pa.Scalar) -> str:
    """Return a value as SQL of the very value in its column's type.

    Raises:
        ConfigError: It is of a nested type.
    """
    if pa.types.is_duration(value.type):
        return f"to_microseconds({microseconds(value)})"
    if pa.types.is_binary(value.type) or pa.types.is_large_binary(value.type):
        return f"unhex('{hexadecimal(value)}')"
    return f"CAST({text_literal(value_text(value))} AS {duckdb_type(value.type)})"


def text_literal(text: str) -> str:
    """Return text as a string literal."""
    return "'" + text.replace("'", "''") + "'"


def convert(value: str, old: pa.DataType, new: pa.DataType) -> str | None:
    """Return the SQL that carries a value of one type to another, None where there is none.

    Whether it fits is asked apart; into decimals beyond 38 digits only what always fits goes.

    Args:
        value: SQL of the value as it is held.
        old: Its type.
        new: The type it shall have, one `retype.convertible` allows.
    """
    if old == new:
        return value
    if is_text_decimal(new):
        return _as_decimal_text(value, old, new.scale) if widens(old, new) else None
    if is_text_decimal(old):
        return None
    wanted = duckdb_type(new)
    return value if duckdb_type(old) == wanted else f"CAST({value} AS {wanted})"


def to_storage(rows: pa.Table) -> pa.Table:
    """Return the rows as DuckDB takes them: decimals beyond 38 digits as exact plain text."""
    for i, field in enumerate(rows.schema):
        if is_text_decimal(field.type):
            chunks = [decimal_text(c) for c in rows.column(i).chunks]
            text = pa.chunked_array(chunks, type=pa.string())
            rows = rows.set_column(i, field.name, text)
    return rows


def read_expression(field: pa.Field) -> str:
    """Return the SQL that reads a column in a form `from_storage` casts without loss."""
    name = quote(field.name)
    if pa.types.is_duration(field.type):
        return f"epoch_us({name}) AS {name}"
    return name


def from_storage(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return rows read through `read_expression` in the Arrow types of `schema`."""
    columns = [c.cast(f.type) for c, f in zip(rows.columns, schema, strict=True)]
    return pa.table(columns, schema=schema)


def _bare(name: str) -> str:
    return name if name.isidentifier() and name.islower() else quote(name)


def _as_decimal_text(value: str, old: pa.DataType, scale: int) -> str:
    """Write a number as `decimal_text` does, with the digits of a greater scale."""
    there = old.scale if pa.types.is_decimal(old) else 0
    if not is_text_decimal(old):
        value = f"CAST({value} AS VARCHAR)"
        if there and there == old.precision:  # DuckDB writes .05 for DECIMAL(2,2)
            value = f"regexp_replace({value}, '^(-?)\\.', '\\10.')"
    zeros = ("" if there else ".") + "0" * (scale - there)
    return value if scale == there else f"({value} || '{zeros}')"
