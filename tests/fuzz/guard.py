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
libc: Any = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


def map_before_forbidden(size: int) -> int:
    """Return where new zeros end and a page that nobody may touch begins.

    Args:
        size: Bytes before that place, rounded up to whole pages.

    Raises:
        OSError: There is no memory.
    """
    page = mmap.PAGESIZE
    whole = -(-size // page) * page
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    begin = libc.mmap(None, whole + page, _READ_WRITE, flags, -1, 0)
    if begin in (None, _FAILED):
        raise OSError(ctypes.get_errno(), "mmap")
    end: int = begin + whole
    if libc.mprotect(end, page, _NONE):
        raise OSError(ctypes.get_errno(), "mprotect")
    return end


class Guard:
    """A region before a forbidden page; each copy put there replaces the one before.

    Args:
        capacity: Bytes at first; it grows when more are put there.
    """

    def __init__(self, capacity: int = 1 << 20) -> None:
        self._size = capacity
        self._end = map_before_forbidden(capacity)

    def place(self, data: Bytes) -> Bytes:
        """Return a copy that ends where the memory does."""
        if len(data) > self._size:
            self._size = 2 * len(data)  # the old region stays: old arrays may still be read
            self._end = map_before_forbidden(self._size)
        if not len(data):
            return np.empty(0, np.uint8)
        memory = (ctypes.c_uint8 * len(data)).from_address(self._end - len(data))
        copy = np.frombuffer(memory, np.uint8)
        copy[:] = data
        return copy
