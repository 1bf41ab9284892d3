"""Which values a change of type would change, as conditions a MySQL-family server can count.

In: a column and two types. Out: the condition that a value of the one is another in the other.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.types as t

from resources.sinks.retype import is_exact

_MANTISSA = {32: 24, 64: 53}
_FLOAT32 = "3.4028234663852886e38"
_NORMAL32 = "1.1754943508222875e-38"
_SPLIT = "536870913e0"
"""2 ** 29 + 1: adding and taking away so many times a double leaves the 24 bits of a float."""
_STEPS32 = "7.136238463529799e44"
"""2 ** 149: subnormal floats are whole multiples of its inverse."""


def misfit(column: str, old: pa.DataType, new: pa.DataType) -> str:
    """Return the condition that a value of the old type would change in the new one.

    Args:
        column: Its quoted name.
        old: The type its values have.
        new: A type `retype.convertible` names.
    """
    if t.is_integer(new):
        bits, signed = new.bit_width, t.is_signed_integer(new)
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        return f"{column} < {low} OR {column} > {high} OR {column} <> TRUNCATE({column}, 0)"
    if t.is_decimal(new):
        top = 10 ** (new.precision - new.scale)
        beyond = f"{column} >= {top} OR {column} <= -{top}"
        return f"{beyond} OR {column} <> ROUND({column}, {new.scale})"
    if is_exact(old):
        return _whole_in_float(column, old, _MANTISSA[new.bit_width])
    if t.is_floating(new):
        return _double_in_float(column)
    if t.is_date(new):
        return f"{column} <> CAST(DATE({column}) AS DATETIME(6))"
    return "FALSE"


def _whole_in_float(column: str, old: pa.DataType, bits: int) -> str:
    """Return the condition that a whole number has more digits than a float's mantissa has bits.

    The number is one of the float's if it is a multiple of the spacing of floats of its size.
    """
    signed = t.is_signed_integer(old)
    cases = []
    for power in range(bits, 65):
        within = f"{column} <= {2**power}" + (f" AND {column} >= -{2**power}" if signed else "")
        spacing = 2 ** max(power - bits, 0)
        cases.append(f"WHEN {within} THEN MOD({column}, {spacing}) <> 0")
    return f"CASE {' '.join(cases)} ELSE FALSE END"


def _double_in_float(column: str) -> str:
    large = f"{column} * {_SPLIT}"
    rounded = f"({large} - ({large} - {column})) <> {column}"
    steps = f"{column} * {_STEPS32}"
    return (
        f"CASE WHEN {column} = 0 THEN FALSE WHEN ABS({column}) > {_FLOAT32} THEN TRUE "
        f"WHEN ABS({column}) < {_NORMAL32} THEN {steps} <> FLOOR({steps}) ELSE {rounded} END"
    )
