"""Cells of row images: for each column a function from bytes to a value.

In: a column of a table map. Out: closures `decode(data, pos) -> (value, next pos)`, made once per
table map. Values are what `arrow_columns` takes: int, float, str or bytes; a DECIMAL is its
unscaled int, dates and times are ints since the epoch.

Lengths are not checked here: a cell beyond the end of the image moves the position beyond it,
which the row decoder refuses.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, TypeAlias

from resources.mysql.binlog import temporal_value as temporal
from resources.mysql.binlog.decimal_value import decimal_bytes, decimal_decoder
from resources.mysql.binlog.options import ZeroDates
from resources.mysql.binlog.table_map import WireColumn
from resources.mysql.binlog.wire_types import INTEGER_BYTES, WireType

Decoder: TypeAlias = Callable[[bytes, int], tuple[Any, int]]
Convert: TypeAlias = Callable[[bytes], Any]


class BadCell(Exception):
    """A cell without a value Arrow could hold.

    Args:
        reason: Why, without the value.
        end: Where the next cell begins.
    """

    def __init__(self, reason: str, end: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.end = end


def fixed_decoder(column: WireColumn, zero_dates: ZeroDates) -> Decoder | None:
    """Return the decoder of a column whose cells need nothing but its wire type, else None.

    Args:
        column: A number, bit field, date or time.
        zero_dates: What a zero or impossible date becomes.
    """
    kind, meta = column.type, column.meta
    if kind in INTEGER_BYTES:
        return _integer(INTEGER_BYTES[WireType(kind)], column.unsigned)
    if kind == WireType.FLOAT:
        return _struct("<f")
    if kind == WireType.DOUBLE:
        return _struct("<d")
    if kind == WireType.NEWDECIMAL:
        precision, scale = meta >> 8, meta & 0xFF
        return _fixed(decimal_bytes(precision, scale), decimal_decoder(precision, scale))
    if kind == WireType.BIT:
        return _fixed((meta + 7) // 8, lambda data: int.from_bytes(data, "big"))
    if kind == WireType.YEAR:
        return _year
    if kind == WireType.TIME2:
        return _fixed(3 + temporal.fraction_bytes(meta), temporal.time_us)
    return _date_decoder(column, zero_dates)


def _date_decoder(column: WireColumn, zero_dates: ZeroDates) -> Decoder | None:
    fraction = temporal.fraction_bytes(column.meta)
    if column.type == WireType.DATE:
        return _dated(3, temporal.date_days, zero_dates)
    if column.type == WireType.DATETIME2:
        return _dated(5 + fraction, temporal.datetime_us, zero_dates)
    if column.type == WireType.TIMESTAMP2:
        return _dated(4 + fraction, temporal.timestamp_us, zero_dates)
    return None


def prefixed_decoder(size_bytes: int, convert: Convert, wrong: str) -> Decoder:
    """Return the decoder of cells preceded by their size.

    Args:
        size_bytes: Bytes of the size.
        convert: From the cell's bytes to its value; its ValueError makes the cell bad.
        wrong: What a bad cell's bytes are not.
    """
    if size_bytes == 1:

        def short(data: bytes, pos: int) -> tuple[Any, int]:
            end = pos + 1 + data[pos]
            try:
                return convert(data[pos + 1 : end]), end
            except ValueError as error:
                raise BadCell(wrong, end) from error

        return short

    def long(data: bytes, pos: int) -> tuple[Any, int]:
        begin = pos + size_bytes
        end = begin + int.from_bytes(data[pos:begin], "little")
        try:
            return convert(data[begin:end]), end
        except ValueError as error:
            raise BadCell(wrong, end) from error

    return long


def plain_bytes(data: bytes) -> bytes:
    """Return binary values as they are."""
    return data


def padded(size: int) -> Convert:
    """Return what restores the trailing zero bytes that row images of BINARY(n) lack."""
    return lambda data: data.ljust(size, b"\0")


def geometry(data: bytes) -> bytes:
    """Return SRID and WKB end to end; `arrow_columns` parts them.

    Raises:
        ValueError: There is no room for the SRID.
    """
    if len(data) < 4:
        raise ValueError("no SRID")
    return data


def vector(data: bytes) -> bytes:
    """Return float32 values end to end.

    Raises:
        ValueError: They do not fill whole values.
    """
    if len(data) % 4:
        raise ValueError("part of a float32")
    return data


def enum_decoder(size: int, labels: tuple[str, ...]) -> Decoder:
    """Return the decoder of an ENUM: its index; 0 is the label of invalid input, ''."""
    words = ("", *labels)

    def decode(data: bytes, pos: int) -> tuple[str, int]:
        index = int.from_bytes(data[pos : pos + size], "little")
        if index >= len(words):
            raise BadCell("an ENUM index beyond its labels", pos + size)
        return words[index], pos + size

    return decode


def set_decoder(size: int, labels: tuple[str, ...]) -> Decoder:
    """Return the decoder of a SET: one bit per label."""
    limit = 1 << len(labels)
    known: dict[int, str] = {}

    def decode(data: bytes, pos: int) -> tuple[str, int]:
        bits = int.from_bytes(data[pos : pos + size], "little")
        word = known.get(bits)
        if word is None:
            if bits >= limit:
                raise BadCell("a SET bit beyond its labels", pos + size)
            word = ",".join(label for i, label in enumerate(labels) if bits >> i & 1)
            if len(known) < 4096:
                known[bits] = word
        return word, pos + size

    return decode


def _integer(size: int, unsigned: bool) -> Decoder:
    if size == 3:
        wrap = 0 if unsigned else 1 << 24

        def three(data: bytes, pos: int) -> tuple[int, int]:
            value = data[pos] | data[pos + 1] << 8 | data[pos + 2] << 16
            return (value - wrap if value >= 1 << 23 else value), pos + 3

        return three
    code = {1: "b", 2: "h", 4: "i", 8: "q"}[size]
    return _struct("<" + (code.upper() if unsigned else code))


def _struct(form: str) -> Decoder:
    packed = struct.Struct(form)
    unpack, size = packed.unpack_from, packed.size

    def decode(data: bytes, pos: int) -> tuple[Any, int]:
        return unpack(data, pos)[0], pos + size

    return decode


def _fixed(size: int, convert: Convert) -> Decoder:
    def decode(data: bytes, pos: int) -> tuple[Any, int]:
        end = pos + size
        return convert(data[pos:end]), end

    return decode


def _year(data: bytes, pos: int) -> tuple[int, int]:
    year = data[pos]
    return (1900 + year if year else 0), pos + 1


def _dated(size: int, convert: Convert, zero_dates: ZeroDates) -> Decoder:
    def decode(data: bytes, pos: int) -> tuple[Any, int]:
        end = pos + size
        try:
            return convert(data[pos:end]), end
        except temporal.ZeroDate as error:
            if zero_dates == "null":
                return None, end
            raise BadCell(str(error), end) from error

    return decode
