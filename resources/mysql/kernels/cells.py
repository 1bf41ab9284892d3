"""Where the values of one column lie in bytes off the wire, and their bytes as Arrow arrays.

In: bytes, and for each row where its cell begins. Out: the form every column converter takes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from resources.model.arrays import pack_bits
from resources.mysql.kernels.intrinsics import BLOCK, copy_block
from resources.mysql.kernels.jit import kernel, lean_kernel

Bytes: TypeAlias = npt.NDArray[np.uint8]
Ints: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Cells:
    """One column of a batch of rows, not yet converted. Every cell lies within `data`.

    Args:
        data: The bytes, uint8.
        start: int64, first byte of each cell's content, behind any length prefix.
        size: int64, bytes of each cell's content; 0 for NULL.
        null: bool, which cells are NULL.
    """

    data: Bytes
    start: Ints
    size: Ints
    null: Mask

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.start)

    def validity(self) -> pa.Buffer | None:
        """Return Arrow's validity bitmap, None if no cell is NULL."""
        return pack_validity(self.null)


class Converted(NamedTuple):
    """A column in Arrow.

    Args:
        array: One value per row; NULL where the cell is NULL or bad.
        bad: Which cells hold no value of the column's type, None if all do.
        reason: What is wrong with the bad ones, without their value.
    """

    array: pa.Array
    bad: Mask | None = None
    reason: str = ""


Converter: TypeAlias = Callable[[Cells], Converted]
"""From a column's cells to its Arrow array."""


def pack_validity(null: Mask) -> pa.Buffer | None:
    """Return Arrow's validity bitmap for a mask of NULLs, None if there are none."""
    return pack_bits(~null) if null.any() else None


def locate(data: Bytes, begins: Ints, prefix: int, width: int) -> Cells:
    """Return one column's cells from where each begins.

    Args:
        data: The bytes.
        begins: int64, where each row's cell begins, length prefix included; -1 for NULL. The
            caller has checked that every cell ends within `data`.
        prefix: Bytes of the little-endian length before each cell (1 to 4), 0 for cells of one
            width.
        width: Bytes of each cell if `prefix` is 0.
    """
    start, size = np.empty(len(begins), np.int64), np.empty(len(begins), np.int64)
    null = np.empty(len(begins), np.bool_)
    _locate(data, begins, prefix, width, start, size, null)
    return Cells(data, start, size, null)


@kernel
def _locate(
    data: Bytes, begins: Ints, prefix: int, width: int, start: Ints, size: Ints, null: Mask
) -> None:
    for row in range(len(begins)):
        at = begins[row]
        if at < 0:
            start[row], size[row], null[row] = 0, 0, True
            continue
        length = width
        if prefix:
            length = 0
            for byte in range(prefix):
                length |= np.int64(data[at + byte]) << (8 * byte)
        start[row], size[row], null[row] = at + prefix, length, False


def gather(cells: Cells, arrow: pa.DataType) -> pa.Array:
    """Return the cells' bytes as a compact array; what they mean is not checked.

    Args:
        cells: At most 2 GiB of them unless the type has 64-bit offsets.
        arrow: binary, string, or their large forms.
    """
    large = pa.types.is_large_binary(arrow) or pa.types.is_large_string(arrow)
    offsets: npt.NDArray[Any] = np.empty(len(cells) + 1, np.int64 if large else np.int32)
    total = int(cells.size.sum())
    content = np.empty(total + BLOCK, np.uint8)
    _gather(cells.data, cells.start, cells.size, offsets, content)
    buffers = [cells.validity(), pa.py_buffer(offsets), pa.py_buffer(content[:total])]
    return pa.Array.from_buffers(arrow, len(cells), buffers)


@lean_kernel
def _gather(
    data: Bytes, start: Ints, size: Ints, offsets: npt.NDArray[Any], content: Bytes
) -> None:
    """Copy cells end to end; `content` has room for a block more than they take."""
    at = 0
    offsets[0] = 0
    for row in range(len(start)):
        begin, length = start[row], size[row]
        if begin + length + BLOCK <= len(data):
            for block in range(0, length, BLOCK):
                copy_block(content, at + block, data, begin + block)
        else:
            for byte in range(length):
                content[at + byte] = data[begin + byte]
        at += length
        offsets[row + 1] = at
