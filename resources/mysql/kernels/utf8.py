"""UTF-8 inside kernels: how long a sequence is, and a code point as bytes.

In: bytes and positions the caller has checked. Out: small functions that kernels take a copy of.
"""

from __future__ import annotations

from resources.mysql.kernels.cells import Bytes
from resources.mysql.kernels.jit import inline


@inline
def sequence(data: Bytes, at: int, end: int) -> int:
    """Return the bytes of the character at `at`, 0 if what begins there is no UTF-8.

    Overlong forms, surrogates and what is beyond U+10FFFF are none.

    Args:
        data: The bytes.
        at: Where the character begins, before `end`.
        end: Where its text ends, within `data`.
    """
    first = data[at]
    if first < 0x80:
        return 1
    length = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    if first < 0xC2 or first > 0xF4 or at + length > end:
        return 0
    for byte in range(1, length):
        if data[at + byte] & 0xC0 != 0x80:
            return 0
    second = data[at + 1]
    if (first == 0xE0 and second < 0xA0) or (first == 0xED and second > 0x9F):
        return 0
    if (first == 0xF0 and second < 0x90) or (first == 0xF4 and second > 0x8F):
        return 0
    return length


@inline
def put(out: Bytes, at: int, point: int) -> int:
    """Write a code point and return where the next one goes.

    Args:
        out: Where to, with room for it.
        at: The place.
        point: At most U+10FFFF and no surrogate.
    """
    if point < 0x80:
        out[at] = point
        return at + 1
    if point < 0x800:
        out[at] = 0xC0 | point >> 6
        out[at + 1] = 0x80 | point & 0x3F
        return at + 2
    if point < 0x10000:
        out[at] = 0xE0 | point >> 12
        out[at + 1] = 0x80 | point >> 6 & 0x3F
        out[at + 2] = 0x80 | point & 0x3F
        return at + 3
    out[at] = 0xF0 | point >> 18
    out[at + 1] = 0x80 | point >> 12 & 0x3F
    out[at + 2] = 0x80 | point >> 6 & 0x3F
    out[at + 3] = 0x80 | point & 0x3F
    return at + 4
