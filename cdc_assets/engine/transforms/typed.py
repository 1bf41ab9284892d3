"""Typed SQL: a piece of DuckDB SQL with its Arrow type, and types that hold others without loss.

In: pieces with types. Out: pieces with types; what would need a guess is refused.

In DuckDB's SQL a duration is a BIGINT of microseconds (as `TIME` of MySQL is no time of day), a
timestamp with zone a TIMESTAMP in UTC. `storage_type` names the DuckDB type of every Arrow type.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import reduce

import pyarrow as pa

TEXT, LONG_TEXT, BYTES = pa.string(), pa.large_string(), pa.binary()
INT32, INT64, UINT64, DOUBLE = pa.int32(), pa.int64(), pa.uint64(), pa.float64()
BOOL, DATE, STAMP, TIME = pa.bool_(), pa.date32(), pa.timestamp("us"), pa.duration("us")
NULL = pa.null()
MAX_DIGITS = 38

_STORAGE = {
    BOOL: "BOOLEAN",
    pa.int8(): "TINYINT",
    pa.int16(): "SMALLINT",
    INT32: "INTEGER",
    INT64: "BIGINT",
    pa.uint8(): "UTINYINT",
    pa.uint16(): "USMALLINT",
    pa.uint32(): "UINTEGER",
    UINT64: "UBIGINT",
    pa.float32(): "FLOAT",
    DOUBLE: "DOUBLE",
    DATE: "DATE",
    STAMP: "TIMESTAMP",
    pa.timestamp("us", tz="UTC"): "TIMESTAMP",
    TIME: "BIGINT",
    TEXT: "VARCHAR",
    LONG_TEXT: "VARCHAR",
    BYTES: "BLOB",
    pa.large_binary(): "BLOB",
    NULL: "NULL",
}
_DATE = r"\d{4}-\d{1,2}-\d{1,2}"
DATE_TEXT = rf"\s*{_DATE}\s*"
STAMP_TEXT = rf"\s*{_DATE}([ T]\d{{1,2}}:\d{{1,2}}(:\d{{1,2}}(\.\d{{1,6}})?)?)?\s*"
_TIME_TEXT = re.compile(r"(-?)(\d{1,3}):(\d{2}):(\d{2})(?:\.(\d{1,6}))?")

_LONGEST_SQL = 100_000
"""A division repeats its operands, so that some six of them in each other would be megabytes."""

Constant = str | int | Decimal | float | bool


class Refused(Exception):
    """An expression that cannot be compiled.

    Args:
        message: Why.
        remedy: What to write instead.
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


@dataclass(frozen=True)
class Typed:
    """A piece of DuckDB SQL.

    Args:
        sql: The SQL, safe to stand anywhere an operand may.
        type: Its Arrow type; `null` for NULL itself.
        nullable: Whether it may be NULL where its inputs are as their schema says.
        inputs: Names of the columns it reads.
        kind: As `Column.kind`.
        constant: Its value if it is a literal.
        column: The input column that it is, untouched; None for anything computed.
        stage: After how many calls of Python functions in a row it can be evaluated.
        overflows: Whether it was calculated as DOUBLE and may have become infinite.
    """

    sql: str
    type: pa.DataType
    nullable: bool = True
    inputs: frozenset[str] = frozenset()
    kind: str = "plain"
    constant: Constant | None = None
    column: str | None = None
    stage: int = 0
    overflows: bool = False


def derive(
    sql: str,
    type_: pa.DataType,
    *parts: Typed,
    nullable: bool | None = None,
    kind: str = "plain",
) -> Typed:
    """Return computed SQL that reads what its parts read; NULL where one of them may be.

    Raises:
        Refused: It is too long.
    """
    if len(sql) > _LONGEST_SQL:
        raise Refused("it becomes too long", "compute parts of it in the target")
    may = any(p.nullable for p in parts) if nullable is None else nullable
    inputs = frozenset[str]().union(*(p.inputs for p in parts))
    stage = max((p.stage for p in parts), default=0)
    overflows = any(p.overflows for p in parts)
    return Typed(sql, type_, may, inputs, kind, stage=stage, overflows=overflows)


def quote_text(value: str) -> str:
    """Return text as an SQL literal."""
    return "'" + value.replace("'", "''") + "'"


def storage_type(type_: pa.DataType) -> str | None:
    """Return the DuckDB type expressions see a type as; None where there is no exact one."""
    if pa.types.is_decimal(type_):
        if type_.precision > MAX_DIGITS:
            return None
        return f"DECIMAL({type_.precision},{type_.scale})"
    return _STORAGE.get(type_)


def literal(value: int | Decimal) -> Typed:
    """Return a number as MySQL types it: whole, or DECIMAL where it has a point or is long.

    Raises:
        Refused: It has too many digits.
    """
    if isinstance(value, int):
        type_ = INT64 if -(2**63) <= value < 2**63 else UINT64
        if not -(2**63) <= value < 2**64:
            type_ = decimal_type(len(str(abs(value))), 0)
        return Typed(f"CAST({value} AS {storage_type(type_)})", type_, False, constant=value)
    precision, scale = decimal_digits(value)
    if precision > MAX_DIGITS:
        raise Refused(f"{value} has more than {MAX_DIGITS} digits")
    type_ = pa.decimal128(precision, scale)
    return Typed(f"CAST('{value:f}' AS {storage_type(type_)})", type_, False, constant=value)


def is_text(type_: pa.DataType) -> bool:
    """Return whether a type is text."""
    return type_ in (TEXT, LONG_TEXT)


def is_bytes(type_: pa.DataType) -> bool:
    """Return whether a type is binary."""
    return type_ in (BYTES, pa.large_binary())


def is_number(type_: pa.DataType) -> bool:
    """Return whether a type can be calculated with; truth values count as 0 and 1."""
    t = pa.types
    return bool(
        t.is_integer(type_) or t.is_decimal(type_) or t.is_floating(type_) or t.is_boolean(type_)
    )


def is_time(type_: pa.DataType) -> bool:
    """Return whether a type is a date or a timestamp."""
    return bool(pa.types.is_date(type_) or pa.types.is_timestamp(type_))


def words(type_: pa.DataType) -> str:
    """Return a type in words for messages."""
    if is_text(type_):
        return "text"
    if is_bytes(type_):
        return "binary"
    return "NULL" if type_ == NULL else str(type_)


def digits_of(value: Typed) -> tuple[int, int]:
    """Return precision and scale a number takes as DECIMAL.

    Raises:
        Refused: It is no exact number.
    """
    type_ = value.type
    if isinstance(value.constant, int | Decimal):
        return decimal_digits(Decimal(value.constant))
    if pa.types.is_decimal(type_):
        return type_.precision, type_.scale
    if type_ in (BOOL, NULL):
        return 1, 0
    if pa.types.is_integer(type_):
        widths = {8: 3, 16: 5, 32: 10, 64: 20 if type_ == UINT64 else 19}
        return widths[type_.bit_width], 0
    raise Refused(f"{words(type_)} is no exact number", "CAST(… AS DECIMAL(p, s)) says the digits")


def decimal_digits(value: Decimal) -> tuple[int, int]:
    """Return precision and scale of a literal."""
    _, digits, exponent = value.as_tuple()
    scale = max(0, -int(exponent))
    return max(len(digits) + max(0, int(exponent)), scale, 1), scale


def decimal_type(precision: int, scale: int) -> pa.DataType:
    """Return a DECIMAL of at most 38 digits.

    More digits before the point than fit are left to the values: one that overflows is a failed
    row. Digits behind the point are never given up.

    Raises:
        Refused: There is no room for the digits behind the point.
    """
    if scale > MAX_DIGITS:
        raise Refused(
            f"the result needs {scale} digits behind the point, and 38 digits are all there are",
            "CAST an operand to a DECIMAL with fewer digits, or to DOUBLE",
        )
    return pa.decimal128(min(precision, MAX_DIGITS), scale)


def common(values: Sequence[Typed], what: str) -> pa.DataType:
    """Return the narrowest type that holds every value of all parts without loss.

    Args:
        values: At least one.
        what: What they are parts of, for messages.

    Raises:
        Refused: There is none.
    """
    varying = [v for v in values if v.constant is None and v.type != NULL]
    fixed = [v for v in values if v.constant is not None]
    if varying:
        found = reduce(lambda a, b: _wider(a, b.type, what), varying[1:], varying[0].type)
        return reduce(lambda a, b: _with_constant(a, b, what), fixed, found)
    if not fixed:
        return NULL
    return reduce(lambda a, b: _wider(a, b.type, what), fixed[1:], fixed[0].type)


def _wider(a: pa.DataType, b: pa.DataType, what: str) -> pa.DataType:
    if a == b or b == NULL:
        return a
    if a == NULL:
        return b
    if is_text(a) and is_text(b):
        return LONG_TEXT
    if is_bytes(a) and is_bytes(b):
        return pa.large_binary()
    if is_time(a) and is_time(b):
        return STAMP
    if is_number(a) and is_number(b):
        return _wider_number(a, b, what)
    raise _no_common(a, b, what)


def _wider_number(a: pa.DataType, b: pa.DataType, what: str) -> pa.DataType:
    floats = [t for t in (a, b) if pa.types.is_floating(t)]
    if floats:
        other = b if a == floats[0] else a
        exact = pa.types.is_floating(other) or other == BOOL
        if exact or (pa.types.is_integer(other) and other.bit_width <= 32):
            return DOUBLE
        raise _no_common(a, b, what)
    if pa.types.is_decimal(a) or pa.types.is_decimal(b) or UINT64 in (a, b):
        return _wider_decimal(a, b, what)
    ints = [t for t in (a, b) if t != BOOL]
    signed = [t.bit_width for t in ints if pa.types.is_signed_integer(t)]
    unsigned = [t.bit_width for t in ints if pa.types.is_unsigned_integer(t)]
    if not signed:
        return {8: pa.uint8(), 16: pa.uint16(), 32: pa.uint32()}[max(unsigned)]
    width = max(*signed, *(2 * u for u in unsigned), 8)
    return {8: pa.int8(), 16: pa.int16(), 32: INT32, 64: INT64}[width]


def _wider_decimal(a: pa.DataType, b: pa.DataType, what: str) -> pa.DataType:
    small = (pa.uint8(), pa.uint16(), pa.uint32(), BOOL)
    if UINT64 in (a, b) and (a in small or b in small):
        return UINT64
    (p1, s1), (p2, s2) = digits_of(Typed("", a)), digits_of(Typed("", b))
    scale, whole = max(s1, s2), max(p1 - s1, p2 - s2)
    if whole + scale > MAX_DIGITS:
        raise _no_common(a, b, what)
    return pa.decimal128(whole + scale, scale)


def _with_constant(type_: pa.DataType, literal: Typed, what: str) -> pa.DataType:
    """Return the type that also holds a literal: the same one where the literal fits."""
    value = literal.constant
    if isinstance(value, str) and (is_time(type_) or type_ == TIME or is_bytes(type_)):
        parsed = time_literal(value, type_) if not is_bytes(type_) else type_
        return STAMP if parsed == STAMP and type_ == DATE else type_
    if isinstance(value, int | Decimal | float) and pa.types.is_floating(type_):
        return DOUBLE
    if isinstance(value, int | Decimal) and _fits(value, type_):
        return type_
    return _wider(type_, _literal_type(literal), what)


def _literal_type(literal: Typed) -> pa.DataType:
    value = literal.constant
    if isinstance(value, Decimal):
        return decimal_type(*decimal_digits(value))
    return literal.type


def _fits(value: int | Decimal, type_: pa.DataType) -> bool:
    if pa.types.is_integer(type_):
        unsigned = pa.types.is_unsigned_integer(type_)
        low = 0 if unsigned else -(2 ** (type_.bit_width - 1))
        high = 2 ** (type_.bit_width - (not unsigned)) - 1
        return value == int(value) and low <= value <= high
    if pa.types.is_decimal(type_):
        precision, scale = decimal_digits(Decimal(value))
        return bool(scale <= type_.scale and precision - scale <= type_.precision - type_.scale)
    return False


def time_literal(value: str, type_: pa.DataType) -> pa.DataType:
    """Return the type a text literal is read as where it meets a date, timestamp or duration.

    Raises:
        Refused: It is not written as one.
    """
    try:
        if type_ == TIME:
            duration_micros(value)
            return TIME
        if re.fullmatch(DATE_TEXT, value):
            dt.date(*(int(p) for p in value.strip().split("-")))
            return DATE
        if re.fullmatch(STAMP_TEXT, value):
            return STAMP
    except ValueError:
        pass
    raise Refused(
        f"{quote_text(value)} is not written as a {words(type_)}",
        "write '2026-01-31', '2026-01-31 23:59:59' or, for TIME, '12:30:00'",
    )


def duration_micros(text: str) -> int:
    """Return a MySQL TIME text in microseconds.

    Raises:
        ValueError: It is not written as one.
    """
    found = _TIME_TEXT.fullmatch(text.strip())
    if not found or int(found[3]) > 59 or int(found[4]) > 59:
        raise ValueError(text)
    seconds = int(found[2]) * 3600 + int(found[3]) * 60 + int(found[4])
    micros = seconds * 1_000_000 + int((found[5] or "0").ljust(6, "0"))
    return -micros if found[1] else micros


def coerce(value: Typed, type_: pa.DataType) -> Typed:
    """Return a part in a type that holds all its values (see `common`)."""
    if value.type == type_:
        return value
    if isinstance(value.constant, str) and type_ == TIME:
        micros = duration_micros(value.constant)
        return replace(value, sql=f"CAST({micros} AS BIGINT)", type=TIME)
    if isinstance(value.constant, str) and is_bytes(type_):
        encoded = value.constant.encode().hex()
        return replace(value, sql=f"unhex('{encoded}')", type=type_)
    target, now = storage_type(type_), storage_type(value.type)
    sql = value.sql if target == now else f"CAST({value.sql} AS {target})"
    return replace(value, sql=sql, type=type_, column=None)


def _no_common(a: pa.DataType, b: pa.DataType, what: str) -> Refused:
    return Refused(
        f"{what} mixes {words(a)} and {words(b)}, and no type holds both without loss",
        "say which is meant by CAST(… AS …)",
    )
