"""DECIMAL as the servers send it in both protocols, text, to Arrow's decimals.

In: cells such as `-12.50`. Out: decimal128 or decimal256 arrays; cells that are no number of the
type are marked.
Source: mysql-server strings/decimal.cc, `decimal2string`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from resources.mysql.kernels.cells import Bytes, Cells, Converted, Converter, Ints, Mask
from resources.mysql.kernels.decimals import Limbs, decimal_array, multiply_add, negate
from resources.mysql.kernels.jit import lean_inline, lean_kernel

_MINUS, _POINT, _ZERO = ord("-"), ord("."), ord("0")
_GROUP = 9
_GROUPS_IN_WORD = 18
_POWERS = 10 ** np.arange(_GROUP + 1, dtype=np.int64)


def text_decimals(arrow: pa.DataType) -> Converter:
    """Return the converter of a DECIMAL column.

    Args:
        arrow: decimal128 or decimal256. A cell with more digits behind the point than the
            type's scale, or more before it than it has room for, is bad.
    """

    def convert(cells: Cells) -> Converted:
        limbs = np.zeros((len(cells), arrow.bit_width // 32), np.uint32)
        bad = np.zeros(len(cells), np.bool_)
        wrong = _parse(
            cells.data, cells.start, cells.size, cells.null, arrow.precision, arrow.scale,
            _POWERS, limbs, bad,
        )  # fmt: skip
        array = decimal_array(arrow, limbs, cells.null | bad)
        return Converted(array, bad, f"not a number of {arrow}") if wrong else Converted(array)

    return convert


@lean_kernel
def _parse(
    data: Bytes,
    start: Ints,
    size: Ints,
    null: Mask,
    precision: int,
    scale: int,
    powers: Ints,
    limbs: Limbs,
    bad: Mask,
) -> int:
    """Fill `limbs`, which come as zeros; return how many cells are bad."""
    wrong = 0
    for row in range(len(start)):
        if null[row]:
            continue
        at, end = start[row], start[row] + size[row]
        negative = at < end and data[at] == _MINUS
        at += negative
        point = _find_point(data, at, end)
        fraction = max(end - point - 1, 0)
        if (
            point == at
            or fraction > scale
            or _digits_before(data, at, point) > precision - scale
            or not _read(data, at, end, scale - fraction, powers, limbs, row)
        ):
            bad[row] = True
            wrong += 1
        elif negative:
            negate(limbs, row)
    return wrong


@lean_inline
def _find_point(data: Bytes, at: int, end: int) -> int:
    while at < end and data[at] != _POINT:
        at += 1
    return at


@lean_inline
def _digits_before(data: Bytes, at: int, point: int) -> int:
    while at < point and data[at] == _ZERO:
        at += 1
    return point - at


@lean_inline
def _read(data: Bytes, at: int, end: int, zeros: int, powers: Ints, limbs: Limbs, row: int) -> bool:
    """Add digits up to `end`, a point among them skipped, and so many zeros behind them.

    Digits gather in a word; words go to the limbs nine digits at a time once there are too many.
    """
    value: Any = np.int64(0)
    count = points = used = 0
    while at < end or zeros > 0:
        digit = np.int64(0)
        if at < end:
            if data[at] == _POINT:
                points += 1
                at += 1
                continue
            digit = np.int64(data[at]) - _ZERO
            at += 1
            if digit < 0 or digit > 9:
                return False
        else:
            zeros -= 1
        if count == _GROUPS_IN_WORD:
            used = _spill(limbs, row, used, value // powers[_GROUP], powers[_GROUP])
            used = _spill(limbs, row, used, value % powers[_GROUP], powers[_GROUP])
            value, count = np.int64(0), 0
        value = value * 10 + digit
        count += 1
    if used == 0:
        limbs[row, 0], limbs[row, 1] = value & 0xFFFFFFFF, value >> 32
        return points <= 1
    if count > _GROUP:
        power = powers[count - _GROUP]
        used = _spill(limbs, row, used, value // power, powers[_GROUP])
        used = _spill(limbs, row, used, value % power, power)
    else:
        _spill(limbs, row, used, value, powers[count])
    return points <= 1


@lean_inline
def _spill(limbs: Limbs, row: int, used: int, value: int, power: int) -> int:
    used = min(used + 1, limbs.shape[1])
    multiply_add(limbs, row, used, power, value)
    return used
