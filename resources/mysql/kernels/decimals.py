"""DECIMAL of row images as Arrow's decimals.

In: packed decimals. Out: decimal128 or decimal256 arrays; cells whose groups hold more digits
than they have room for are marked.
Source: mysql-server strings/decimal.cc, `bin2decimal`.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from resources.mysql.binlog.decimal_value import decimal_groups
from resources.mysql.kernels.cells import (
    Bytes,
    Cells,
    Converted,
    Converter,
    Ints,
    Mask,
    pack_validity,
)
from resources.mysql.kernels.direct import DECIMAL, MOST_GROUPED, Direct
from resources.mysql.kernels.jit import inline, kernel
from resources.mysql.kernels.numbers import big_word
from resources.mysql.types import decimal_type

_GROUPS = 3
"""Groups that at most 18 digits take."""
Limbs: TypeAlias = npt.NDArray[np.uint32]
"""uint32, (rows, 4 or 8): little-endian two's complement, as Arrow stores decimals."""


def decimals(precision: int, scale: int) -> Converter:
    """Return the converter of a DECIMAL column, to decimal128 or decimal256.

    Args:
        precision: Digits, 1 to 65.
        scale: Those behind the point, at most 30 and at most `precision`.
    """
    arrow = decimal_type(precision, scale)
    groups = decimal_groups(precision, scale)
    powers = np.array([10**digits for digits, _ in groups], np.int64)
    sizes = np.array([size for _, size in groups], np.int64)

    def convert(cells: Cells) -> Converted:
        limbs = np.zeros((len(cells), arrow.bit_width // 32), np.uint32)
        bad = np.zeros(len(cells), np.bool_)
        wrong = _unpack(cells.data, cells.start, cells.null, sizes, powers, limbs, bad)
        array = decimal_array(arrow, limbs, cells.null | bad)
        return Converted(array, bad, "not a DECIMAL") if wrong else Converted(array)

    if precision > MOST_GROUPED:
        return convert
    return Direct(convert, DECIMAL, arrow, arrow.bit_width // 8, numbers=_pairs(groups))


def _pairs(groups: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return what `row_columns` unpacks three groups by; those not there have no bits and 1 power.

    Bytes of the first two and bits of the second; bytes of the third and 0; mask and power of each.
    """
    digits, sizes = zip(*groups, *((0, 0),) * (_GROUPS - len(groups)), strict=True)
    masks = tuple(((1 << 8 * size) - 1, 10**most) for size, most in zip(sizes, digits, strict=True))
    return ((sizes[0] + sizes[1], 8 * sizes[1]), (sizes[2], 0), *masks)


def decimal_array(arrow: pa.DataType, limbs: Limbs, null: Mask) -> pa.Array:
    """Return unscaled integers as decimals.

    Args:
        arrow: decimal128 or decimal256; decides how many limbs a row has.
        limbs: uint32, (rows, 4 or 8). The array keeps them.
        null: bool, which rows are NULL.
    """
    return pa.Array.from_buffers(arrow, len(limbs), [pack_validity(null), pa.py_buffer(limbs)])


@inline
def multiply_add(limbs: Limbs, row: int, used: int, power: int, digits: int) -> None:
    """Multiply the lowest `used` limbs of a row by `power` and add `digits`; both below 2**32."""
    carry = np.uint64(digits)
    for limb in range(used):
        carry += np.uint64(limbs[row, limb]) * np.uint64(power)
        limbs[row, limb] = np.uint32(carry & np.uint64(0xFFFFFFFF))
        carry >>= np.uint64(32)


@inline
def negate(limbs: Limbs, row: int) -> None:
    """Turn the number of a row into its negative."""
    carry = np.uint64(1)
    for limb in range(limbs.shape[1]):
        carry += np.uint64(~limbs[row, limb] & np.uint32(0xFFFFFFFF))
        limbs[row, limb] = np.uint32(carry & np.uint64(0xFFFFFFFF))
        carry >>= np.uint64(32)


@kernel
def _unpack(
    data: Bytes, start: Ints, null: Mask, sizes: Ints, powers: Ints, limbs: Limbs, bad: Mask
) -> int:
    """Fill `limbs`, which come as zeros; return how many cells are bad."""
    wrong = 0
    for row in range(len(start)):
        if null[row]:
            continue
        at = start[row]
        # Positive numbers have the sign bit set, negative ones have every bit inverted.
        negative = data[at] < 0x80
        flip = 0xFFFFFFFF if negative else 0
        sign = 0x80 << 8 * (sizes[0] - 1)
        value = 0
        for group in range(len(sizes)):
            size = sizes[group]
            digits = (big_word(data, at, size) ^ flip ^ sign) & (1 << 8 * size) - 1
            sign = 0
            at += size
            bad[row] |= digits >= powers[group]
            if group < 2:  # their 18 digits fit into one word
                value = value * powers[group] + digits
                limbs[row, 0], limbs[row, 1] = value & 0xFFFFFFFF, value >> 32
            else:
                multiply_add(limbs, row, min(group + 1, limbs.shape[1]), powers[group], digits)
        wrong += bad[row]
        if negative:
            negate(limbs, row)
    return wrong
