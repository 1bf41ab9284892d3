"""Single values inside JSON columns as the text the server prints, for the kernel of `json`.

In: bytes of one value of the binary format and where its cell ends. Out: its text written, where
the next byte goes; a negative number (`BAD`, `SPACE`, `PYTHON`) instead if that cannot be done.
Source: mysql-server sql-common/json_binary.h (format), sql-common/json_dom.cc
(`wrapper_to_string`), sql-common/my_time.cc (`TIME_from_longlong_datetime_packed`).
"""

from __future__ import annotations

import numpy as np

from resources.mysql.kernels.cells import Bytes
from resources.mysql.kernels.integers import uint
from resources.mysql.kernels.jit import inline
from resources.mysql.kernels.json_numbers import (
    Powers,
    count_digits,
    put_decimal,
    put_digits,
    put_double,
    put_integer,
)
from resources.mysql.kernels.utf8 import sequence

BAD, SPACE, PYTHON = -1, -2, -3
"""The bytes are no JSON; the text needs more room; only Python writes such a value."""
ROOM = 256
"""Bytes that are free where a value or a block of a string is written: enough for any of them,
and for the brackets that may close behind it."""
LITERAL, INT16, UINT16, INT32, UINT32, DOUBLE, STRING, OPAQUE = 4, 5, 6, 7, 8, 11, 12, 15

_BLOCK = 16
_QUOTE, _BACKSLASH = ord('"'), ord("\\")
_TRUE, _FALSE, _NULL = (np.frombuffer(word, np.uint8) for word in (b"true", b"false", b"null"))
_UNICODE = np.frombuffer(b"\\u00", np.uint8)
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
_SHORT = np.zeros(0x20, np.uint8)
"""Letter of the escape of a control character, 0 if it has none."""
for _code, _letter in zip(b"\b\t\n\f\r", b"btnfr", strict=True):
    _SHORT[_code] = _letter
_DATE, _TIME, _DATETIME, _TIMESTAMP, _DECIMAL = 10, 11, 12, 7, 246


@inline
def put_scalar(
    kind: int, data: Bytes, at: int, end: int, out: Bytes, pos: int, powers: Powers
) -> int:
    """Write a value that is neither object nor array.

    Args:
        kind: Its type in the binary format.
        data: The bytes.
        at: Where the value begins.
        end: Where the cell ends.
        out: Where to write, with `ROOM`.
        pos: The place.
        powers: `powers_of_ten()`.
    """
    if kind == LITERAL:
        return _put_literal(data, at, end, out, pos)
    if INT16 <= kind <= DOUBLE:
        return _put_number(kind, data, at, end, out, pos, powers)
    if kind == OPAQUE and at < end:
        length, begin = _length(data, at + 1, end)
        if begin < 0 or begin + length > end:
            return BAD
        return _put_opaque(uint(data, at, 1), data, begin, begin + length, out, pos)
    if kind == STRING:
        length, begin = _length(data, at, end)
        if begin < 0 or begin + length > end:
            return BAD
        return put_string(data, begin, begin + length, out, pos)
    return BAD


@inline
def _put_literal(data: Bytes, at: int, end: int, out: Bytes, pos: int) -> int:
    if at >= end or data[at] > 2:
        return BAD
    if data[at] == 0:
        return put_word(_NULL, out, pos)
    return put_word(_TRUE if data[at] == 1 else _FALSE, out, pos)


@inline
def put_word(word: Bytes, out: Bytes, pos: int) -> int:
    """Write some bytes."""
    for byte in range(len(word)):
        out[pos + byte] = word[byte]
    return pos + len(word)


@inline
def put_null(out: Bytes, pos: int) -> int:
    """Write `null`, which the server reads an empty image as."""
    return put_word(_NULL, out, pos)


@inline
def _put_number(
    kind: int, data: Bytes, at: int, end: int, out: Bytes, pos: int, powers: Powers
) -> int:
    width = 2 if kind <= UINT16 else 4 if kind <= UINT32 else 8
    if at + width > end:
        return BAD
    bits = np.uint64(uint(data, at, width))
    if kind == DOUBLE:
        return put_double(out, pos, bits, powers)
    # Signed types have odd numbers.
    negative = kind % 2 == 1 and data[at + width - 1] >= 0x80
    if negative:
        bits = (~bits + np.uint64(1)) & np.uint64(0xFFFFFFFFFFFFFFFF >> (64 - 8 * width))
    return put_integer(out, pos, bits, negative)


@inline
def _length(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """Return a variable length, seven bits a byte, and where what it counts begins, -1 if bad."""
    length = 0
    for byte in range(5):
        if at + byte >= end:
            return 0, -1
        length += (uint(data, at + byte, 1) & 0x7F) << 7 * byte
        if data[at + byte] < 0x80:
            return length, at + byte + 1
    return 0, -1


@inline
def put_string(data: Bytes, at: int, end: int, out: Bytes, pos: int) -> int:
    """Write bytes as a JSON string, escaped as the server does; they must be UTF-8.

    Args:
        data: The bytes.
        at: Where the string begins.
        end: Where it ends, within `data`.
        out: Where to write, with `ROOM`.
        pos: The place.
    """
    out[pos] = _QUOTE
    pos += 1
    while at < end:
        if len(out) - pos < ROOM:
            return SPACE
        stop = min(end, at + _BLOCK)
        if stop - at == _BLOCK:
            special = False
            for byte in range(_BLOCK):
                value = data[at + byte]
                out[pos + byte] = value
                special |= (value - 0x20) & 0xFF >= 0x60
                special |= (value == _QUOTE) | (value == _BACKSLASH)
            if not special:
                at += _BLOCK
                pos += _BLOCK
                continue
        while at < stop:
            length = sequence(data, at, end)
            if length == 0:
                return BAD
            if length == 1:
                pos = _put_ascii(data[at], out, pos)
            else:
                pos = put_word(data[at : at + length], out, pos)
            at += length
    out[pos] = _QUOTE
    return pos + 1


@inline
def _put_ascii(value: int, out: Bytes, pos: int) -> int:
    if value in (_QUOTE, _BACKSLASH):
        out[pos], out[pos + 1] = _BACKSLASH, value
        return pos + 2
    if value >= 0x20:
        out[pos] = value
        return pos + 1
    if _SHORT[value]:
        out[pos], out[pos + 1] = _BACKSLASH, _SHORT[value]
        return pos + 2
    pos = put_word(_UNICODE, out, pos)
    out[pos], out[pos + 1] = _HEX[value >> 4], _HEX[value & 15]
    return pos + 2


@inline
def _put_opaque(kind: int, data: Bytes, at: int, end: int, out: Bytes, pos: int) -> int:
    """Write a value of a MySQL type JSON does not have."""
    if kind == _DECIMAL:
        return put_decimal(out, pos, data, at, end)
    if kind not in (_DATE, _TIME, _DATETIME, _TIMESTAMP):
        return PYTHON
    if at + 8 > end:
        return BAD
    out[pos] = _QUOTE
    pos = _put_temporal(kind, np.uint64(uint(data, at, 8)), out, pos + 1)
    if pos >= 0:
        out[pos] = _QUOTE
        pos += 1
    return pos


@inline
def _put_temporal(kind: int, packed: np.uint64, out: Bytes, pos: int) -> int:
    negative = packed >> np.uint64(63) == 1
    if negative:
        packed = ~packed + np.uint64(1)
    fraction = int(np.int64(packed & np.uint64(0xFFFFFF)))
    whole = int(np.int64(packed >> np.uint64(24)))
    if fraction > 999999:
        return BAD
    if kind == _TIME:
        if negative:
            out[pos] = ord("-")
            pos += 1
        hour = whole >> 12 & 1023
        pos = put_digits(out, pos, np.uint64(hour), max(2, count_digits(np.uint64(hour))))
    else:
        year_month = whole >> 22
        if year_month // 13 > 9999:
            return BAD
        pos = put_digits(out, pos, np.uint64(year_month // 13), 4)
        pos = _put_part(out, pos, "-", year_month % 13)
        pos = _put_part(out, pos, "-", whole >> 17 & 31)
        if kind == _DATE:
            return pos
        pos = _put_part(out, pos, " ", whole >> 12 & 31)
    pos = _put_part(out, pos, ":", whole >> 6 & 63)
    pos = _put_part(out, pos, ":", whole & 63)
    out[pos] = ord(".")
    return put_digits(out, pos + 1, np.uint64(fraction), 6)


@inline
def _put_part(out: Bytes, pos: int, separator: str, value: int) -> int:
    out[pos] = ord(separator)
    return put_digits(out, pos + 1, np.uint64(value), 2)
