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
        self._bytes: defaultdict[tuple[int, ...], deque[Bytes]] = defaultdict(deque)
        self._ints: defaultdict[tuple[int, ...], deque[Ints]] = defaultdict(deque)

    def bytes(self, size: int) -> Bytes:
        """Return an array of uint8."""
        free = self._bytes[(size,)]
        return free.pop() if free else np.empty(size, np.uint8)

    def ints(self, *shape: int) -> Ints:
        """Return an array of int64."""
        free = self._ints[shape]
        return free.pop() if free else np.empty(shape, np.int64)

    def give_bytes(self, array: Bytes) -> None:
        """Take an array nobody looks at any longer."""
        _keep(self._bytes[array.shape], array)

    def give_ints(self, array: Ints) -> None:
        """Take an array nobody looks at any longer."""
        _keep(self._ints[array.shape], array)


def _keep(free: deque[Any], array: npt.NDArray[Any]) -> None:
    if array.nbytes <= _MOST_BYTES and len(free) < _KEPT:
        free.append(array)
