"""Values of every scalar type as text, the same however they were read.

In: Arrow arrays. Out: strings that read back to the same value: numbers without an exponent
where they are exact, dates and times in ISO's order.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from resources.model.table import Column

_HOUR, _MINUTE, _SECOND = 3_600_000_000, 60_000_000, 1_000_000
_FRACTION_ZEROS = r"\.?0*(Z?)$"


def to_text(values: pa.Array, column: Column) -> pa.StringArray:
    """Return an array's values as text.

    Whole numbers and decimals have all their digits, floats the fewest that read back, booleans
    are `true` and `false`. Dates are `2026-01-31`, times `2026-01-31 23:59:59.5` with no more
    digits of a second than needed and a `Z` if they are in UTC, durations `-01:30:00`.

    Args:
        values: Of any type but bytes and nested ones.
        column: Whose values they are; its kind tells years (four digits) from numbers.
    """
    t, arrow = pa.types, values.type
    if t.is_decimal(arrow):
        return _decimals(values)
    if t.is_timestamp(arrow):
        return pc.replace_substring_regex(values.cast(pa.string()), _FRACTION_ZEROS, r"\1")
    if t.is_duration(arrow):
        return _durations(values)
    text = values.cast(pa.string())
    return _padded(text, 4) if column.kind == "year" else text


def _decimals(values: pa.Array) -> pa.StringArray:
    """Return all digits; Arrow's own cast writes small numbers with an exponent."""
    text = values.cast(pa.string())
    short = pc.fill_null(pc.match_substring(text, "E"), False)
    if not pc.any(short).as_py():
        return text
    written = [format(value.as_py(), "f") for value in values.filter(short)]
    return pc.replace_with_mask(text, short, pa.array(written, pa.string()))


def _durations(values: pa.Array) -> pa.StringArray:
    """Return `hh:mm:ss.ffffff` without zeros at the end of the fraction."""
    count = values.cast(pa.duration("us")).cast(pa.int64())
    left = pc.abs(count)
    parts = []
    for unit in (_HOUR, _MINUTE, _SECOND):
        whole = pc.divide(left, unit)
        left = pc.subtract(left, pc.multiply(whole, unit))
        parts.append(_padded(whole.cast(pa.string()), 2))
    sign = pc.if_else(pc.less(count, 0), "-", "")
    clock = pc.binary_join_element_wise(*parts, ":")
    fraction = _padded(left.cast(pa.string()), 6)
    text = pc.binary_join_element_wise(sign, clock, ".", fraction, "")
    return pc.replace_substring_regex(text, _FRACTION_ZEROS, r"\1")


def _padded(text: pa.StringArray, width: int) -> pa.StringArray:
    return pc.utf8_lpad(text, width, "0")
