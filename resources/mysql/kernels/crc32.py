"""CRC32 as binlog events carry it: the polynomial of zlib, sixteen bytes at a step.

In: bytes. Out: their checksum, for kernels only; Python code takes zlib's.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from resources.mysql.kernels.cells import Bytes
from resources.mysql.kernels.jit import lean_inline

_POLYNOMIAL = 0xEDB88320
_STEP = 16


def _tables() -> npt.NDArray[np.uint32]:
    """Return what a byte adds to the checksum when 0 to 15 bytes follow it in a step."""
    tables = np.empty((_STEP, 256), np.uint32)
    crc = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        crc = np.where(crc & 1, crc >> 1 ^ np.uint32(_POLYNOMIAL), crc >> 1).astype(np.uint32)
    tables[0] = crc
    for step in range(1, _STEP):
        tables[step] = tables[step - 1] >> 8 ^ tables[0][tables[step - 1] & 0xFF]
    return tables


_T = _tables()


@lean_inline
def crc32(data: Bytes, begin: int, end: int) -> int:
    """Return the CRC32 of `data[begin:end]`.

    Source: M. Kounavis and F. Berry, "A Systematic Approach to Building High Performance
    Software-based CRC Generators", 2005 (slicing).
    """
    crc = np.uint32(0xFFFFFFFF)
    at = begin
    while at + 16 <= end:
        d = data[at : at + 16]
        crc = (
            _T[15, d[0] ^ (crc & np.uint32(0xFF))]
            ^ _T[14, d[1] ^ ((crc >> np.uint32(8)) & np.uint32(0xFF))]
            ^ _T[13, d[2] ^ ((crc >> np.uint32(16)) & np.uint32(0xFF))]
            ^ _T[12, d[3] ^ (crc >> np.uint32(24))]
            ^ _T[11, d[4]]
            ^ _T[10, d[5]]
            ^ _T[9, d[6]]
            ^ _T[8, d[7]]
            ^ _T[7, d[8]]
            ^ _T[6, d[9]]
            ^ _T[5, d[10]]
            ^ _T[4, d[11]]
            ^ _T[3, d[12]]
            ^ _T[2, d[13]]
            ^ _T[1, d[14]]
            ^ _T[0, d[15]]
        )
        at += 16
    while at < end:
        crc = _T[0, (crc ^ data[at]) & np.uint32(0xFF)] ^ (crc >> np.uint32(8))
        at += 1
    return int(crc ^ np.uint32(0xFFFFFFFF))
