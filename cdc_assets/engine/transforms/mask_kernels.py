"""Loops of masks over texts and binary values: hexadecimal digits, telephone numbers, middles.

In: values end to end, as Arrow keeps them, and which are not NULL. Out: the masked ones, the same
way. A NULL becomes no bytes, whatever lies there. Each kernel is whole in itself: numba's cache
looks at the file of a function only.
"""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from resources.mysql.kernels.jit import lean_inline, lean_kernel

Array = npt.NDArray[Any]


@lean_kernel
def put_hex(digests: Array, known: Array, out: Array, ends: Array) -> None:
    """Write digests in hexadecimal digits.

    Args:
        digests: uint8, a row of bytes per value.
        known: bool, which are wanted.
        out: uint8, written; twice the bytes.
        ends: int32, where each begins in `out`, and the end of the last; written.
    """
    to = 0
    ends[0] = 0
    for row in range(len(digests)):
        if known[row]:
            for i in range(digests.shape[1]):
                byte = digests[row, i]
                out[to + 2 * i] = _digit(byte >> 4)
                out[to + 2 * i + 1] = _digit(byte & 15)
            to += 2 * digests.shape[1]
        ends[row + 1] = to


@lean_inline
def _digit(value: int) -> int:
    return value + 48 + 39 * (value > 9)


@lean_kernel
def put_phones(
    data: Array, offsets: Array, known: Array, keep: int, sign: int, out: Array, ends: Array
) -> bool:
    """Hide all digits but the last; of values that have no more digits than those, all.

    What has no digits at all is hidden as a whole, by three signs of its own.

    Args:
        data: uint8, the values.
        offsets: int64, where each begins, and the end of the last.
        known: bool, which are not NULL.
        keep: Digits shown.
        sign: What hidden digits become, an ASCII code.
        out: uint8, written; as long as the values and three bytes for each.
        ends: int64, where each begins in `out`, and the end of the last; written.

    Returns:
        False if there is more than ASCII in them; nothing written counts then.
    """
    to = 0
    ends[0] = 0
    for row in range(len(known)):
        begin, end = offsets[row], offsets[row + 1]
        if known[row]:
            digits = 0
            for at in range(begin, end):
                if data[at] > 127:
                    return False
                digits += 48 <= data[at] <= 57
            hidden = digits - keep if digits > keep else digits
            for at in range(begin, end if digits else begin):
                digit = 48 <= data[at] <= 57
                out[to] = sign if digit and hidden > 0 else data[at]
                hidden -= digit
                to += 1
            if not digits:
                for i in range(3):
                    out[to + i] = 42
                to += 3
        ends[row + 1] = to
    return True


@lean_kernel
def put_partial(
    data: Array,
    offsets: Array,
    known: Array,
    first: int,
    last: int,
    sign: Array,
    binary: bool,
    out: Array,
    ends: Array,
) -> None:
    """Hide all characters but the first and the last; of values that have no more, all.

    Args:
        data: uint8, the values.
        offsets: int64, where each begins, and the end of the last.
        known: bool, which are not NULL.
        first: Characters shown at the beginning.
        last: Characters shown at the end.
        sign: uint8, what a hidden character becomes.
        binary: Whether a character is a byte, not a code point of UTF-8.
        out: uint8, written; as long as the values times the sign.
        ends: int64, where each begins in `out`, and the end of the last; written.
    """
    to = 0
    ends[0] = 0
    for row in range(len(known)):
        begin, end = offsets[row], offsets[row + 1]
        hidden = 0
        if known[row]:
            hidden = end - begin if binary else _characters(data, begin, end)
        head, tail = begin, end
        if hidden > first + last:
            single = hidden == end - begin
            hidden -= first + last
            head = begin + first if single else _after(data, begin, end, first)
            tail = end - last if single else _after(data, head, end, hidden)
        for at in range(begin, head):
            out[to + at - begin] = data[at]
        to += head - begin
        for _ in range(hidden):
            for i in range(len(sign)):
                out[to + i] = sign[i]
            to += len(sign)
        for at in range(tail, end):
            out[to + at - tail] = data[at]
        to += end - tail
        ends[row + 1] = to


@lean_inline
def _characters(data: Array, begin: int, end: int) -> int:
    count = 0
    for at in range(begin, end):
        count += (data[at] & 0xC0) != 0x80
    return count


@lean_inline
def _after(data: Array, begin: int, end: int, count: int) -> int:
    """Return where so many characters end."""
    at = begin
    while count > 0 and at < end:
        at += 1
        while at < end and (data[at] & 0xC0) == 0x80:
            at += 1
        count -= 1
    return at
