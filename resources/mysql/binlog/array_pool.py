"""Large arrays used over and over: touching fresh memory costs as much as decoding into it.

In: shapes. Out: arrays with whatever was left in them. Several threads may use one pool.
"""

from __future__ import annotations

import weakref
from collections import defaultdict, deque
from typing import Any

import numpy as np
import numpy.typing as npt

from resources.mysql.kernels.cells import Bytes, Ints

_MOST_BYTES = 16 << 20
_LEAST_LENT = 1 << 12
_KEPT = 4


class ArrayPool:
    """Keeps a few arrays of each shape; one that is never given back is no loss."""

    def __init__(self) -> None:
        self._free: defaultdict[tuple[str, tuple[int, ...]], deque[Any]] = defaultdict(deque)

    def bytes(self, size: int) -> Bytes:
        """Return an array of uint8."""
        array: Bytes = self._take(np.uint8, (size,))
        return array

    def ints(self, *shape: int) -> Ints:
        """Return an array of int64."""
        array: Ints = self._take(np.int64, shape)
        return array

    def lend(self, size: int) -> Bytes:
        """Return an array of uint8 that comes back when nobody refers to it or a part of it.

        It may become part of an Arrow array: whoever holds that holds the memory.
        """
        room = 1 << max(size - 1, _LEAST_LENT - 1).bit_length()
        if room > _MOST_BYTES:  # would not be kept
            return np.empty(size, np.uint8)
        whole = self.bytes(room)
        # Not a slice: slices of it would refer to the whole, and it would come back too early.
        lent = np.frombuffer(whole.data[:size], np.uint8)
        weakref.finalize(lent, self.give, whole).atexit = False
        return lent

    def give(self, array: npt.NDArray[Any]) -> None:
        """Take an array nobody looks at any longer."""
        free = self._free[array.dtype.char, array.shape]
        if array.nbytes <= _MOST_BYTES and len(free) < _KEPT:
            free.append(array)

    def _take(self, kind: type[np.integer[Any]], shape: tuple[int, ...]) -> npt.NDArray[Any]:
        array: npt.NDArray[Any]
        try:
            array = self._free[np.dtype(kind).char, shape].pop()
        except IndexError:  # not asked before: another thread may take the last one meanwhile
            array = np.empty(shape, kind)
        return array
