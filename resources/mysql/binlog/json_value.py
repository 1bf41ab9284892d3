"""Binary JSON of row images as the text the server prints.

In: bytes of a JSON value. Out: exactly `CAST(column AS CHAR)`: stored key order, `, ` and `: `
between parts, the server's own form of numbers, dates and opaque values.
Source: mysql-server sql-common/json_binary.h (format), sql-common/json_dom.cc
(`wrapper_to_string`), strings/dtoa.cc (`my_gcvt`).
"""

from __future__ import annotations

import base64
import struct
from decimal import Decimal

from resources.mysql.binlog.decimal_value import decimal_bytes
from resources.mysql.binlog.wire_types import WireType

HONEST_GROWTH, HONEST_START = 8, 64
"""The text of a value the server wrote has at most six times its bytes (control characters in a
string); bytes whose text is longer name the same child many times over."""
MAX_DEPTH = 101
"""Deepest value, the outermost being 0; the server stops at 100."""
_SMALL_OBJECT, _LARGE_OBJECT, _SMALL_ARRAY, _LARGE_ARRAY = 0, 1, 2, 3
_LITERAL, _STRING, _OPAQUE = 4, 0x0C, 0x0F
_LITERALS = {0: "null", 1: "true", 2: "false"}
_NUMBERS = {5: "<h", 6: "<H", 7: "<i", 8: "<I", 9: "<q", 10: "<Q", 11: "<d"}
_INLINE_SMALL = frozenset({_LITERAL, 5, 6})
_INLINE_LARGE = frozenset({_LITERAL, 5, 6, 7, 8})
_BASE64_LINE = 76
_MOST_DIGITS = 81
"""Those of nine groups: the server counts a begun group of a DECIMAL in JSON as a whole one."""
_FIXED_DIGITS = 15
"""`my_gcvt` writes no more zeros than this (MAX_DECPT_FOR_F_FORMAT) before it takes `e`."""
_ESCAPES = {
    **{code: f"\\u{code:04x}" for code in range(0x20)},
    0x22: '\\"',
    0x5C: "\\\\",
    0x08: "\\b",
    0x0C: "\\f",
    0x0A: "\\n",
    0x0D: "\\r",
    0x09: "\\t",
}


class BadJson(ValueError):
    """The bytes are no JSON value."""


def json_text(data: bytes) -> str:
    """Return the text of a JSON column's value.

    `kernels.json` does the same for columns; this is for values it leaves to Python.

    Raises:
        BadJson: The bytes are damaged.
    """
    if not data:  # what the server reads an empty image as
        return "null"
    text = _Text(HONEST_GROWTH * len(data) + HONEST_START)
    try:
        _write(data[0], data, 1, text, 0)
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise BadJson("damaged binary JSON") from error
    return text.done()


class _Text:
    """The text so far, refused where it is longer than any honest value's."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._parts: list[str] = []

    def add(self, part: str) -> None:
        self._size += len(part.encode())
        if self._size > self._limit:
            raise BadJson("a JSON value that repeats itself")
        self._parts.append(part)

    def done(self) -> str:
        return "".join(self._parts)


def _write(kind: int, data: bytes, pos: int, out: _Text, depth: int) -> None:
    """Append the text of the value of type `kind` at `pos`."""
    if depth > MAX_DEPTH:
        raise BadJson("JSON nested too deeply")
    if kind <= _LARGE_ARRAY:
        _write_container(kind, data, pos, out, depth)
    elif kind == _LITERAL:
        out.add(_literal(data[pos]))
    elif kind in _NUMBERS:
        value = struct.unpack_from(_NUMBERS[kind], data, pos)[0]
        out.add(double_text(value) if isinstance(value, float) else str(value))
    elif kind == _STRING:
        size, begin = _size(data, pos)
        out.add(quoted(_slice(data, begin, size).decode()))
    elif kind == _OPAQUE:
        size, begin = _size(data, pos + 1)
        out.add(_opaque(data[pos], _slice(data, begin, size)))
    else:
        raise BadJson(f"unknown JSON type {kind}")


def _write_container(kind: int, data: bytes, pos: int, out: _Text, depth: int) -> None:
    large = kind in (_LARGE_OBJECT, _LARGE_ARRAY)
    is_object = kind in (_SMALL_OBJECT, _LARGE_OBJECT)
    width = 4 if large else 2
    inline = _INLINE_LARGE if large else _INLINE_SMALL
    count, size = _uint(data, pos, width), _uint(data, pos + width, width)
    keys = pos + 2 * width
    entries = keys + (count * (width + 2) if is_object else 0)
    if pos + size > len(data) or entries + count * (width + 1) > pos + size:
        raise BadJson("a JSON container larger than its bytes")
    out.add("{" if is_object else "[")
    for index in range(count):
        if index:
            out.add(", ")
        if is_object:
            at = keys + index * (width + 2)
            begin, length = pos + _uint(data, at, width), _uint(data, at + width, 2)
            out.add(quoted(_slice(data, begin, length).decode()) + ": ")
        entry = entries + index * (width + 1)
        child = data[entry]
        if child in inline:
            _write(child, data, entry + 1, out, depth + 1)
            continue
        offset = _uint(data, entry + 1, width)
        if offset < 2 * width:  # a value inside the container's own head: a loop
            raise BadJson("a JSON value that contains itself")
        _write(child, data, pos + offset, out, depth + 1)
    out.add("}" if is_object else "]")


def _literal(code: int) -> str:
    try:
        return _LITERALS[code]
    except KeyError:
        raise BadJson("unknown JSON literal") from None


def _uint(data: bytes, pos: int, width: int) -> int:
    return int.from_bytes(_slice(data, pos, width), "little")


def _slice(data: bytes, pos: int, size: int) -> bytes:
    if pos + size > len(data):
        raise BadJson("a JSON value larger than its bytes")
    return data[pos : pos + size]


def _size(data: bytes, pos: int) -> tuple[int, int]:
    """Return a variable length, seven bits a byte, and where what it counts begins."""
    size = 0
    for index in range(5):
        byte = data[pos + index]
        size |= (byte & 0x7F) << 7 * index
        if not byte & 0x80:
            return size, pos + index + 1
    raise BadJson("a JSON length of more than five bytes")


def quoted(text: str) -> str:
    """Return a JSON string as the server escapes it."""
    return f'"{text.translate(_ESCAPES)}"'


def _opaque(kind: int, data: bytes) -> str:
    """Return a value of a MySQL type JSON does not have."""
    if kind == WireType.NEWDECIMAL:
        return _decimal(data)
    if kind in (WireType.DATE, WireType.DATETIME, WireType.TIMESTAMP, WireType.TIME):
        return f'"{_temporal(kind, int.from_bytes(_slice(data, 0, 8), "little", signed=True))}"'
    text = base64.b64encode(data).decode()
    lines = "\n".join(text[i : i + _BASE64_LINE] for i in range(0, len(text), _BASE64_LINE))
    return quoted(f"base64:type{kind}:{lines}")


def _decimal(data: bytes) -> str:
    """Return a DECIMAL: precision, scale, then as in row images (strings/decimal.cc)."""
    precision, scale = data[0], data[1]
    if not 1 <= precision <= _MOST_DIGITS or scale > precision:
        raise BadJson("damaged DECIMAL")
    packed = bytearray(_slice(data, 2, decimal_bytes(precision, scale)))
    # The sign bit is set for positive numbers; negative ones have every other bit inverted.
    negative = not packed[0] & 0x80
    packed[0] ^= 0x80
    digits, pos, whole = "", 0, precision - scale
    for count in [whole % 9, *[9] * (whole // 9), *[9] * (scale // 9), scale % 9]:
        group = bytes(packed[pos : pos + decimal_bytes(count, 0)])
        value = int.from_bytes(bytes(b ^ 0xFF for b in group) if negative else group, "big")
        if value >= 10**count:
            raise BadJson("damaged DECIMAL")
        digits += f"{value:0{count}}" if count else ""
        pos += len(group)
    minus = "-" if negative and digits.strip("0") else ""
    text = digits[:whole].lstrip("0") or "0"
    return f"{minus}{text}.{digits[whole:]}" if scale else minus + text


def _temporal(kind: int, packed: int) -> str:
    sign = "-" if packed < 0 else ""
    packed = abs(packed)
    fraction, whole = packed & 0xFFFFFF, packed >> 24
    second, minute = whole & 63, whole >> 6 & 63
    if fraction > 999999:
        raise BadJson("damaged date or time")
    if kind == WireType.TIME:
        return f"{sign}{whole >> 12 & 1023:02}:{minute:02}:{second:02}.{fraction:06}"
    hour, day, year_month = whole >> 12 & 31, whole >> 17 & 31, whole >> 22
    if year_month // 13 > 9999:
        raise BadJson("damaged date or time")
    date = f"{year_month // 13:04}-{year_month % 13:02}-{day:02}"
    if kind == WireType.DATE:
        return date
    return f"{date} {hour:02}:{minute:02}:{second:02}.{fraction:06}"


def double_text(value: float) -> str:
    """Return a double as the server prints it in JSON: shortest digits, `e` without a plus.

    `my_gcvt` takes the fixed form unless it would put many zeros around the digits; JSON then
    adds `.0` to what looks like an integer.
    """
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    if not isinstance(exponent, int):
        raise BadJson("a JSON number that is not finite")
    if not any(digits):
        return "-0.0" if sign else "0.0"
    text = "".join(map(str, digits))
    count, point = len(text), len(text) + exponent
    minus = "-" if sign else ""
    if point > -_FIXED_DIGITS and (point <= _FIXED_DIGITS or count > point):
        return minus + _fixed(text, point)
    mantissa = text[0] + ("." + text[1:] if count > 1 else "")
    return f"{minus}{mantissa}e{point - 1}"


def _fixed(text: str, point: int) -> str:
    if point <= 0:
        return "0." + "0" * -point + text
    if point >= len(text):
        return text + "0" * (point - len(text)) + ".0"
    return f"{text[:point]}.{text[point:]}"
