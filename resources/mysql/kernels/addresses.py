"""UUID, INET4 and INET6 of MariaDB as the text the server prints.

In: bytes in the order they are printed, without trailing zero bytes. Out: string arrays; cells
longer than their type are marked.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from resources.mysql.kernels.cells import (
    Bytes,
    Cells,
    Converted,
    Ints,
    Mask,
    pack_validity,
)
from resources.mysql.kernels.jit import inline, kernel

Offsets: TypeAlias = npt.NDArray[np.int32]

_UUID, _INET4, _INET6 = range(3)
_WIDTH = (16, 4, 16)
_MOST = (36, 15, 39)
"""The longest text of each."""
_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)
_DOT, _COLON, _DASH = (ord(c) for c in ".:-")
_DASHES = 1 << 4 | 1 << 6 | 1 << 8 | 1 << 10
"""The bytes of a UUID that a dash stands before."""


def uuids(cells: Cells) -> Converted:
    """Convert a UUID column to string."""
    return _convert(cells, _UUID)


def inet4s(cells: Cells) -> Converted:
    """Convert an INET4 column to string in dotted form."""
    return _convert(cells, _INET4)


def inet6s(cells: Cells) -> Converted:
    """Convert an INET6 column to string.

    Unlike RFC 5952 the server shortens even a single zero group, and addresses that carry an IPv4
    address end in its dotted form. Source: MariaDB sql/sql_type_inet.cc, `Inet6::to_string`.
    """
    return _convert(cells, _INET6)


def _convert(cells: Cells, kind: int) -> Converted:
    bad = ~cells.null & (cells.size > _WIDTH[kind])
    null = cells.null | bad
    offsets = np.empty(len(cells) + 1, np.int32)
    text = np.empty(len(cells) * _MOST[kind], np.uint8)
    octets = np.empty(16, np.uint8)
    used = _print(cells.data, cells.start, cells.size, null, kind, octets, offsets, text)
    content = text if used == len(text) else text[:used].copy()
    buffers = [pack_validity(null), pa.py_buffer(offsets), pa.py_buffer(content)]
    array = pa.Array.from_buffers(pa.string(), len(cells), buffers)
    return Converted(array, bad if bad.any() else None, "not an address or UUID")


@inline
def _uuid(octets: Bytes, out: Bytes, at: int) -> int:
    for index in range(16):
        if _DASHES >> index & 1:
            out[at] = _DASH
            at += 1
        out[at], out[at + 1] = _DIGITS[octets[index] >> 4], _DIGITS[octets[index] & 15]
        at += 2
    return at


@inline
def _number(value: int, base: int, power: int, out: Bytes, at: int) -> int:
    """Write a number without leading zeros; `power` is that of its first possible digit."""
    while power > 1 and value < power:
        power //= base
    while power:
        out[at] = _DIGITS[value // power % base]
        power //= base
        at += 1
    return at


@inline
def _inet4(octets: Bytes, first: int, out: Bytes, at: int) -> int:
    for index in range(first, first + 4):
        if index > first:
            out[at] = _DOT
            at += 1
        at = _number(octets[index], 10, 100, out, at)
    return at


@inline
def _longest_zeros(octets: Bytes) -> tuple[int, int]:
    """Return where the first of the longest runs of zero groups begins and ends."""
    best, end, begin = 0, 0, 0
    for group in range(8):
        if octets[2 * group] or octets[2 * group + 1]:
            begin = group + 1
        elif group + 1 - begin > end - best:
            best, end = begin, group + 1
    return best, end


@inline
def _inet6(octets: Bytes, out: Bytes, at: int) -> int:
    begin, end = _longest_zeros(octets)
    mapped = end == 5 and octets[10] == 0xFF and octets[11] == 0xFF
    dotted = begin == 0 and (end == 6 or mapped)
    for group in range(6 if dotted else 8):
        if begin <= group < end:
            if group == begin:
                out[at] = out[at + 1] = _COLON
                at += 2
            continue
        if group and group != end:
            out[at] = _COLON
            at += 1
        at = _number(octets[2 * group] * 256 + octets[2 * group + 1], 16, 4096, out, at)
    if mapped and dotted:
        out[at] = _COLON
        at += 1
    return _inet4(octets, 12, out, at) if dotted else at


@kernel
def _print(
    data: Bytes,
    start: Ints,
    size: Ints,
    null: Mask,
    kind: int,
    octets: Bytes,
    offsets: Offsets,
    out: Bytes,
) -> int:
    """Fill `offsets` and `out`; return how many bytes the texts take. `octets` is room for 16."""
    at = 0
    offsets[0] = 0
    for row in range(len(start)):
        if not null[row]:
            for index in range(16):
                octets[index] = data[start[row] + index] if index < size[row] else 0
            if kind == _UUID:
                at = _uuid(octets, out, at)
            elif kind == _INET4:
                at = _inet4(octets, 0, out, at)
            else:
                at = _inet6(octets, out, at)
        offsets[row + 1] = at
    return at
