"""Dates and times of the binary protocol as Arrow's days and microseconds.

In: cells of the lengths that `result_walk` lets pass. Out: date32, timestamp and duration arrays;
zero and impossible dates are NULL or marked, as asked.
Source: MySQL client/server protocol, "Binary Protocol Value".
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from resources.mysql.kernels.cells import Bytes, Cells, Converted, Converter, Ints, Mask
from resources.mysql.kernels.integers import uint
from resources.mysql.kernels.jit import lean_inline, lean_kernel
from resources.mysql.kernels.numbers import fixed_array
from resources.mysql.kernels.temporal import IMPOSSIBLE_DATE, NO_DAY, civil_days, without_zeros

_DATE, _DATETIME, _TIME = range(3)
_DAY_US = 86_400_000_000
_LONGEST_DAYS = 34  # 838:59:59


def binary_dates(reject: bool) -> Converter:
    """Return the converter of a DATE column (0 or 4 bytes), to date32.

    Args:
        reject: Whether a zero or impossible date is a bad cell; NULL otherwise.
    """
    return lambda cells: _dates(cells, _DATE, pa.date32(), reject)


def binary_datetimes(arrow: pa.DataType, reject: bool) -> Converter:
    """Return the converter of a DATETIME or TIMESTAMP column (0, 4, 7 or 11 bytes).

    Args:
        arrow: timestamp[us], with a time zone or without.
        reject: Whether a zero or impossible date is a bad cell; NULL otherwise.
    """
    return lambda cells: _dates(cells, _DATETIME, arrow, reject)


def binary_times(cells: Cells) -> Converted:
    """Convert a TIME column (0, 8 or 12 bytes) to duration[us], negative ones included."""
    values, bad = _numbers(cells, _TIME)
    array = fixed_array(pa.duration("us"), values, cells.null | bad)
    return Converted(array, bad, "no time of day") if bad.any() else Converted(array)


def _dates(cells: Cells, kind: int, arrow: pa.DataType, reject: bool) -> Converted:
    values, impossible = _numbers(cells, kind)
    return without_zeros(arrow, values, cells.null, impossible, IMPOSSIBLE_DATE, reject)


def _numbers(cells: Cells, kind: int) -> tuple[Ints, Mask]:
    values, impossible = np.empty(len(cells), np.int64), np.empty(len(cells), np.bool_)
    _temporal(cells.data, cells.start, cells.size, cells.null, kind, values, impossible)
    return values, impossible


@lean_kernel
def _temporal(
    data: Bytes, start: Ints, size: Ints, null: Mask, kind: int, out: Ints, impossible: Mask
) -> None:
    for row in range(len(start)):
        value = np.int64(0)
        if null[row]:
            pass
        elif kind == _TIME:
            value = _time(data, start[row], size[row])
        else:
            value = _datetime(data, start[row], size[row], kind == _DATE)
        impossible[row] = value == NO_DAY
        out[row] = 0 if value == NO_DAY else value


@lean_inline
def _datetime(data: Bytes, at: int, size: int, dated: bool) -> int:
    if size == 0:
        return NO_DAY
    days = civil_days(uint(data, at, 2), uint(data, at + 2, 1), uint(data, at + 3, 1))
    if dated or days == NO_DAY:
        return days
    value = days * _DAY_US
    if size >= 7:
        clock = _clock(data, at + 4, at + 7, size > 7)
        value = NO_DAY if clock == NO_DAY else value + clock
    return value


@lean_inline
def _time(data: Bytes, at: int, size: int) -> int:
    if size == 0:
        return 0
    days, clock = uint(data, at + 1, 4), _clock(data, at + 5, at + 8, size > 8)
    if days > _LONGEST_DAYS or clock == NO_DAY:
        return NO_DAY
    value = days * _DAY_US + clock
    return -value if data[at] else value


@lean_inline
def _clock(data: Bytes, at: int, fraction: int, exact: bool) -> int:
    """Return hour, minute and second as microseconds, NO_DAY if a day has no such time."""
    hour, minute, second = uint(data, at, 1), uint(data, at + 1, 1), uint(data, at + 2, 1)
    micros = uint(data, fraction, 4) if exact else 0
    if hour > 23 or minute > 59 or second > 59 or micros > 999_999:
        return NO_DAY
    return ((hour * 60 + minute) * 60 + second) * 1_000_000 + micros
