"""CAST: the one place where a value may become another one, since the user asks for it.

In: a value and the type asked for. Out: typed SQL. What cannot be read as the type fails its row,
where MySQL takes the part it can read and warns.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from cdc_assets.engine.transforms.arithmetic import whole
from cdc_assets.engine.transforms.functions import as_storage, as_text
from cdc_assets.engine.transforms.functions_time import as_date, as_stamp, text_to_time
from cdc_assets.engine.transforms.typed import (
    BOOL,
    BYTES,
    DATE,
    DOUBLE,
    INT32,
    INT64,
    MAX_DIGITS,
    NULL,
    STAMP,
    UINT64,
    Refused,
    Typed,
    derive,
    is_bytes,
    is_number,
    is_text,
    is_time,
    quote_text,
    words,
)

_WHOLE = {
    "TINYINT": pa.int8(),
    "SMALLINT": pa.int16(),
    "MEDIUMINT": INT32,
    "INT": INT32,
    "BIGINT": INT64,
    "UTINYINT": pa.uint8(),
    "USMALLINT": pa.uint16(),
    "UMEDIUMINT": pa.uint32(),
    "UINT": pa.uint32(),
    "UBIGINT": UINT64,
}
_TEXTS = ("CHAR", "NCHAR", "VARCHAR", "NVARCHAR", "TEXT", "LONGTEXT", "STRING")
_BINARY = ("BINARY", "VARBINARY", "BLOB", "LONGBLOB")
_STAMPS = ("DATETIME", "TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMPLTZ", "TIMESTAMPNTZ")
_FLOATS = {"DOUBLE": DOUBLE, "FLOAT": pa.float32()}
_WHOLE_TEXT = r"\s*[+-]?[0-9]+\s*"
_NUMBER_TEXT = r"\s*[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?\s*"


def cast(value: Typed, to: Any) -> Typed:  # noqa: ANN401 - sqlglot's DataType
    """Return a value as another type.

    Args:
        value: The value.
        to: The type as sqlglot read it.

    Raises:
        Refused: There is no such type, or such values are never of it.
    """
    name = to.this.value if hasattr(to.this, "value") else str(to.this)
    numbers = [int(p.name) for p in to.expressions]
    if name in _WHOLE:
        return _to_whole(value, _WHOLE[name])
    if name == "DECIMAL":
        return _to_decimal(value, *(numbers or [10]))
    if name in _FLOATS:
        return _to_float(value, _FLOATS[name])
    if name in _TEXTS:
        return _to_text(value, numbers[0] if numbers else None)
    if name == "DATE":
        return _to_date(value)
    if name in _STAMPS:
        return _to_stamp(value, numbers[0] if numbers else None)
    if name == "BOOLEAN":
        return _to_bool(value)
    if name in _BINARY:
        return _to_bytes(value)
    raise Refused(
        f"there is no cast to {to.sql(dialect='mysql')}",
        "known are SIGNED, UNSIGNED, INT, BIGINT, DECIMAL(p, s), DOUBLE, FLOAT, CHAR, STRING, "
        "DATE, DATETIME, TIMESTAMP, BOOLEAN and BINARY",
    )


def _to_whole(value: Typed, type_: pa.DataType) -> Typed:
    """Return a number or text as a whole number, rounded half away from zero."""
    if value.type == NULL:
        return _null(type_)
    if is_text(value.type):
        return derive(as_storage(_checked(value, _WHOLE_TEXT), type_), type_, value)
    if not is_number(value.type):
        raise _never(value, "a whole number", "UNIX_TIMESTAMP, YEAR or DATE_FORMAT give numbers")
    if pa.types.is_floating(value.type):
        sql = f"round_even({value.sql}, 0)"
        return derive(as_storage(sql, type_), type_, value)
    return derive(as_storage(value.sql, type_), type_, value)


def _to_decimal(value: Typed, precision: int, scale: int = 0) -> Typed:
    if not 1 <= precision <= MAX_DIGITS or not 0 <= scale <= precision:
        raise Refused(f"DECIMAL({precision},{scale}): up to {MAX_DIGITS} digits can be cast to")
    type_ = pa.decimal128(precision, scale)
    if value.type == NULL:
        return _null(type_)
    if is_text(value.type):
        return derive(as_storage(_checked(value, _NUMBER_TEXT), type_), type_, value)
    if not is_number(value.type):
        raise _never(value, "a DECIMAL", "UNIX_TIMESTAMP, YEAR or DATE_FORMAT give numbers")
    inner = whole(value) if value.type == BOOL else value
    return derive(as_storage(inner.sql, type_), type_, value)


def _to_float(value: Typed, type_: pa.DataType) -> Typed:
    if value.type == NULL:
        return _null(type_)
    if is_text(value.type):
        return derive(as_storage(_checked(value, _NUMBER_TEXT), type_), type_, value)
    if not is_number(value.type):
        raise _never(value, "a float", "UNIX_TIMESTAMP, YEAR or DATE_FORMAT give numbers")
    return derive(as_storage(value.sql, type_), type_, value)


def _to_text(value: Typed, length: int | None) -> Typed:
    text = as_text(value, "the value")
    if length is None:
        return derive(text.sql, text.type, text)
    return derive(f"left({text.sql}, {length})", text.type, text)


def _to_date(value: Typed) -> Typed:
    if value.type == NULL:
        return _null(DATE)
    if is_text(value.type):
        day = text_to_time(value, STAMP)
        return derive(f"CAST({day.sql} AS DATE)", DATE, value)
    if not is_time(value.type):
        raise _never(value, "a DATE", "FROM_UNIXTIME reads seconds")
    return as_date(value)


def _to_stamp(value: Typed, digits: int | None) -> Typed:
    if value.type == NULL:
        return _null(STAMP)
    if is_text(value.type):
        stamp = text_to_time(value, STAMP)
    elif is_time(value.type):
        stamp = as_stamp(value)
    else:
        raise _never(value, "a timestamp", "FROM_UNIXTIME reads seconds")
    if digits is None or digits >= 6:
        return stamp
    step = 10 ** (6 - digits)  # MySQL rounds half up
    micros = f"epoch_us({stamp.sql})"
    rest = f"((({micros} + {step // 2}) % {step} + {step}) % {step})"
    return derive(f"make_timestamp({micros} + {step // 2} - {rest})", STAMP, stamp)


def _to_bool(value: Typed) -> Typed:
    if value.type == NULL:
        return _null(BOOL)
    if not is_number(value.type):
        raise _never(value, "a BOOLEAN", "compare it, e.g. column = 'yes'")
    return value if value.type == BOOL else derive(f"({value.sql} <> 0)", BOOL, value)


def _to_bytes(value: Typed) -> Typed:
    if is_bytes(value.type):
        return value
    text = as_text(value, "the value")
    return derive(f"encode({text.sql})", BYTES, text)


def _checked(value: Typed, form: str) -> str:
    """Return text that is not of a form as text that no cast takes."""
    good = f"regexp_full_match({value.sql}, {quote_text(form)})"
    return f"CASE WHEN {good} THEN {value.sql} ELSE 'no number: ' || {value.sql} END"


def _null(type_: pa.DataType) -> Typed:
    return Typed(as_storage("NULL", type_), type_)


def _never(value: Typed, wanted: str, remedy: str) -> Refused:
    return Refused(f"{words(value.type)} is never {wanted}", remedy)
