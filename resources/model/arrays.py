"""Arrow arrays from numpy arrays and words, and back, without the way through pandas.

In: values in memory. Out: arrays over that memory. `pa.array` and `to_numpy` import pandas at their
first call: a fifth of what a process takes to its first decoded row.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def from_numbers(arrow: pa.DataType, values: npt.NDArray[Any]) -> pa.Array:
    """Return an array without NULLs that keeps the values where they are.

    Args:
        arrow: A type of a fixed width.
        values: One dimension, contiguous; items of that width, in Arrow's form of the type.
    """
    return pa.Array.from_buffers(arrow, len(values), [None, pa.py_buffer(values)])


def pack_bits(mask: npt.NDArray[np.bool_]) -> pa.Buffer:
    """Return a mask as Arrow keeps booleans and validity."""
    return pa.py_buffer(np.packbits(mask, bitorder="little"))


def from_mask(mask: npt.NDArray[np.bool_]) -> pa.BooleanArray:
    """Return a mask as booleans without NULLs."""
    return pa.Array.from_buffers(pa.bool_(), len(mask), [None, pack_bits(mask)])


def from_words(words: Sequence[str | None]) -> pa.StringArray:
    """Return words as strings; less than 2 GiB of UTF-8."""
    encoded = [b"" if word is None else word.encode() for word in words]
    offsets = np.fromiter(accumulate(map(len, encoded), initial=0), np.int32, len(words) + 1)
    known = pack_bits(np.array([word is not None for word in words], dtype=bool))
    buffers = [known, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(words), buffers)


def to_numbers(values: pa.Array) -> npt.NDArray[Any]:
    """Return integers without NULLs over the memory they are in; read only."""
    kind = "u" if pa.types.is_unsigned_integer(values.type) else "i"
    dtype = np.dtype(f"{kind}{values.type.bit_width // 8}")
    if not len(values):  # there may be no buffer
        return np.empty(0, dtype)
    return np.frombuffer(values.buffers()[1], dtype, len(values), values.offset * dtype.itemsize)


def unwritten(size: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return a new array in Arrow's memory, with whatever is in it.

    Arrow keeps what is given back for the next one; numpy's memory comes anew from the system in
    every thread but the main one.

    Args:
        size: Number of items.
        dtype: Their type.
    """
    return np.frombuffer(pa.allocate_buffer(size * np.dtype(dtype).itemsize), dtype)
