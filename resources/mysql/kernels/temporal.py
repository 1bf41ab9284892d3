"""Dates and times of row images as Arrow's days and microseconds.

In: packed values. Out: date32, timestamp and duration arrays; dates and clocks that do not exist
are NULL or marked, as asked. `civil_days` is the one place that knows the calendar; other kernels
use it.
Source: mysql-server mysys/my_time.cc, `my_datetime_packed_from_binary` and its siblings.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from resources.mysql.kernels.cells import Bytes, Cells, Converted, Converter, Ints, Mask
from resources.mysql.kernels.direct import DATE, DATETIME, TIME, TIMESTAMP, Direct
from resources.mysql.kernels.jit import inline, kernel
from resources.mysql.kernels.numbers import big_word, fixed_array, word

NO_DAY = -(1 << 62)
"""What `civil_days` returns for a day no calendar has."""

IMPOSSIBLE_DATE = "zero or impossible date"
ZERO_TIMESTAMP = "zero or impossible timestamp"
_UNITS = (1, 10_000, 100, 1)
"""Microseconds that a fraction counts in, by its bytes."""
_DAY_US = 86_400_000_000
_LAST_US = 999_999
_TABLE_YEAR, _TABLE_YEARS = 1900, 256


def _months() -> npt.NDArray[np.int32]:
    """Return the first day and, in the lowest 5 bits, the length of the months of usual years.

    A year has 13 of them, as in a packed DATETIME; the one numbered 0 has no days.
    """
    first, count = np.datetime64(f"{_TABLE_YEAR}-01", "M"), 12 * _TABLE_YEARS
    days = (first + np.arange(count + 1)).astype("M8[D]").astype(np.int32)
    months = np.zeros((_TABLE_YEARS, 13), np.int32)
    months[:, 1:] = (days[:-1] << 5 | np.diff(days)).reshape(_TABLE_YEARS, 12)
    return months.ravel()


_MONTHS = _months()
_TABLE_MONTH, _TABLE_MONTHS = 13 * _TABLE_YEAR, 13 * _TABLE_YEARS


def fraction_bytes(digits: int) -> int:
    """Return how many bytes a fraction of so many digits (0 to 6) takes."""
    return (digits + 1) // 2


def dates(reject: bool) -> Converter:
    """Return the converter of a DATE column (3 bytes), to date32.

    Args:
        reject: Whether a zero or impossible date is a bad cell; NULL otherwise.
    """
    return _converter(DATE, 0, pa.date32(), IMPOSSIBLE_DATE, reject)


def datetimes(digits: int, reject: bool) -> Converter:
    """Return the converter of a DATETIME2 column, to timestamp[us].

    Args:
        digits: Of the fraction, 0 to 6; cells have 5 bytes and its `fraction_bytes`.
        reject: Whether a zero or impossible date is a bad cell; NULL otherwise.
    """
    return _converter(DATETIME, digits, pa.timestamp("us"), IMPOSSIBLE_DATE, reject)


def timestamps(digits: int, reject: bool) -> Converter:
    """Return the converter of a TIMESTAMP2 column, to timestamp[us] in UTC.

    Args:
        digits: Of the fraction, 0 to 6; cells have 4 bytes and its `fraction_bytes`.
        reject: Whether the zero timestamp is a bad cell; NULL otherwise.
    """
    return _converter(TIMESTAMP, digits, pa.timestamp("us", tz="UTC"), ZERO_TIMESTAMP, reject)


def times(digits: int) -> Converter:
    """Return the converter of a TIME2 column, to duration[us], negative ones included.

    Args:
        digits: Of the fraction, 0 to 6; cells have 3 bytes and its `fraction_bytes`. A minute or
            second beyond 59, which no server writes, makes a bad cell.
    """
    return _converter(TIME, digits, pa.duration("us"), "impossible time", True)


def without_zeros(
    arrow: pa.DataType, values: Ints, null: Mask, impossible: Mask, reason: str, reject: bool
) -> Converted:
    """Return dates or times, those that do not exist as NULL or as bad cells.

    Args:
        arrow: date32, a timestamp or a duration.
        values: int64, days or microseconds since the epoch.
        null: bool, which cells are NULL.
        impossible: bool, which cells hold no date of the calendar or time of the clock.
        reason: What to call those.
        reject: Whether they are bad cells; NULL otherwise.
    """
    array = fixed_array(arrow, values, null | impossible)
    return Converted(array, impossible, reason) if reject and impossible.any() else Converted(array)


def _converter(kind: int, digits: int, arrow: pa.DataType, reason: str, reject: bool) -> Converter:
    fraction = fraction_bytes(digits)
    unit = _UNITS[fraction]

    def convert(cells: Cells) -> Converted:
        out = np.empty(len(cells), np.int64)
        impossible = np.empty(len(cells), np.bool_)
        _temporal(cells.data, cells.start, cells.null, kind, fraction, unit, out, impossible)
        return without_zeros(arrow, out, cells.null, impossible, reason, reject)

    return Direct(convert, kind, arrow, arrow.bit_width // 8, fraction, unit, reject)


@inline
def civil_days(year: int, month: int, day: int) -> int:
    """Return days since 1970-01-01 in the proleptic Gregorian calendar, NO_DAY if there is none.

    The year 0 has no days: the calendars of servers, Arrow and Python differ there.
    Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil.
    """
    if year < 1 or year > 9999 or month < 1 or month > 12 or day < 1:
        return NO_DAY
    if month == 2:
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        last = 29 if leap else 28
    else:
        last = 30 + (month + (month >> 3) & 1)
    if day > last:
        return NO_DAY
    # A year that begins in March has its leap day at its end.
    march = year - 1 if month <= 2 else year
    of_year = (153 * (month + 9 if month <= 2 else month - 3) + 2) // 5 + day - 1
    return march * 365 + march // 4 - march // 100 + march // 400 + of_year - 719_468


@inline
def _month_day(number: int, day: int) -> int:
    """Return days since 1970-01-01 of a day of month `13 * year + month`, NO_DAY if none."""
    index = number - _TABLE_MONTH
    if index < 0 or index >= _TABLE_MONTHS:
        return civil_days(number // 13, number % 13, day)
    month = np.int64(_MONTHS[np.uint64(index)])
    return int(month >> 5) + day - 1 if 1 <= day <= month & 31 else NO_DAY


@inline
def _clock(packed: int, part: int, hours: int) -> int:
    """Return a packed hour, minute and second and a part of one as microseconds, or NO_DAY."""
    hour, minute, second = packed >> 12, packed >> 6 & 63, packed & 63
    if hour > hours or minute > 59 or second > 59 or part > _LAST_US:
        return NO_DAY
    return (hour * 3600 + minute * 60 + second) * 1_000_000 + part


@inline
def date_value(packed: int) -> int:
    """Return the days since the epoch of a packed DATE, NO_DAY if it does not exist."""
    year, month = packed >> 9, packed >> 5 & 15
    return _month_day(13 * year + month, packed & 31) if month <= 12 else NO_DAY


@inline
def datetime_value(packed: int, fraction: int, unit: int) -> int:
    """Return the microseconds since the epoch of a packed DATETIME2, NO_DAY if it does not exist.

    Args:
        packed: All its bytes as a big-endian integer.
        fraction: Bytes of its fraction.
        unit: Microseconds that the fraction counts in.
    """
    part = (packed & (1 << 8 * fraction) - 1) * unit
    packed >>= 8 * fraction
    day = _month_day((packed >> 22 & 0x3FFFF) - 0x20000, packed >> 17 & 31)
    clock = _clock(packed & 0x1FFFF, part, 23)
    return NO_DAY if day == NO_DAY or clock == NO_DAY else day * _DAY_US + clock


@inline
def timestamp_value(packed: int, fraction: int, unit: int) -> int:
    """Return the same of a packed TIMESTAMP2."""
    part = (packed & (1 << 8 * fraction) - 1) * unit
    value = (packed >> 8 * fraction) * 1_000_000 + part
    return NO_DAY if value == 0 or part > _LAST_US else value


@inline
def time_value(packed: int, fraction: int, unit: int) -> int:
    """Return the microseconds of a packed TIME2, NO_DAY if no clock shows it."""
    # Fraction and all, a TIME is one integer with an offset: a negative one is read in one piece.
    packed -= 0x800000 << 8 * fraction
    size = packed if packed >= 0 else -packed
    part = (size & (1 << 8 * fraction) - 1) * unit
    value = _clock(size >> 8 * fraction & 0x3FFFFF, part, 838)
    return value if packed >= 0 or value == NO_DAY else -value


@kernel
def _temporal(
    data: Bytes,
    start: Ints,
    null: Mask,
    kind: int,
    fraction: int,
    unit: int,
    out: Ints,
    impossible: Mask,
) -> None:
    """Convert cells whose fraction has so many bytes and counts in so many microseconds."""
    width = fraction + (5 if kind == DATETIME else 4 if kind == TIMESTAMP else 3)
    for row in range(len(start)):
        value = np.int64(0)
        if null[row]:
            pass
        elif kind == DATE:
            value = date_value(word(data, start[row], 3))
        else:
            packed = big_word(data, start[row], width)
            if kind == DATETIME:
                value = datetime_value(packed, fraction, unit)
            elif kind == TIMESTAMP:
                value = timestamp_value(packed, fraction, unit)
            else:
                value = time_value(packed, fraction, unit)
        impossible[row] = value == NO_DAY
        out[row] = 0 if value == NO_DAY else value
