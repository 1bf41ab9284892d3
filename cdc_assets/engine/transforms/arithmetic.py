"""Arithmetic as MySQL does it, exact or refused.

In: operands with types. Out: typed SQL.

Whole numbers give int64, and DECIMAL where an unsigned 64-bit one takes part. DECIMAL follows
MySQL's digits up to 38; a value that needs more is a failed row, never a rounded one. `/` of exact
numbers gives a DECIMAL with four more digits behind the point than its left side, rounded half away
from zero once; in a longer expression MySQL carries more digits from one division to the next.
Division by zero gives NULL.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pyarrow as pa

from cdc_assets.engine.transforms.typed import (
    DOUBLE,
    INT64,
    MAX_DIGITS,
    NULL,
    UINT64,
    Refused,
    Typed,
    coerce,
    common,
    decimal_type,
    derive,
    digits_of,
    is_number,
    literal,
    storage_type,
    words,
)

DIVISION_DIGITS = 4
"""MySQL's `div_precision_increment`."""


def calculate(sign: str, left: Typed, right: Typed) -> Typed:
    """Return `left sign right` for `+ - * / % DIV`.

    Raises:
        Refused: Operands that are no numbers, or no type holds the result.
    """
    for side in (left, right):
        if not is_number(side.type) and side.type != NULL:
            raise Refused(
                f"{sign} calculates with numbers, not with {words(side.type)}",
                "CAST the text to the number it stands for; add to dates by INTERVAL",
            )
    if NULL in (left.type, right.type):
        return Typed("NULL", NULL, constant=None)
    if any(pa.types.is_floating(s.type) for s in (left, right)):
        return _floating(sign, left, right)
    if sign == "/":
        return _quotient(left, right)
    exact = any(
        pa.types.is_decimal(s.type) or s.type == UINT64 or isinstance(s.constant, Decimal)
        for s in (left, right)
    )
    if exact:
        return _decimal(sign, left, right)
    a, b = whole(left), whole(right)
    nullable = True if sign in ("%", "DIV") else None
    name = "//" if sign == "DIV" else sign
    return derive(f"({a.sql} {name} {b.sql})", INT64, left, right, nullable=nullable)


def negate(value: Typed) -> Typed:
    """Return the number with the other sign.

    Raises:
        Refused: It is no number.
    """
    if isinstance(value.constant, int | Decimal):
        return literal(-value.constant)
    if isinstance(value.constant, float):
        return Typed(f"(-{value.sql})", value.type, False, constant=-value.constant)
    if pa.types.is_decimal(value.type):
        return derive(f"(-{value.sql})", value.type, value)
    return calculate("-", Typed("CAST(0 AS BIGINT)", INT64, False, constant=0), value)


def whole(value: Typed) -> Typed:
    """Return a whole number of up to 64 bits as int64, a truth value as 0 or 1."""
    if value.type == INT64:
        return value
    return derive(f"CAST({value.sql} AS BIGINT)", INT64, value)


def finite(value: Typed) -> Typed:
    """Return what fails its row where a DOUBLE is infinite, as MySQL's out of range does."""
    if not value.overflows or not pa.types.is_floating(value.type):
        return value
    # Text that is no number; it depends on the row, so that it is not folded away.
    failing = f"CAST('out of range ' || CAST({value.sql} AS VARCHAR) AS DOUBLE)"
    good = f"isfinite({value.sql}) OR {value.sql} IS NULL"
    sql = f"CASE WHEN {good} THEN {value.sql} ELSE {failing} END"
    return derive(sql, value.type, value)


def as_decimal(value: Typed) -> Typed:
    """Return an exact number as DECIMAL.

    Raises:
        Refused: It is no exact number, or has more than 38 digits.
    """
    precision, scale = digits_of(value)
    if precision > MAX_DIGITS:
        raise Refused(f"{precision} digits are more than the 38 that can be calculated with")
    type_ = pa.decimal128(precision, scale)
    return derive(f"CAST({value.sql} AS {storage_type(type_)})", type_, value)


def _floating(sign: str, left: Typed, right: Typed) -> Typed:
    if sign == "DIV":
        raise Refused("DIV divides whole numbers and decimals", "write FLOOR(a / b)")
    common([left, right], sign)  # refuses what a DOUBLE cannot hold
    a, b = coerce(left, DOUBLE).sql, coerce(right, DOUBLE).sql
    if sign in "/%":  # DuckDB divides a DOUBLE by zero to infinity
        found = derive(f"({a} {sign} nullif({b}, 0))", DOUBLE, left, right, nullable=True)
    else:
        found = derive(f"({a} {sign} {b})", DOUBLE, left, right)
    return replace(found, overflows=True)


def _decimal(sign: str, left: Typed, right: Typed) -> Typed:
    a, b = as_decimal(left), as_decimal(right)
    (p1, s1), (p2, s2) = digits_of(a), digits_of(b)
    scale = max(s1, s2)
    if sign == "DIV":
        digits = max(p1 - s1, p2 - s2) + scale
        x, y = _units(a, scale, digits, sign), _units(b, scale, digits, sign)
        sql = f"CAST({x} // {y} AS BIGINT)"
        return derive(sql, INT64, left, right, nullable=True)
    if sign == "*":
        type_ = decimal_type(p1 + p2, s1 + s2)
    else:
        type_ = decimal_type(max(p1 - s1, p2 - s2) + scale + (sign != "%"), scale)
    sql = f"CAST({a.sql} {sign} {b.sql} AS {storage_type(type_)})"
    return derive(sql, type_, left, right, nullable=True if sign == "%" else None)


def _quotient(left: Typed, right: Typed) -> Typed:
    a, b = as_decimal(left), as_decimal(right)
    (p1, s1), (p2, s2) = digits_of(a), digits_of(b)
    precision, scale = p1 + s2 + DIVISION_DIGITS, s1 + DIVISION_DIGITS
    # (A / 10**s1) / (B / 10**s2) in units of 10**-scale, where A and B are whole numbers.
    digits = max(precision, p2)
    x, y = _units(a, scale + s2, digits, "/"), _units(b, s2, digits, "/")
    # `//` cuts towards zero; half of the divisor with the quotient's sign makes it round.
    units = f"(2 * {x} + {y} * sign({x}) * sign({y})) // (2 * {y})"
    type_ = pa.decimal128(precision, scale)
    _, most = _room(digits, "/")
    unit = f"CAST('{Decimal(1).scaleb(-scale):f}' AS DECIMAL({most},{scale}))"
    whole_units = f"CAST({units} AS DECIMAL({most},0))"
    sql = f"CAST({whole_units} * {unit} AS {storage_type(type_)})"
    return derive(sql, type_, left, right, nullable=True)


def _room(digits: int, sign: str) -> tuple[str, int]:
    """Return the integer type in which numbers of so many digits can be doubled, and its digits."""
    for name, most in (("BIGINT", 18), ("HUGEINT", MAX_DIGITS)):
        if digits < most:
            return name, most
    raise _too_wide(sign)


def _units(value: Typed, scale: int, digits: int, sign: str) -> str:
    """Return a DECIMAL as a whole number of units of 10**-scale, which is not less than its own."""
    name, most = _room(digits, sign)
    precision, own = digits_of(value)
    if own == 0:
        units = f"CAST({value.sql} AS {name})"
    else:
        most = most if precision + own <= most else MAX_DIGITS
        if precision + own > most:
            raise _too_wide(sign)
        units = f"CAST(CAST({value.sql} AS DECIMAL({most},{own})) * {10**own} AS {name})"
    return f"({units} * {10 ** (scale - own)}::{name})"


def _too_wide(sign: str) -> Refused:
    return Refused(
        f"{sign} of these decimals needs more than 38 digits on the way",
        "CAST an operand to a DECIMAL with fewer digits, or to DOUBLE",
    )
