"""The form of packed DECIMALs: groups of digits, nine to four bytes.

In: precision and scale. Out: how many digits and bytes each group has.
Source: mysql-server strings/decimal.cc, `decimal2bin`.
"""

from __future__ import annotations

_GROUP_DIGITS = 9
_GROUP_BYTES = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)


def decimal_groups(precision: int, scale: int) -> list[tuple[int, int]]:
    """Return digits and bytes of each group of a DECIMAL(precision, scale), first to last."""
    whole, fraction = precision - scale, scale
    digits = [whole % _GROUP_DIGITS] + [_GROUP_DIGITS] * (whole // _GROUP_DIGITS)
    digits += [_GROUP_DIGITS] * (fraction // _GROUP_DIGITS) + [fraction % _GROUP_DIGITS]
    return [(count, _GROUP_BYTES[count]) for count in digits if count]


def decimal_bytes(precision: int, scale: int) -> int:
    """Return how many bytes a DECIMAL(precision, scale) takes."""
    return sum(size for _, size in decimal_groups(precision, scale))
