"""Integers, floats, BIT and YEAR: little-endian words to Arrow's fixed-width arrays.

In: cells of one width. Out: arrays over memory of their own; every cell holds a value.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from resources.mysql.kernels.cells import (
    Bytes,
    Cells,
    Converted,
    Converter,
    Ints,
    Mask,
    pack_validity,
)
from resources.mysql.kernels.direct import WORD, Direct
from resources.mysql.kernels.jit import inline, kernel

_WORD = 8
_FIRST_YEAR = 1900


def integers(width: int, arrow: pa.DataType) -> Converter:
    """Return the converter of an integer column.

    Args:
        width: Bytes of each cell, 1 to 8.
        arrow: The integer type; its sign is the cells' sign, and it has room for `width` bytes.
    """
    signed = pa.types.is_signed_integer(arrow)

    def convert(cells: Cells) -> Converted:
        return Converted(fixed_array(arrow, little_endian(cells, width, signed), cells.null))

    return Direct(convert, WORD, arrow, arrow.bit_width // 8, form=signed)


def floats(arrow: pa.DataType) -> Converter:
    """Return the converter of a FLOAT or DOUBLE column, which keeps every bit.

    Args:
        arrow: float32 for cells of four bytes, float64 for cells of eight.
    """
    width = arrow.bit_width // 8

    def convert(cells: Cells) -> Converted:
        return Converted(fixed_array(arrow, little_endian(cells, width), cells.null))

    return Direct(convert, WORD, arrow, width)


def bits(width: int) -> Converter:
    """Return the converter of a BIT column, to uint64.

    Args:
        width: Bytes of each cell, 1 to 8, the most significant first.
    """
    above = np.uint64(8 * (_WORD - width))

    def convert(cells: Cells) -> Converted:
        value = little_endian(cells, width).view(np.uint64).byteswap() >> above
        return Converted(fixed_array(pa.uint64(), value, cells.null))

    return convert


def years(cells: Cells) -> Converted:
    """Convert a YEAR column, one byte since 1900 with 0 for the year 0000, to int16."""
    value = little_endian(cells, 1)
    value[value > 0] += _FIRST_YEAR
    return Converted(fixed_array(pa.int16(), value, cells.null))


def fixed_array(arrow: pa.DataType, values: npt.NDArray[np.number], null: Mask) -> pa.Array:
    """Return 64-bit words as an array of a type of 1, 2, 4 or 8 bytes.

    Args:
        arrow: The type; floats take the words as their bit patterns.
        values: int64 or uint64, one per row. The array keeps them if it has their width.
        null: bool, which rows are NULL.
    """
    narrow = values.astype(f"i{arrow.bit_width // 8}", copy=False)
    return pa.Array.from_buffers(arrow, len(values), [pack_validity(null), pa.py_buffer(narrow)])


def little_endian(cells: Cells, width: int, signed: bool = False) -> Ints:
    """Return cells as int64, 0 for NULL.

    Args:
        cells: None ends beyond its data.
        width: Bytes of each, 1 to 8. Unsigned numbers of 8 bytes come out as their bit patterns.
        signed: Whether they are two's complement.
    """
    out = np.empty(len(cells), np.int64)
    _little_endian(cells.data, cells.start, cells.null, width, signed, out)
    return out


@inline
def word(data: Bytes, at: int, size: int) -> int:
    """Return `size` (1 to 8) little-endian bytes at `at` as int64; 8 of them keep their bits.

    The caller knows that they are there.
    """
    value = np.uint64(0)
    if at + 8 <= len(data):
        # One load of eight bytes; unsigned indexes spare the check for negative ones.
        base = np.uint64(at)
        for byte in range(8):
            value |= np.uint64(data[base + np.uint64(byte)]) << np.uint64(8 * byte)
        above = np.uint64(64 - 8 * size)
        return int(np.int64(value << above >> above))
    for byte in range(size):
        value |= np.uint64(data[at + byte]) << np.uint64(8 * byte)
    # int64: Numba makes floats of sums of int64 and uint64. Returned from here and not from one
    # end of the function, since LLVM then no longer joins the loads above.
    return int(np.int64(value))


@inline
def big_word(data: Bytes, at: int, size: int) -> int:
    """Return `size` (1 to 8) big-endian bytes at `at` as int64, like `word`."""
    value = np.uint64(word(data, at, size))
    odd = np.uint64(0x00FF00FF00FF00FF)
    value = (value & odd) << np.uint64(8) | value >> np.uint64(8) & odd
    low = np.uint64(0x0000FFFF0000FFFF)
    value = (value & low) << np.uint64(16) | value >> np.uint64(16) & low
    value = value << np.uint64(32) | value >> np.uint64(32)
    return int(np.int64(value >> np.uint64(64 - 8 * size)))


@kernel
def _little_endian(
    data: Bytes, start: Ints, null: Mask, width: int, signed: bool, out: Ints
) -> None:
    above = 64 - 8 * width if signed else 0
    for row in range(len(start)):
        value = np.int64(0)
        if not null[row]:
            value = word(data, start[row], width) << above >> above
        out[row] = value
