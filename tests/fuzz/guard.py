"""Memory that ends at a page nobody may touch, so that one byte read too far ends the process.

In: bytes. Out: an array of a copy of them whose last byte is the last byte before that page.
"""

from __future__ import annotations

import ctypes
import mmap
from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

_NONE, _READ_WRITE = 0, 3
_FAILED = ctypes.c_void_p(-1).value
_libc: Any = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


class Guard:
    """A region between two forbidden pages; each copy put there replaces the one before.

    Args:
        capacity: Bytes at first; it grows when more are put there.
    """

    def __init__(self, capacity: int = 1 << 20) -> None:
        self._map(capacity)

    def _map(self, capacity: int) -> None:
        page = mmap.PAGESIZE
        self._size = (capacity + page - 1) // page * page
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        begin = _libc.mmap(None, self._size + 2 * page, _READ_WRITE, flags, -1, 0)
        if begin in (None, _FAILED):
            raise OSError(ctypes.get_errno(), "mmap")
        self._end = begin + page + self._size
        for forbidden in (begin, self._end):
            if _libc.mprotect(forbidden, page, _NONE):
                raise OSError(ctypes.get_errno(), "mprotect")

    def place(self, data: Bytes) -> Bytes:
        """Return a copy that ends where the memory does."""
        if len(data) > self._size:
            self._map(2 * len(data))  # the old region stays: old arrays may still be read
        if not len(data):
            return np.empty(0, np.uint8)
        memory = (ctypes.c_uint8 * len(data)).from_address(self._end - len(data))
        copy = np.frombuffer(memory, np.uint8)
        copy[:] = data
        return copy
