"""Numbers, dates and times as the text protocol prints them, a whole column at a time, to Arrow.

In: cells of one column. Out: Arrow arrays. Cells of another form raise `pa.ArrowInvalid`: the
column is not of the type asked for.

Source: MySQL internals, "ProtocolText::ResultsetRow".
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from resources.mysql.kernels.cells import Cells, Converted, Converter, Ints, gather
from resources.mysql.kernels.numbers import fixed_array
from resources.mysql.kernels.temporal import IMPOSSIBLE_DATE, without_zeros

_MICROSECONDS = 1_000_000
_DAY_US = 86_400 * _MICROSECONDS
_LONGEST = len("YYYY-MM-DD hh:mm:ss.ffffff")
_DAYS_IN_MONTH = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 0, 0, 0])


def text_numbers(arrow: pa.DataType) -> Converter:
    """Return the converter of an integer, FLOAT or DOUBLE column.

    Args:
        arrow: Its type.
    """
    # A float32 read at once could be rounded twice otherwise than its own bits were.
    first = pa.float64() if pa.types.is_float32(arrow) else arrow
    return lambda cells: Converted(gather(cells, pa.string()).cast(first).cast(arrow))


def text_dates(arrow: pa.DataType, reject: bool) -> Converter:
    """Return the converter of a DATE, DATETIME or TIMESTAMP column.

    Args:
        arrow: date32 or timestamp[us].
        reject: Whether a zero or impossible date is a bad cell; NULL otherwise.
    """
    return lambda cells: _dates(arrow, reject, cells)


def _dates(arrow: pa.DataType, reject: bool, cells: Cells) -> Converted:
    """`YYYY-MM-DD[ hh:mm:ss[.f…]]`."""
    base, size = cells.start[~cells.null], _same_length(cells)
    dated = pa.types.is_date(arrow)
    if size and ((dated and size != 10) or (not dated and size < 19)):
        raise pa.ArrowInvalid("not a date")
    if (cells.data[base + 4] != ord("-")).any():
        raise pa.ArrowInvalid("not a date")
    year = _digits(cells, base, (0, 1, 2, 3))
    month, day = _digits(cells, base, (5, 6)), _digits(cells, base, (8, 9))
    value = _days(year, month, day)
    if not dated:
        seconds = _digits(cells, base, (11, 12)) * 3600 + _digits(cells, base, (14, 15)) * 60
        seconds += _digits(cells, base, (17, 18))
        value = value * _DAY_US + seconds * _MICROSECONDS + _fraction(cells, base, 20, size)
    impossible = np.zeros(len(cells), np.bool_)
    # Year 0 too: the calendars of server, Arrow and Python differ there.
    impossible[~cells.null] = (
        (year == 0) | (month == 0) | (day == 0) | (day > _month_days(year, month))
    )
    numbers = _spread(cells, value)
    return without_zeros(arrow, numbers, cells.null, impossible, IMPOSSIBLE_DATE, reject)


def text_times(cells: Cells) -> Converted:
    """Convert a TIME column, `[-]hh[h]:mm:ss[.f…]`, whose hours may have three digits."""
    start, size = cells.start[~cells.null], cells.size[~cells.null]
    if (size < len("hh:mm:ss")).any():
        raise pa.ArrowInvalid("not a time")
    negative = cells.data[start] == ord("-")
    first = start + negative
    third = cells.data[first + 2] != ord(":")
    colon = first + 2 + third
    hours = _digits(cells, first, (0, 1))
    last = _digits(cells, first + np.where(third, 2, 1), (0,))
    hours = np.where(third, hours * 10 + last, hours)
    tail = start + size - colon
    length = int(tail[0]) if len(tail) else 0
    # Where it ends is told by the colon's place, which the last of these checks.
    if (tail != length).any() or not _has_clock(length) or (cells.data[colon] != ord(":")).any():
        raise pa.ArrowInvalid("not a time")
    seconds = hours * 3600 + _digits(cells, colon, (1, 2)) * 60 + _digits(cells, colon, (4, 5))
    value = seconds * _MICROSECONDS + _fraction(cells, colon, 7, length)
    numbers = _spread(cells, np.where(negative, -value, value))
    return Converted(fixed_array(pa.duration("us"), numbers, cells.null))


def _has_clock(length: int) -> bool:
    return length in (0, len(":mm:ss")) or len(":mm:ss.") < length <= len(":mm:ss.ffffff")


def _spread(cells: Cells, values: Ints) -> Ints:
    """Return the values of cells that are not NULL in their places."""
    numbers = np.zeros(len(cells), np.int64)
    numbers[~cells.null] = values
    return numbers


def _digits(cells: Cells, base: Ints, offsets: tuple[int, ...]) -> Ints:
    """Return the number written in the characters at `base + offset`, one per offset."""
    value = np.zeros(len(base), np.int64)
    for offset in offsets:
        digit = cells.data[base + offset].astype(np.int64) - ord("0")
        if ((digit < 0) | (digit > 9)).any():
            raise pa.ArrowInvalid("not a number")
        value = value * 10 + digit
    return value


def _fraction(cells: Cells, base: Ints, begin: int, size: int) -> Ints:
    """Microseconds written at `base + begin` up to `base + size`."""
    places = max(size - begin, 0)
    scaled: Ints = _digits(cells, base, tuple(range(begin, begin + places))) * 10 ** (6 - places)
    return scaled


def _same_length(cells: Cells) -> int:
    sizes = cells.size[~cells.null]
    size = int(sizes[0]) if len(sizes) else 0
    if (sizes != size).any() or size > _LONGEST:
        raise pa.ArrowInvalid("temporal values of different lengths")
    return size


def _month_days(year: Ints, month: Ints) -> Ints:
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    days: Ints = _DAYS_IN_MONTH[month & 15] + (leap & (month == 2))
    return days


def _days(year: Ints, month: Ints, day: Ints) -> Ints:
    """Days since 1970-01-01, proleptic Gregorian.

    Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil.
    """
    shifted = year - (month <= 2)
    era = shifted // 400
    of_era = shifted - era * 400
    of_year = (153 * (month + np.where(month > 2, -3, 9)) + 2) // 5 + day - 1
    days: Ints = era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468
    return days
