"""CRC32 as binlog events carry it: the polynomial of zlib, by carry-less multiplication.

In: bytes. Out: their checksum, for kernels only; Python code takes zlib's. A processor without
that instruction goes by tables, eight bytes at a step.
Source: V. Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ
Instruction", Intel 2009 (folding); M. Kounavis and F. Berry, "A Systematic Approach to Building
High Performance Software-based CRC Generators", 2005 (slicing).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from resources.mysql.kernels.cells import Bytes
from resources.mysql.kernels.integers import uint
from resources.mysql.kernels.intrinsics import (
    CARRYLESS_WORDS,
    LINE,
    carryless_fold,
    carryless_lines,
)
from resources.mysql.kernels.jit import lean_inline

_POLYNOMIAL = 0xEDB88320
_STEP = 8
_ALL = np.uint32(0xFFFFFFFF)
_LOW = np.uint64(0xFF)


def _tables() -> npt.NDArray[np.uint32]:
    """Return what a byte adds to the checksum when 0 to 7 bytes follow it in a step."""
    tables = np.empty((_STEP, 256), np.uint32)
    crc = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        crc = np.where(crc & 1, crc >> 1 ^ np.uint32(_POLYNOMIAL), crc >> 1).astype(np.uint32)
    tables[0] = crc
    for step in range(1, _STEP):
        tables[step] = tables[step - 1] >> 8 ^ tables[0][tables[step - 1] & 0xFF]
    return tables


def _power(bits: int) -> np.uint64:
    """Return x to a power modulo the polynomial, as a factor of bit-reflected numbers."""
    value = 1 << 31
    for _ in range(bits):
        value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
    return np.uint64(value << 1)


_T = _tables()
# A sum of two words moves on by 64 or 16 bytes, multiplied by these.
_FAR_LOW, _FAR_HIGH = _power(512 + 32), _power(512 - 32)
_NEAR_LOW, _NEAR_HIGH = _power(128 + 32), _power(128 - 32)


@lean_inline
def crc32(data: Bytes, begin: int, end: int) -> int:
    """Return the CRC32 of `data[begin:end]`."""
    crc, at = _ALL, begin
    if CARRYLESS_WORDS and end - at >= 32:
        low, high = _word(data, at) ^ np.uint64(_ALL), _word(data, at + 8)
        at += 16
        if end - at >= 112:
            low, high, at = _fold_far(data, at, end, low, high)
        while end - at >= 16:
            low, high = carryless_fold(low, high, _NEAR_LOW, _NEAR_HIGH)
            low ^= _word(data, at)
            high ^= _word(data, at + 8)
            at += 16
        crc = _step(_step(np.uint32(0), low), high)
    while end - at >= 8:
        crc = _step(crc, _word(data, at))
        at += 8
    while at < end:
        crc = _T[0, (crc ^ data[at]) & np.uint32(0xFF)] ^ (crc >> np.uint32(8))
        at += 1
    return int(crc ^ _ALL)


@lean_inline
def _word(data: Bytes, at: int) -> np.uint64:
    return np.uint64(uint(data, at, 8))


@lean_inline
def _step(crc: np.uint32, word: np.uint64) -> np.uint32:
    """Take eight bytes."""
    x = word ^ np.uint64(crc)
    taken: np.uint32 = (
        _T[7, x & _LOW]
        ^ _T[6, x >> np.uint64(8) & _LOW]
        ^ _T[5, x >> np.uint64(16) & _LOW]
        ^ _T[4, x >> np.uint64(24) & _LOW]
        ^ _T[3, x >> np.uint64(32) & _LOW]
        ^ _T[2, x >> np.uint64(40) & _LOW]
        ^ _T[1, x >> np.uint64(48) & _LOW]
        ^ _T[0, x >> np.uint64(56)]
    )
    return taken


@lean_inline
def _fold_far(
    data: Bytes, at: int, end: int, low: np.uint64, high: np.uint64
) -> tuple[np.uint64, np.uint64, int]:
    """Fold as many lines as there are, in four sums that do not wait for each other."""
    words = (
        low, high, _word(data, at), _word(data, at + 8), _word(data, at + 16), _word(data, at + 24),
        _word(data, at + 32), _word(data, at + 40),
    )  # fmt: skip
    at += 48
    lines = (end - at) // LINE
    w = carryless_lines(data, at, lines, words, _FAR_LOW, _FAR_HIGH)
    low, high = carryless_fold(w[0], w[1], _NEAR_LOW, _NEAR_HIGH)
    low, high = carryless_fold(low ^ w[2], high ^ w[3], _NEAR_LOW, _NEAR_HIGH)
    low, high = carryless_fold(low ^ w[4], high ^ w[5], _NEAR_LOW, _NEAR_HIGH)
    return low ^ w[6], high ^ w[7], at + lines * LINE
