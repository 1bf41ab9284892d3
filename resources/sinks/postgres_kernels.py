"""Compiled loops that write PostgreSQL's binary forms: rows of a COPY, digits of a NUMERIC.

In: cells as numpy arrays that numpy itself has checked. Out: bytes in network order. Forms:
https://www.postgresql.org/docs/18/sql-copy.html#SQL-COPY-BINARY-FORMAT and `numeric_send` in
src/backend/utils/adt/numeric.c.

Each kernel is whole in itself: numba's cache looks at the file of a function only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from resources.mysql.kernels.jit import inline, kernel

Array = npt.NDArray[Any]

GROUP_LIMIT = 24
"""Base-10000 digits `write_numerics` has room for; 76 decimal digits take at most 20."""


@inline
def _copy_eight(data: Array, start: np.uint64, out: Array, to: np.uint64) -> None:
    """Copy eight bytes; all are read before the first is written, so that it is one move."""
    one, two, three, four = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
    a, b, c, d = data[start], data[start + one], data[start + two], data[start + three]
    rest, goes_on = start + four, to + four
    e, f, g, h = data[rest], data[rest + one], data[rest + two], data[rest + three]
    out[to], out[to + one], out[to + two], out[to + three] = a, b, c, d
    out[goes_on], out[goes_on + one] = e, f
    out[goes_on + two], out[goes_on + three] = g, h


@kernel
def put_cells(data: Array, starts: Array, lengths: Array, at: Array, out: Array) -> None:
    """Write one column's cells behind what the rows have already, each with its length before it.

    Args:
        data: uint8, the cells' bytes.
        starts: int64, where each row's cell begins in `data`.
        lengths: int32, its bytes; -1 for NULL.
        at: int64, where in `out` each row goes on; moved behind the cell.
        out: uint8, written.
    """
    # Unsigned, since a signed index is first looked at for being one from the end.
    one, two, three, four = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
    eight = np.uint64(8)
    for row in range(len(starts)):
        length = lengths[row]
        to = np.uint64(at[row])
        out[to] = (length >> 24) & 255
        out[to + one] = (length >> 16) & 255
        out[to + two] = (length >> 8) & 255
        out[to + three] = length & 255
        to += four
        start = np.uint64(starts[row])
        size = np.uint64(max(length, 0))
        if size == eight:
            _copy_eight(data, start, out, to)
        else:
            for i in range(size):
                out[to + i] = data[start + i]
        at[row] = to + size


@inline
def _load(words: Array, signed: bool, pad: int, value: Array) -> bool:
    """Put a number's magnitude, times `pad`, into `value`; returns whether it is negative."""
    low = np.uint64(0xFFFFFFFF)
    shift = np.uint64(32)
    negative = signed and (words[-1] >> 31) == 1
    carry = np.uint64(1 if negative else 0)
    product = np.uint64(0)
    for i in range(len(words)):
        word = np.uint64(words[i])
        if negative:
            word = (word ^ low) + carry
            carry = word >> shift
            word &= low
        product += word * np.uint64(pad)
        value[i] = product & low
        product >>= shift
    value[len(words)] = product
    return negative


@inline
def _split(value: Array, groups: Array) -> int:
    """Put the base-10000 digits of `value`, the last first, into `groups`; returns their number."""
    base = np.uint64(10000)
    shift = np.uint64(32)
    top = len(value)
    count = 0
    while top:
        if not value[top - 1]:
            top -= 1
            continue
        rest = np.uint64(0)
        for i in range(top - 1, -1, -1):
            rest = (rest << shift) | value[i]
            value[i] = rest // base
            rest %= base
        groups[count] = np.int32(rest)
        count += 1
    return count


@kernel
def write_numerics(
    limbs: Array, signed: bool, scale: int, stride: int, out: Array, lengths: Array
) -> None:
    """Write whole numbers of any width as NUMERIC with `scale` digits after the point.

    Args:
        limbs: uint32, rows of little-endian words in two's complement (if `signed`).
        signed: Whether the highest bit is a sign.
        scale: Digits after the point, 0 or more.
        stride: Bytes of `out` per row: 8, and 2 for every group of four digits.
        out: uint8, written: row i begins at `i * stride`.
        lengths: int32, the bytes written of each row.
    """
    value = np.zeros(limbs.shape[1] + 1, np.uint64)
    groups = np.zeros(GROUP_LIMIT, np.int32)
    after = (scale + 3) // 4  # groups after the point; the last is filled with zeros
    pad = 10 ** (after * 4 - scale)
    for row in range(limbs.shape[0]):
        negative = _load(limbs[row], signed, pad, value)
        count = _split(value, groups)
        first = 0  # groups of zeros at the end are left out, as the server does
        while first < count and not groups[first]:
            first += 1
        weight = count - 1 - after if count else 0
        to = row * stride
        for part in (count - first, weight, 0x4000 if negative else 0, scale):
            out[to] = (part >> 8) & 255
            out[to + 1] = part & 255
            to += 2
        for i in range(count - 1, first - 1, -1):
            out[to] = groups[i] >> 8
            out[to + 1] = groups[i] & 255
            to += 2
        lengths[row] = to - row * stride
