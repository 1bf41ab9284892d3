"""DECIMAL of row images as unscaled integers.

In: bytes of a packed decimal. Out: the value times 10**scale, as Arrow's decimals hold it.
Source: mysql-server strings/decimal.cc, `bin2decimal`.
"""

from __future__ import annotations

from collections.abc import Callable

_DIGITS_PER_WORD = 9
_BYTES = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)


def decimal_bytes(precision: int, scale: int) -> int:
    """Return how many bytes a DECIMAL(precision, scale) takes."""
    whole, fraction = precision - scale, scale
    words = whole // _DIGITS_PER_WORD + fraction // _DIGITS_PER_WORD
    return words * 4 + _BYTES[whole % _DIGITS_PER_WORD] + _BYTES[fraction % _DIGITS_PER_WORD]


def decimal_decoder(precision: int, scale: int) -> Callable[[bytes], int]:
    """Return a function from the bytes of a DECIMAL(precision, scale) to its unscaled value."""
    groups = _groups(precision, scale)
    size = decimal_bytes(precision, scale)
    sign_bit = 1 << (8 * size - 1)
    every_bit = (1 << 8 * size) - 1

    def decode(data: bytes) -> int:
        packed = int.from_bytes(data, "big")
        # The sign bit is set for positive numbers; negative ones have every other bit inverted.
        negative = not packed & sign_bit
        packed = (packed ^ every_bit if negative else packed) & ~sign_bit
        if negative:
            packed &= every_bit >> 1
        value = 0
        for shift, mask, power in groups:
            value = value * power + (packed >> shift & mask)
        return -value if negative else value

    return decode


def _groups(precision: int, scale: int) -> list[tuple[int, int, int]]:
    """Return shift, mask and power of ten of each group of up to nine digits, first to last."""
    whole, fraction = precision - scale, scale
    digits = [whole % 9] if whole % 9 else []
    digits += [9] * (whole // 9) + [9] * (fraction // 9)
    digits += [fraction % 9] if fraction % 9 else []
    sizes = [_BYTES[count] for count in digits]
    out: list[tuple[int, int, int]] = []
    left = sum(sizes)
    for count, size in zip(digits, sizes, strict=True):
        left -= size
        out.append((8 * left, (1 << 8 * size) - 1, 10**count))
    return out
