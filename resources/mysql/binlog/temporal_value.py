"""Dates and times of row images as integers Arrow takes as they are.

In: bytes of a packed value. Out: days or microseconds since the epoch; `ZeroDate` for zero and
impossible dates.
Source: mysql-server mysys/my_time.cc, `my_datetime_packed_from_binary` and its siblings.
"""

from __future__ import annotations

from datetime import date
from functools import lru_cache

EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
DAY_US = 86_400_000_000
_FRACTION_US = {0: 0, 1: 10_000, 2: 100, 3: 1}
_TIME_ZERO = 0x800000
_DATETIME_ZERO = 0x8000000000


class ZeroDate(ValueError):
    """A zero or impossible date, the year 0 included: no calendar has that day."""


def fraction_bytes(digits: int) -> int:
    """Return how many bytes a fraction of so many digits takes."""
    return (digits + 1) // 2


def days(year: int, month: int, day: int) -> int:
    """Return days since 1970-01-01.

    Raises:
        ZeroDate: There is no such day.
    """
    try:
        return date(year, month, day).toordinal() - EPOCH_ORDINAL
    except ValueError as error:
        raise ZeroDate("zero or impossible date") from error


def date_days(data: bytes) -> int:
    """Return a DATE (3 bytes) as days since the epoch."""
    packed = int.from_bytes(data, "little")
    return days(packed >> 9, packed >> 5 & 15, packed & 31)


def datetime_us(data: bytes) -> int:
    """Return a DATETIME2 (5 bytes and its fraction) as microseconds since the epoch."""
    packed = int.from_bytes(data[:5], "big") - _DATETIME_ZERO
    day = _packed_days(packed >> 17)
    seconds = (packed >> 12 & 31) * 3600 + (packed >> 6 & 63) * 60 + (packed & 63)
    return day * DAY_US + seconds * 1_000_000 + _fraction_us(data[5:])


@lru_cache(maxsize=4096)
def _packed_days(packed: int) -> int:
    year_month = packed >> 5
    return days(year_month // 13, year_month % 13, packed & 31)


def timestamp_us(data: bytes) -> int:
    """Return a TIMESTAMP2 (4 bytes and its fraction) as microseconds since the epoch, UTC."""
    seconds = int.from_bytes(data[:4], "big")
    fraction = _fraction_us(data[4:])
    if not seconds and not fraction:
        raise ZeroDate("zero timestamp")
    return seconds * 1_000_000 + fraction


def time_us(data: bytes) -> int:
    """Return a TIME2 (3 bytes and its fraction) as microseconds, negative before midnight.

    The whole value, fraction included, is one integer with an offset, so that a negative time
    has to be read in one piece.
    """
    size = len(data) - 3
    packed = int.from_bytes(data, "big") - (_TIME_ZERO << 8 * size)
    sign, packed = (-1, -packed) if packed < 0 else (1, packed)
    fraction = (packed & (1 << 8 * size) - 1) * _FRACTION_US[size]
    whole = packed >> 8 * size
    seconds = (whole >> 12 & 1023) * 3600 + (whole >> 6 & 63) * 60 + (whole & 63)
    return sign * (seconds * 1_000_000 + fraction)


def _fraction_us(data: bytes) -> int:
    return int.from_bytes(data, "big") * _FRACTION_US[len(data)] if data else 0
