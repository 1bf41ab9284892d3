"""Arrow types in PostgreSQL: exact or refused.

In: Arrow types of a target's columns. Out: type names in the words of PostgreSQL's own catalog
(`format_type`), and the expressions that read the same Arrow values back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from resources.errors import ConfigError
from resources.model.table import Column
from resources.sinks.postgres_names import quote

_PLAIN = {
    pa.bool_(): "boolean",
    pa.int8(): "smallint",
    pa.int16(): "smallint",
    pa.int32(): "integer",
    pa.int64(): "bigint",
    pa.uint8(): "smallint",
    pa.uint16(): "integer",
    pa.uint32(): "bigint",
    pa.uint64(): "numeric(20,0)",
    pa.float32(): "real",
    pa.float64(): "double precision",
    pa.date32(): "date",
    pa.timestamp("us"): "timestamp(6) without time zone",
    pa.timestamp("us", tz="UTC"): "timestamp(6) with time zone",
    pa.duration("us"): "interval",
    pa.string(): "text",
    pa.large_string(): "text",
    pa.binary(): "bytea",
    pa.large_binary(): "bytea",
}
_BACK = {
    "boolean": pa.bool_(),
    "smallint": pa.int16(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "real": pa.float32(),
    "double precision": pa.float64(),
    "date": pa.date32(),
    "interval": pa.duration("us"),
    "text": pa.string(),
    "json": pa.large_string(),
    "jsonb": pa.large_string(),
    "bytea": pa.binary(),
    "real[]": pa.list_(pa.float32()),
}
_JSON = ("text", "json", "jsonb")
_WIDEST = 76


class PostgresTypes:
    """The types of one sink.

    Args:
        options: `{"json_columns": "json"}` or `"jsonb"` gives JSON columns that type in place of
            text; `jsonb` keeps no spaces, no order of keys and refuses the character U+0000.

    Raises:
        ConfigError: The options hold something else.
    """

    def __init__(self, options: Mapping[str, str] | None = None) -> None:
        given = dict(options or {})
        self._json = given.pop("json_columns", "text")
        if given or self._json not in _JSON:
            raise ConfigError(
                "the PostgreSQL sink does not know these type settings",
                where=str(dict(options or {})),
                remedy=f"types: {{json_columns: <one of {', '.join(_JSON)}>}}",
            )

    def name(self, column: Column) -> str | None:
        """Return a column's type in PostgreSQL, None where there is no exact one."""
        type_ = column.type
        if column.kind == "json" and type_ in (pa.string(), pa.large_string()):
            return self._json
        if type_ in _PLAIN:
            return _PLAIN[type_]
        if pa.types.is_decimal(type_) and 0 <= type_.scale <= type_.precision:
            return f"numeric({type_.precision},{type_.scale})"
        if is_geometry(type_):
            return "bytea"
        return "real[]" if type_ == pa.list_(pa.float32()) else None

    def same(self, one: pa.DataType, other: pa.DataType) -> bool:
        """Return whether two Arrow types are held alike."""
        name = self.name(Column("", one))
        return name is not None and name == self.name(Column("", other))


def is_geometry(type_: pa.DataType) -> bool:
    """Return whether a type is the struct of SRID and WKB that stands for a geometry."""
    return bool(type_ == pa.struct([("srid", pa.uint32()), ("wkb", pa.binary())]))


def may_stand_for(type_: pa.DataType, name: str) -> bool:
    """Return whether a column of a PostgreSQL type may have been made for an Arrow type."""
    own = PostgresTypes().name(Column("", type_))
    return own == name or (own == "text" and name in _JSON)


def arrow_type(name: str) -> pa.DataType:
    """Return the Arrow type of a column not made by this sink; text where there is none."""
    if name in _BACK:
        return _BACK[name]
    if match := re.fullmatch(r"numeric\((\d+),(\d+)\)", name):
        precision, scale = int(match[1]), int(match[2])
        if scale <= precision <= _WIDEST:
            return (pa.decimal128 if precision <= 38 else pa.decimal256)(precision, scale)
    if re.fullmatch(r"timestamp(\(\d\))? without time zone", name):
        return pa.timestamp("us")
    if re.fullmatch(r"timestamp(\(\d\))? with time zone", name):
        return pa.timestamp("us", tz="UTC")
    return pa.string()


def read_expression(name: str, type_: pa.DataType) -> str:
    """Return the SQL that reads a column in a form `read_values` takes without loss."""
    column = quote(name)
    if pa.types.is_date(type_):
        return f"{column} - DATE '1970-01-01'"
    if pa.types.is_timestamp(type_) or pa.types.is_duration(type_):
        # By minutes, since servers before PostgreSQL 14 give EPOCH as a float.
        minutes = f"CAST(EXTRACT(EPOCH FROM date_trunc('minute', {column})) AS bigint)"
        return f"{minutes} * 1000000 + CAST(EXTRACT(MICROSECONDS FROM {column}) AS bigint)"
    if (
        pa.types.is_decimal(type_)
        or type_ == pa.uint64()
        or type_ in (pa.string(), pa.large_string())
    ):
        return f"CAST({column} AS text)"
    return column


def read_values(values: list[Any], type_: pa.DataType) -> pa.Array:
    """Return what `read_expression` read as an array of the Arrow type."""
    if pa.types.is_date(type_):
        return pa.array(values, pa.int32()).cast(type_)
    if pa.types.is_timestamp(type_) or pa.types.is_duration(type_):
        return pa.array(values, pa.int64()).cast(type_)
    if pa.types.is_decimal(type_) or type_ == pa.uint64():
        return pa.array(values, pa.string()).cast(type_)
    if is_geometry(type_):
        values = [
            v if v is None else {"srid": int.from_bytes(v[:4], "little"), "wkb": v[4:]}
            for v in values
        ]
    return pa.array(values, type_)
