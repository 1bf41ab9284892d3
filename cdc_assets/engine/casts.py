"""Exact casts of Arrow arrays: every value arrives as it is, or is named as one that does not fit.

In: an array and the type it shall have. Out: an array of that type and the mask of what does not
fit. Arrow's own casts refuse a whole array for one value, or round; they are used where they do
neither.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from resources.model.arrays import from_mask, from_numbers

Mask: TypeAlias = npt.NDArray[np.bool_]
_Numbers: TypeAlias = npt.NDArray[Any]
_DIGITS = 76
_NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_DAY = 86_400 * 10**9


def can_cast(given: pa.DataType, wanted: pa.DataType) -> bool:
    """Return whether some values of a type are exactly values of another one.

    Numbers never become text, floats never decimals, times without a zone never times with one.
    """
    return bool(given == wanted or _families(given) & _families(wanted))


def cast(values: pa.Array, wanted: pa.DataType) -> tuple[pa.Array, Mask | None]:
    """Return an array in another type, with NULL where a value is not exactly one of that type.

    Args:
        values: Any array.
        wanted: A type with `can_cast(values.type, wanted)`.

    Returns:
        The array, and the mask of the values that do not fit, None if all do.
    """
    given = values.type
    if given == wanted:
        return values, None
    if _is_decimal(given) or _is_decimal(wanted):
        return _cast_decimals(values, wanted)
    if _ticks(given):
        return _fit(values, wanted, *_convert_ticks(values, wanted))
    if _families(given) & {"float", "decimal"}:
        return _fit(values, wanted, *_convert_numbers(_numbers(values, given), wanted))
    return values.cast(wanted), None  # text and bytes: only the width of the offsets differs


def valid(values: pa.Array | pa.ChunkedArray) -> Mask:
    """Return the mask of the values that are not NULL."""
    known = values.is_valid()
    return _to_mask(known.combine_chunks() if isinstance(known, pa.ChunkedArray) else known)


def _families(arrow: pa.DataType) -> frozenset[str]:
    t = pa.types
    if t.is_integer(arrow):
        return frozenset({"float", "decimal"})
    if t.is_float32(arrow) or t.is_float64(arrow):
        return frozenset({"float"})
    if _is_decimal(arrow):
        return frozenset({"decimal"})
    if t.is_string(arrow) or t.is_large_string(arrow):
        return frozenset({"text"})
    if t.is_binary(arrow) or t.is_large_binary(arrow):
        return frozenset({"bytes"})
    if t.is_date32(arrow) or t.is_timestamp(arrow):
        return frozenset({f"time {arrow.tz if t.is_timestamp(arrow) else None}"})
    return frozenset({"duration"} if t.is_duration(arrow) else ())


def _is_decimal(arrow: pa.DataType) -> bool:
    return bool(pa.types.is_decimal128(arrow) or pa.types.is_decimal256(arrow))


def _ticks(arrow: pa.DataType) -> int:
    """Return the nanoseconds of one tick of a time or duration, 0 for other types."""
    if pa.types.is_date32(arrow):
        return _DAY
    if pa.types.is_timestamp(arrow) or pa.types.is_duration(arrow):
        return _NANOSECONDS[arrow.unit]
    return 0


def _numbers(values: pa.Array, arrow: pa.DataType) -> _Numbers:
    """Return the numbers an array is made of, whatever they are where it is NULL."""
    dtype = _dtype(arrow)
    if not len(values):  # there may be no buffer
        return np.empty(0, dtype)
    return np.frombuffer(values.buffers()[1], dtype, len(values), values.offset * dtype.itemsize)


def _dtype(arrow: pa.DataType) -> np.dtype[Any]:
    kind = "f" if pa.types.is_floating(arrow) else "u" if _is_unsigned(arrow) else "i"
    return np.dtype(f"{kind}{arrow.bit_width // 8}")


def _is_unsigned(arrow: pa.DataType) -> bool:
    return bool(pa.types.is_unsigned_integer(arrow))


def _limits(arrow: pa.DataType) -> tuple[int, int]:
    bits = arrow.bit_width
    return (0, 2**bits - 1) if _is_unsigned(arrow) else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _fit(
    values: pa.Array, wanted: pa.DataType, numbers: _Numbers, unfit: Mask | None
) -> tuple[pa.Array, Mask | None]:
    """Return converted numbers as an array that is NULL where they do not fit or were NULL."""
    cast_values = from_numbers(wanted, np.ascontiguousarray(numbers))
    if unfit is not None and values.null_count:
        unfit &= valid(values)
    if unfit is not None and not unfit.any():
        unfit = None
    if unfit is None and not values.null_count:
        return cast_values, None
    known = valid(values) if unfit is None else valid(values) & ~unfit
    return pc.if_else(from_mask(known), cast_values, pa.scalar(None, wanted)), unfit


def _to_mask(booleans: pa.BooleanArray) -> Mask:
    if not len(booleans):
        return np.zeros(0, dtype=bool)
    bits = np.frombuffer(booleans.buffers()[1], np.uint8)
    offset = booleans.offset
    return np.unpackbits(bits, count=offset + len(booleans), bitorder="little")[offset:].view(bool)


def _convert_numbers(numbers: _Numbers, wanted: pa.DataType) -> tuple[_Numbers, Mask | None]:
    """Convert between integers and floats."""
    floats = pa.types.is_floating(wanted)
    if floats and numbers.dtype.kind == "f":
        return _float_to_float(numbers, wanted)
    if floats:
        return _integer_to_float(numbers, wanted)
    low, high = _limits(wanted)
    dtype = _dtype(wanted)
    if numbers.dtype.kind == "f":
        # `high` itself may not be a float, the power of two after it is
        fits = (numbers >= low) & (numbers < float(high + 1)) & (np.floor(numbers) == numbers)
        return np.where(fits, numbers, 0).astype(dtype), ~fits
    return numbers.astype(dtype), (numbers < low) | (numbers > high)


def _float_to_float(numbers: _Numbers, wanted: pa.DataType) -> tuple[_Numbers, Mask | None]:
    if wanted.bit_width > numbers.dtype.itemsize * 8:
        return numbers.astype(np.float64), None
    with np.errstate(over="ignore", invalid="ignore"):
        small = numbers.astype(np.float32)
    return small, (small.astype(np.float64) != numbers) & ~np.isnan(numbers)


def _integer_to_float(numbers: _Numbers, wanted: pa.DataType) -> tuple[_Numbers, Mask]:
    floats: npt.NDArray[np.floating[Any]] = numbers.astype(_dtype(wanted))
    high = 2.0 ** (numbers.dtype.itemsize * 8 - (numbers.dtype.kind == "i"))
    inside = floats < high  # a float past the integer's end would not come back
    back = np.where(inside, floats, 0).astype(numbers.dtype)
    return floats, ~inside | (back != numbers)


def _convert_ticks(values: pa.Array, wanted: pa.DataType) -> tuple[_Numbers, Mask]:
    """Convert between days, times and durations of any unit."""
    numbers = _numbers(values, values.type).astype(np.int64)
    given, made = _ticks(values.type), _ticks(wanted)
    if given >= made:
        factor = given // made
        most = (2**63 - 1) // factor
        unfit = (numbers > most) | (numbers < -most)
        return np.where(unfit, 0, numbers) * factor, unfit
    whole, rest = np.divmod(numbers, made // given)
    if not pa.types.is_date32(wanted):
        return whole, rest != 0
    low, high = _limits(pa.int32())
    return whole.astype(np.int32), (rest != 0) | (whole < low) | (whole > high)


def _cast_decimals(values: pa.Array, wanted: pa.DataType) -> tuple[pa.Array, Mask | None]:
    """Cast between decimals, or between them and integers."""
    if not _may_wrap(values.type, wanted):
        try:  # refuses what does not fit, and integers by their type alone
            return values.cast(wanted), None
        except pa.ArrowInvalid:
            pass
    scale = values.type.scale if _is_decimal(values.type) else 0
    exact = values.cast(pa.decimal256(_DIGITS, scale))
    unfit = _to_mask(pc.fill_null(_too_precise(exact, wanted), False))
    unfit |= _to_mask(pc.fill_null(_too_large(exact, wanted), False))
    fitting = pc.if_else(from_mask(~unfit), exact, pa.scalar(None, exact.type))
    return fitting.cast(wanted), unfit if unfit.any() else None


def _may_wrap(given: pa.DataType, wanted: pa.DataType) -> bool:
    """Return whether Arrow's cast may multiply past its integers, which it does not notice."""
    if not (_is_decimal(given) and _is_decimal(wanted)):
        return False
    room = wanted.precision - wanted.scale - (given.precision - given.scale)
    return bool(wanted.scale > given.scale and room < 0)


def _too_precise(exact: pa.Array, wanted: pa.DataType) -> pa.Array:
    scale = wanted.scale if _is_decimal(wanted) else 0
    if scale >= exact.type.scale:
        return from_mask(np.zeros(len(exact), dtype=bool))
    cut = exact.cast(pa.decimal256(_DIGITS, scale), safe=False)
    return pc.not_equal(cut.cast(exact.type), exact)


def _too_large(exact: pa.Array, wanted: pa.DataType) -> pa.Array:
    if _is_decimal(wanted):
        high = 10 ** (wanted.precision - wanted.scale) - 1
        low = -high
    else:
        low, high = _limits(wanted)
    whole = exact.cast(pa.decimal256(_DIGITS, 0), safe=False)
    least, most = (pa.scalar(Decimal(n), whole.type) for n in (low, high))
    return pc.or_(pc.less(whole, least), pc.greater(whole, most))
