"""Functions of numbers, as MySQL's: exact for exact numbers.

In: calls. Out: typed SQL. TRUNCATE of text cuts it to a length, as Paimon's does; Paimon's TRUNCATE
of numbers (down to a multiple of a width) is TRUNCATE_WIDTH, since MySQL has the other name.
"""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from cdc_assets.engine.transforms.arithmetic import calculate, whole
from cdc_assets.engine.transforms.functions import Builder, Call, as_storage, function
from cdc_assets.engine.transforms.typed import (
    DOUBLE,
    INT32,
    MAX_DIGITS,
    UINT64,
    Refused,
    Typed,
    decimal_type,
    derive,
    digits_of,
    is_text,
)


def _is_exact(value: Typed) -> bool:
    return not pa.types.is_floating(value.type)


def _is_whole(value: Typed) -> bool:
    return bool(pa.types.is_integer(value.type))


@function("ABS", args=(1, 1))
def _abs(call: Call) -> Typed:
    value = call.number(0)
    if pa.types.is_unsigned_integer(value.type):
        return value
    value = whole(value) if _is_whole(value) else value
    return derive(as_storage(f"abs({value.sql})", value.type), value.type, value)


def _to_whole(name: str) -> Builder:
    def build(call: Call) -> Typed:
        value = call.number(0)
        if _is_whole(value):
            return value
        if not _is_exact(value):
            return derive(f"CAST({name}({value.sql}) AS DOUBLE)", DOUBLE, value)
        precision, scale = digits_of(value)
        type_ = decimal_type(precision - scale + 1, 0) if scale else value.type
        return derive(as_storage(f"{name}({value.sql})", type_), type_, value)

    return build


function("CEIL", "CEILING", args=(1, 1))(_to_whole("ceil"))
function("FLOOR", args=(1, 1))(_to_whole("floor"))


@function("ROUND", args=(1, 2))
def _round(call: Call) -> Typed:
    value = call.number(0)
    digits = call.digits(1) if len(call.args) > 1 else 0
    if not _is_exact(value):
        # MySQL rounds floats as the C library does: a half goes to the even neighbour.
        return derive(f"CAST(round_even({value.sql}, {digits}) AS DOUBLE)", DOUBLE, value)
    return _cut("round", value, digits, grows=True)


@function("TRUNCATE", args=(2, 2))
def _truncate(call: Call) -> Typed:
    digits = call.digits(1)
    if is_text(call.args[0].type):
        text = call.text(0)
        return derive(f"left({text.sql}, {max(digits, 0)})", text.type, text)
    value = call.number(0)
    if not _is_exact(value):
        return derive(f"CAST(trunc({value.sql}, {digits}) AS DOUBLE)", DOUBLE, value)
    return _cut("trunc", value, digits, grows=False)


def _cut(name: str, value: Typed, digits: int, *, grows: bool) -> Typed:
    """Return an exact number with fewer digits behind the point, or zeros before it."""
    precision, scale = digits_of(value)
    if digits >= scale:
        return replace(value, constant=None, column=None)
    if _is_whole(value):
        type_ = UINT64 if value.type == UINT64 else pa.int64()
        wide = as_storage(value.sql, pa.decimal128(20, 0))
        return derive(as_storage(f"{name}({wide}, {digits})", type_), type_, value)
    # One more digit before the point where rounding carries, and DuckDB needs the room at once.
    left = max(digits, 0)
    room = min(precision + grows, MAX_DIGITS)
    wide = as_storage(value.sql, pa.decimal128(room, scale))
    type_ = decimal_type(max(precision - scale + left + grows, 1), left)
    return derive(as_storage(f"{name}({wide}, {digits})", type_), type_, value)


@function("TRUNCATE_WIDTH", args=(2, 2))
def _truncate_width(call: Call) -> Typed:
    """Return the greatest multiple of a width that is not above the value, as Paimon does."""
    value, width = call.number(0), call.digits(1)
    if not _is_exact(value) or width <= 0:
        raise Refused("TRUNCATE_WIDTH takes an exact number and a width above 0")
    if not _is_whole(value):  # the width counts units of the last digit
        _, scale = digits_of(value)
        unit = f"CAST('{width}e-{scale}' AS DECIMAL({MAX_DIGITS},{scale}))"
        sql = f"({value.sql} - ((({value.sql} % {unit}) + {unit}) % {unit}))"
        return derive(as_storage(sql, value.type), value.type, value)
    if value.type == UINT64:
        return derive(f"({value.sql} - {value.sql} % {width}::UBIGINT)", UINT64, value)
    value = whole(value)
    rest = f"((({value.sql} % {width}) + {width}) % {width})"
    return derive(f"CAST({value.sql} - {rest} AS BIGINT)", value.type, value)


@function("MOD", args=(2, 2))
def _mod(call: Call) -> Typed:
    return calculate("%", call.args[0], call.args[1])


@function("SIGN", args=(1, 1))
def _sign(call: Call) -> Typed:
    value = call.number(0)
    return derive(f"CAST(sign({value.sql}) AS INTEGER)", INT32, value)


def _of_double(sql: str, where: str = "") -> Builder:
    """Return a builder for a function of DOUBLEs, NULL where its condition is not met."""

    def build(call: Call) -> Typed:
        args = [call.double(i) for i in range(len(call.args))]
        texts = [a.sql for a in args]
        text = sql.format(*texts)
        if where:
            text = f"CASE WHEN {where.format(*texts)} THEN {text} END"
        found = derive(f"({text})", DOUBLE, *args, nullable=True if where else None)
        return replace(found, overflows=True)

    return build


for _name, _sql, _where in (
    ("SQRT", "sqrt({0})", "{0} >= 0"),
    ("EXP", "exp({0})", ""),
    ("LN", "ln({0})", "{0} > 0"),
    ("LOG10", "log10({0})", "{0} > 0"),
    ("LOG2", "log2({0})", "{0} > 0"),
):
    function(_name, args=(1, 1))(_of_double(_sql, _where))
function("POWER", "POW", args=(2, 2))(_of_double("power({0}, {1})"))
