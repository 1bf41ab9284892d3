"""Little-endian integers of any size, and bits of words, for kernels.

In: bytes at any offset, words. Out: int64.
"""

from __future__ import annotations

import numpy as np

from resources.mysql.kernels.cells import Bytes
from resources.mysql.kernels.jit import lean_inline


@lean_inline
def uint(data: Bytes, at: int, size: int) -> int:
    """Return the unsigned integer in `data[at:at + size]`; one of 8 bytes keeps its bits.

    Args:
        data: The bytes; the caller has checked that they reach that far.
        at: First byte.
        size: Number of bytes, 1 to 8.
    """
    value = 0
    base = np.uint64(at)  # unsigned indexes spare the check for negative ones
    for byte in range(size):
        value |= int(data[base + np.uint64(byte)]) << (8 * byte)
    return value


@lean_inline
def bits(word: np.uint64) -> int:
    """Return how many bits are set."""
    count = 0
    while word:
        word &= word - np.uint64(1)
        count += 1
    return count
