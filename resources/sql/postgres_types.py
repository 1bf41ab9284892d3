"""PostgreSQL types -> Arrow, and the expression that carries each value exactly.

In: a type as `format_type` prints it. Out: an Arrow type, what to select, how to convert.

| PostgreSQL | Arrow | note |
|---|---|---|
| smallint, integer, bigint | int16, int32, int64 | |
| numeric(p,s), 0 <= s <= p <= 76 | decimal128(p,s), p > 38 decimal256(p,s) | NaN is rejected |
| real, double precision | float32, float64 | |
| boolean | bool | |
| text, varchar(n), char(n), name | string | char(n) keeps its padding |
| bytea | binary | |
| date | date32 | |
| timestamp | timestamp[us] | no zone |
| timestamptz | timestamp[us, UTC] | |
| time | duration[us] | 24:00 is a value of it |
| uuid | string | kind `uuid` |
| inet, cidr, macaddr | string | kind `inet`, the text the server prints |
| json, jsonb | large_string | kind `json`, the text the server prints |
| enum types | string | kind `enum` |

Infinite dates and timestamps, and timestamps past the year 290000, are rejected rows. A domain is
its base type. Refused: numeric without precision, arrays, interval, time with zone, money, bit,
ranges, geometric and composite types.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from resources.sql.result_set import Convert, of_type, whole_number

UNFIT = 2**63 - 1
_NUMERIC = re.compile(r"numeric\((\d+),(-?\d+)\)")
_ARGUMENTS = re.compile(r"\(\d+\)")
_MAX_DIGITS = 76


@dataclass(frozen=True)
class PostgresType:
    """How values of one type are read.

    Args:
        arrow: Their Arrow type.
        convert: From what the driver gives.
        form: `plain` selects the column, `text` its text, `days`, `instant`, `time` a number.
        kind: Kind of the column.
    """

    arrow: pa.DataType
    convert: Convert
    form: str = "plain"
    kind: str = "plain"

    def expression(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """Return what to select so that every value of the type arrives whole."""
        match self.form:
            case "text":
                return sa.cast(column, sa.Text)
            case "days":
                return _finite(column, column - sa.literal_column("DATE '1970-01-01'"))
            case "instant":
                limit: sa.ColumnClause[Any] = sa.literal_column("TIMESTAMP '290000-01-01'")
                return _finite(column, _microseconds(column), column < limit)
            case "time":
                return _microseconds(column)
            case _:
                return column


def _microseconds(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    return sa.cast(sa.extract("epoch", column) * 1_000_000, sa.BigInteger)


def _finite(
    column: sa.ColumnElement[Any],
    number: sa.ColumnElement[Any],
    *conditions: sa.ColumnElement[bool],
) -> sa.ColumnElement[Any]:
    return sa.case(
        (column.is_(None), sa.null()),
        (sa.and_(sa.func.isfinite(column), *conditions), number),
        else_=sa.literal_column(str(UNFIT)),
    )


def _decimals(values: Sequence[Any], target: pa.DataType) -> pa.Array:
    array = of_type(Decimal)(values, target)
    if any(v is not None and not v.is_finite() for v in values):
        raise ValueError("the value is not a finite number")
    return array


_temporal = whole_number(UNFIT)
_text = of_type(str)
_TYPES = {
    "smallint": PostgresType(pa.int16(), of_type(int)),
    "integer": PostgresType(pa.int32(), of_type(int)),
    "bigint": PostgresType(pa.int64(), of_type(int)),
    "real": PostgresType(pa.float32(), of_type(float)),
    "double precision": PostgresType(pa.float64(), of_type(float)),
    "boolean": PostgresType(pa.bool_(), of_type(bool)),
    "text": PostgresType(pa.string(), _text),
    "name": PostgresType(pa.string(), _text),
    "character varying": PostgresType(pa.string(), _text),
    "character": PostgresType(pa.string(), _text),
    "bytea": PostgresType(pa.binary(), of_type(bytes)),
    "date": PostgresType(pa.date32(), _temporal, "days"),
    "timestamp without time zone": PostgresType(pa.timestamp("us"), _temporal, "instant"),
    "timestamp with time zone": PostgresType(pa.timestamp("us", "UTC"), _temporal, "instant"),
    "time without time zone": PostgresType(pa.duration("us"), _temporal, "time"),
    "uuid": PostgresType(pa.string(), _text, "text", "uuid"),
    "inet": PostgresType(pa.string(), _text, "text", "inet"),
    "cidr": PostgresType(pa.string(), _text, "text", "inet"),
    "macaddr": PostgresType(pa.string(), _text, "text", "inet"),
    "json": PostgresType(pa.large_string(), _text, "text", "json"),
    "jsonb": PostgresType(pa.large_string(), _text, "text", "json"),
}
_ENUM = PostgresType(pa.string(), _text, "text", "enum")


def postgres_type(declared: str, *, enum: bool = False) -> PostgresType | str:
    """Return how a type is read, or why it is refused.

    Args:
        declared: As `format_type` prints it, e.g. `numeric(10,2)`, `timestamp(3) with time zone`.
        enum: Whether it is an enum type.
    """
    if enum:
        return _ENUM
    if numeric := _NUMERIC.fullmatch(declared):
        precision, scale = int(numeric[1]), int(numeric[2])
        if not 0 <= scale <= precision <= _MAX_DIGITS:
            return f"only numeric(p,s) with 0 <= s <= p <= {_MAX_DIGITS} has a decimal counterpart"
        build = pa.decimal128 if precision <= 38 else pa.decimal256
        return PostgresType(build(precision, scale), _decimals)
    if declared == "numeric":
        return "it has no precision; declare numeric(p,s)"
    return _TYPES.get(_ARGUMENTS.sub("", declared), "there is no exact counterpart")
