"""Numbers inside JSON columns as the text the server prints, for the kernel of `json`.

In: integers, the bits of doubles, packed decimals. Out: ASCII written into the text.
Source: Raffaello Giulietti, "The Schubfach way to render doubles" (the shortest digits that read
back as the same double, the nearest of them); mysql-server strings/dtoa.cc, `my_gcvt` (their
form), strings/decimal.cc, `bin2decimal`.
"""

from __future__ import annotations

from functools import cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from resources.mysql.kernels.cells import Bytes
from resources.mysql.kernels.integers import uint
from resources.mysql.kernels.jit import inline

Powers: TypeAlias = npt.NDArray[np.uint64]

_FIRST_POWER, _LAST_POWER = -292, 324
_FIXED_DIGITS = 15
"""`my_gcvt` writes no more zeros than this (MAX_DECPT_FOR_F_FORMAT) before it takes `e`."""
_MANTISSA = np.uint64((1 << 52) - 1)
_HIDDEN = np.uint64(1 << 52)
_LOW = np.uint64(0xFFFFFFFF)
_0, _1, _2, _4, _10, _32, _40 = (np.uint64(n) for n in (0, 1, 2, 4, 10, 32, 40))
_MINUS, _POINT, _ZERO, _E = ord("-"), ord("."), ord("0"), ord("e")
_DECIMAL_BYTES = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
_MOST_DIGITS = 81
"""Those of nine groups: the server counts a begun group of a DECIMAL in JSON as a whole one."""


@cache
def powers_of_ten() -> Powers:
    """Return 10**-292 to 10**324, each rounded up to 128 bits, the higher 64 first."""
    out = np.empty((_LAST_POWER - _FIRST_POWER + 1, 2), np.uint64)
    for row, exponent in enumerate(range(_FIRST_POWER, _LAST_POWER + 1)):
        shift = 127 - _log2_of_power(exponent)
        above, below = 10 ** max(exponent, 0), 10 ** max(-exponent, 0)
        above, below = above << max(shift, 0), below << max(-shift, 0)
        bits = -(-above // below)
        out[row] = bits >> 64, bits & (1 << 64) - 1
    return out


def _log2_of_power(exponent: int) -> int:
    """Return the binary logarithm of a power of ten, rounded down."""
    return exponent * 1741647 >> 19


_log2 = inline(_log2_of_power)


@inline
def put_integer(out: Bytes, at: int, value: np.uint64, negative: bool) -> int:
    """Write an integer and return where the next byte goes.

    Args:
        out: Where to, with room for 21 bytes.
        at: The place.
        value: Its magnitude.
        negative: Whether to write a minus before it.
    """
    if negative:
        out[at] = _MINUS
        at += 1
    return put_digits(out, at, value, count_digits(value))


@inline
def count_digits(value: np.uint64) -> int:
    """Return how many decimal digits a number has."""
    count = 1
    while value >= _10:
        value //= _10
        count += 1
    return count


@inline
def put_digits(out: Bytes, at: int, value: np.uint64, count: int) -> int:
    """Write the last `count` digits of a number and return where the next byte goes."""
    for place in range(at + count - 1, at - 1, -1):
        out[place] = _ZERO + value % _10
        value //= _10
    return at + count


@inline
def put_double(out: Bytes, at: int, bits: np.uint64, powers: Powers) -> int:
    """Write a double and return where the next byte goes, -1 if it is not finite.

    Args:
        out: Where to, with room for 40 bytes.
        at: The place.
        bits: Its IEEE 754 form.
        powers: `powers_of_ten()`.
    """
    exponent = int(np.int64(bits >> np.uint64(52))) & 0x7FF
    if exponent == 0x7FF:
        return -1
    if bits >> np.uint64(63):
        out[at] = _MINUS
        at += 1
    mantissa = bits & _MANTISSA
    if exponent == 0 and mantissa == _0:
        out[at], out[at + 1], out[at + 2] = _ZERO, _POINT, _ZERO
        return at + 3
    digits, power = _shortest(mantissa, exponent, powers)
    while digits % _10 == _0:
        digits //= _10
        power += 1
    count = count_digits(digits)
    point = count + power
    if point > -_FIXED_DIGITS and (point <= _FIXED_DIGITS or count > point):
        return _put_fixed(out, at, digits, count, point)
    return _put_scientific(out, at, digits, count, point)


@inline
def _put_fixed(out: Bytes, at: int, digits: np.uint64, count: int, point: int) -> int:
    if point <= 0:
        out[at], out[at + 1] = _ZERO, _POINT
        at = put_digits(out, at + 2, _0, -point)
        return put_digits(out, at, digits, count)
    if point >= count:
        at = put_digits(out, at, digits, count)
        at = put_digits(out, at, _0, point - count)
        out[at], out[at + 1] = _POINT, _ZERO
        return at + 2
    return _put_pointed(out, at, digits, count, point)


@inline
def _put_scientific(out: Bytes, at: int, digits: np.uint64, count: int, point: int) -> int:
    # A single digit has no point: `e` takes its place.
    at = _put_pointed(out, at, digits, count, 1) - (1 if count == 1 else 0)
    out[at] = _E
    return put_integer(out, at + 1, np.uint64(abs(point - 1)), point < 1)


@inline
def _put_pointed(out: Bytes, at: int, digits: np.uint64, count: int, point: int) -> int:
    put_digits(out, at + 1, digits, count)
    for place in range(at, at + point):
        out[place] = out[place + 1]
    out[at + point] = _POINT
    return at + count + 1


@inline
def _shortest(mantissa: np.uint64, exponent: int, powers: Powers) -> tuple[np.uint64, int]:
    """Return the shortest digits of a positive double, and the power of ten they are times of.

    The names are the paper's: the double is c * 2**q, the candidates s and s + 1 are times 10**k,
    and every bound is times 4 so that halves and quarters are whole.
    """
    c = mantissa | _HIDDEN if exponent else mantissa
    q = exponent - 1075 if exponent else -1074
    closer = mantissa == _0 and exponent > 1
    k = (q * 1262611 - (524031 if closer else 0)) >> 22
    shift = np.uint64(q + _log2(-k) + 1)
    high, low = powers[-k - _FIRST_POWER]
    odd = c & _1
    center = _scaled(high, low, (c * _4) << shift)
    lower = _scaled(high, low, (c * _4 - (_1 if closer else _2)) << shift) + odd
    upper = _scaled(high, low, (c * _4 + _2) << shift) - odd
    s = center // _4
    if s >= _10:
        tens = s // _10
        below, above = lower <= tens * _40, tens * _40 + _40 <= upper
        if below != above:
            return tens + (_1 if above else _0), k + 1
    below, above = lower <= s * _4, s * _4 + _4 <= upper
    if below != above:
        return s + (_1 if above else _0), k
    middle = s * _4 + _2
    round_up = center > middle or (center == middle and s & _1 == _1)
    return s + (_1 if round_up else _0), k


@inline
def _scaled(high: np.uint64, low: np.uint64, value: np.uint64) -> np.uint64:
    """Return (high * 2**64 + low) * value / 2**128; the last bit is set if it was not whole."""
    middle = high * value + _high_half(low, value)
    carry = _1 if middle < high * value else _0
    return (_high_half(high, value) + carry) | (_1 if middle > _1 else _0)


@inline
def _high_half(left: np.uint64, right: np.uint64) -> np.uint64:
    """Return the upper 64 bits of a product."""
    a, b, c, d = left >> _32, left & _LOW, right >> _32, right & _LOW
    middle = (b * d >> _32) + (a * d & _LOW) + (b * c & _LOW)
    return a * c + (a * d >> _32) + (b * c >> _32) + (middle >> _32)


@inline
def put_decimal(out: Bytes, at: int, data: Bytes, begin: int, end: int) -> int:
    """Write an opaque DECIMAL and return where the next byte goes, -1 if it is damaged.

    Args:
        out: Where to, with room for 96 bytes.
        at: The place.
        data: The bytes.
        begin: Where precision, scale and the packed digits begin.
        end: Where they end, at least.
    """
    if end - begin < 3:
        return -1
    precision, scale = uint(data, begin, 1), uint(data, begin + 1, 1)
    whole = precision - scale
    if precision < 1 or precision > _MOST_DIGITS or whole < 0:
        return -1
    # Behind the room of a minus, a zero and a point, from where they only move to the front.
    raw = at + 3
    if not _unpack(out, raw, data, begin + 2, end, precision, scale):
        return -1
    if data[begin + 2] < 0x80 and (out[raw : raw + precision] != _ZERO).any():
        out[at] = _MINUS
        at += 1
    place = raw
    while place < raw + whole and out[place] == _ZERO:
        place += 1
    if place == raw + whole:
        out[at] = _ZERO
        at += 1
    for digit in range(place, raw + precision):
        if digit == raw + whole:
            out[at] = _POINT
            at += 1
        out[at] = out[digit]
        at += 1
    return at


@inline
def _unpack(
    out: Bytes, at: int, data: Bytes, begin: int, end: int, precision: int, scale: int
) -> bool:
    """Write every digit of a packed decimal; return whether its bytes hold as many."""
    flip = 0 if data[begin] & 0x80 else 0xFF
    place, left = begin, precision
    while left > 0:
        # Nine digits a group; the rest stands first before the point and last behind it.
        count = (left - scale - 1) % 9 + 1 if left > scale else min(left, 9)
        group = _DECIMAL_BYTES[count]
        if place + group > end:
            return False
        value = 0
        for byte in range(place, place + group):
            value = value * 256 + (data[byte] ^ flip)
        if place == begin:
            value ^= 0x80 << 8 * (group - 1)
        if value >= 10**count:
            return False
        at = put_digits(out, at, np.uint64(value), count)
        place += group
        left -= count
    return True
