"""Large arrays used over and over: touching fresh memory costs as much as decoding into it.

In: shapes. Out: arrays with whatever was left in them. Several threads may use one pool.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import Any

import numpy as np
import numpy.typing as npt

from resources.mysql.kernels.cells import Bytes, Ints

_MOST_BYTES = 16 << 20
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

    def give(self, array: npt.NDArray[Any]) -> None:
        """Take an array nobody looks at any longer."""
        free = self._free[array.dtype.char, array.shape]
        if array.nbytes <= _MOST_BYTES and len(free) < _KEPT:
            free.append(array)

    def _take(self, kind: type[np.integer[Any]], shape: tuple[int, ...]) -> npt.NDArray[Any]:
        free = self._free[np.dtype(kind).char, shape]
        return free.pop() if free else np.empty(shape, kind)
