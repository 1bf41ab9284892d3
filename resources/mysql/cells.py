"""Cells of the text protocol, a whole column at a time, into Arrow arrays.

In: the packets of a result set as one buffer and where each row begins. Out: Arrow arrays, and
for each column which rows hold a value no Arrow type can hold (zero dates, broken text).

Source: MySQL internals, "Protocol::LengthEncodedString" and "ProtocolText::ResultsetRow".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from resources.errors import SchemaMismatch
from resources.model.table import Column
from resources.mysql.types import GEOMETRY

Ints: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]
_NULL_CELL = 251
_LONG_CELLS = ((252, 2), (253, 3), (254, 8))
_MICROSECONDS = 1_000_000
_DAY_US = 86_400 * _MICROSECONDS
_DAYS_IN_MONTH = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 0, 0, 0])


@dataclass(frozen=True)
class Cells:
    """One column of a batch of rows, not yet converted.

    Args:
        data: The packets, uint8.
        start: First byte of each cell.
        length: Bytes of each cell, 0 for NULL.
        null: Which cells are NULL.
    """

    data: npt.NDArray[np.uint8]
    start: Ints
    length: Ints
    null: Mask

    def bytes(self, skip: int = 0) -> pa.Array:
        """Return the cells as a compact binary array, without the first `skip` bytes of each."""
        count = len(self.start)
        if count == 0:
            return pa.array([], pa.binary())
        # One binary array over the packets as they lie: cell, gap, cell, gap …; `take` then
        # copies the cells together.
        edges = np.empty(2 * count, np.int32)
        edges[0::2] = np.minimum(self.start + skip, self.start + self.length)
        edges[1::2] = self.start + self.length
        whole = pa.Array.from_buffers(
            pa.binary(), 2 * count - 1, [None, pa.py_buffer(edges), pa.py_buffer(self.data)]
        )
        picks = pa.array(np.arange(0, 2 * count, 2, dtype=np.int32), mask=self.null)
        return whole.take(picks)

    def text(self) -> pa.Array:
        """Return cells known to be ASCII as strings."""
        return self.bytes().view(pa.string())

    def digits(self, offsets: tuple[int, ...], base: Ints) -> Ints:
        """Return the number written in the characters at `base + offset`, one per offset."""
        value = np.zeros(len(base), np.int64)
        for offset in offsets:
            value = value * 10 + (self.data[base + offset].astype(np.int64) - 48)
        return value

    def present(self) -> Cells:
        """Return the cells that are not NULL."""
        keep = ~self.null
        return Cells(self.data, self.start[keep], self.length[keep], self.null[keep])


def split_column(data: npt.NDArray[np.uint8], at: Ints) -> tuple[Cells, Ints]:
    """Read one length-encoded cell per row.

    Args:
        data: The packets.
        at: Where each row's cell begins.

    Returns:
        The cells, and where each row's next cell begins.
    """
    lead = data[at].astype(np.int64)
    null = lead == _NULL_CELL
    length = np.where(null, 0, lead)
    start = at + 1
    if (lead > _NULL_CELL).any():
        for marker, width in _LONG_CELLS:
            rows = np.flatnonzero(lead == marker)
            size = np.zeros(len(rows), np.int64)
            for byte in range(width):
                size |= data[at[rows] + 1 + byte].astype(np.int64) << (8 * byte)
            length[rows] = size
            start[rows] += width
    return Cells(data, start, length, null), start + length


def convert(column: Column, cells: Cells) -> tuple[pa.Array, Mask | None]:
    """Return the column's Arrow array, and which rows could not be converted (NULL there).

    Args:
        column: Its type decides the form the text is expected in.
        cells: As `result_set.select_list` asked for them.

    Raises:
        SchemaMismatch: The cells are not of that type: the table was altered meanwhile.
    """
    kind, arrow = column.kind, column.type
    try:
        if kind == "bit":
            return _bits(cells), None
        if kind == "geometry":
            return _geometry(cells), None
        if kind == "vector":
            return _vector(cells), None
        if pa.types.is_date(arrow) or pa.types.is_timestamp(arrow):
            return _date_time(arrow, cells)
        if pa.types.is_duration(arrow):
            return _time(cells), None
        if pa.types.is_string(arrow) or pa.types.is_large_string(arrow):
            return _strings(arrow, cells)
        if pa.types.is_binary(arrow) or pa.types.is_large_binary(arrow):
            return cells.bytes().cast(arrow), None
        if pa.types.is_float32(arrow):
            return cells.text().cast(pa.float64()).cast(arrow), None
        return cells.text().cast(arrow), None
    except pa.ArrowInvalid:
        # Arrow's message would quote the value.
        message = f"column {column.name} holds values that are not {arrow}"
        raise SchemaMismatch(message, remedy="read the table's schema again") from None


def _strings(arrow: pa.DataType, cells: Cells) -> tuple[pa.Array, Mask | None]:
    raw = cells.bytes()
    try:
        return raw.cast(arrow), None
    except pa.ArrowInvalid:
        bad = np.array([not _is_utf8(value) for value in raw.to_pylist()])
        return pc.if_else(pa.array(bad), pa.scalar(None, pa.binary()), raw).cast(arrow), bad


def _is_utf8(value: bytes | None) -> bool:
    try:
        if value is not None:
            value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _bits(cells: Cells) -> pa.Array:
    value = np.zeros(len(cells.start), np.uint64)
    widest = int(cells.length.max(initial=0))
    for byte in range(widest):
        rows = np.flatnonzero(cells.length > byte)
        octets = cells.data[cells.start[rows] + byte].astype(np.uint64)
        value[rows] = (value[rows] << np.uint64(8)) | octets
    return pa.array(value, mask=cells.null)


def _geometry(cells: Cells) -> pa.Array:
    """MySQL's internal form: SRID as four little-endian bytes, then WKB."""
    srid = np.zeros(len(cells.start), np.uint32)
    rows = np.flatnonzero(~cells.null)
    if (cells.length[rows] < 4).any():
        raise pa.ArrowInvalid("not a geometry")
    for byte in range(4):
        octets = cells.data[cells.start[rows] + byte].astype(np.uint32)
        srid[rows] |= octets << np.uint32(8 * byte)
    fields = [pa.array(srid), cells.bytes(skip=4)]
    return pa.StructArray.from_arrays(fields, fields=list(GEOMETRY), mask=pa.array(cells.null))


def _vector(cells: Cells) -> pa.Array:
    """float32 values, little-endian, end to end."""
    raw = cells.bytes()
    if (cells.length % 4).any():
        raise pa.ArrowInvalid("a vector's bytes are not a whole number of float32")
    buffer = raw.buffers()[2]
    values = np.frombuffer(buffer, "<f4") if buffer is not None else np.empty(0, "<f4")
    edges = np.concatenate(([0], np.cumsum(cells.length // 4))).astype(np.int32)
    offsets = pa.array(edges, mask=np.append(cells.null, False))
    return pa.ListArray.from_arrays(offsets, pa.array(values[: edges[-1]], pa.float32()))


def _date_time(arrow: pa.DataType, cells: Cells) -> tuple[pa.Array, Mask | None]:
    """`YYYY-MM-DD[ hh:mm:ss[.f…]]`; zero and impossible dates come back as bad."""
    present = cells.present()
    base, size = present.start, _same_length(present)
    dated = pa.types.is_date(arrow)
    if size and ((dated and size != 10) or (not dated and size < 19)):
        raise pa.ArrowInvalid("not a date")
    if size and (present.data[base + 4] != ord("-")).any():
        raise pa.ArrowInvalid("not a date")
    year = present.digits((0, 1, 2, 3), base)
    month, day = present.digits((5, 6), base), present.digits((8, 9), base)
    # Year 0 too: the calendars of server, Arrow and Python differ there.
    impossible = (year == 0) | (month == 0) | (day == 0) | (day > _month_days(year, month))
    value = _days(year, month, day)
    if not dated:
        seconds = present.digits((11, 12), base) * 3600 + present.digits((14, 15), base) * 60
        seconds += present.digits((17, 18), base)
        value = value * _DAY_US + seconds * _MICROSECONDS + _fraction(present, base, 20, size)
    bad = np.zeros(len(cells.start), np.bool_)
    bad[~cells.null] = impossible
    numbers = np.zeros(len(cells.start), np.int64)
    numbers[~cells.null] = value
    storage = pa.array(numbers, mask=cells.null | bad)
    array = storage.cast(pa.int32()).view(arrow) if dated else storage.view(arrow)
    return array, bad if bad.any() else None


def _time(cells: Cells) -> pa.Array:
    """`[-]hh[h]:mm:ss[.f…]`, read from its end since hours may have three digits."""
    present = cells.present()
    if (present.length < len("hh:mm:ss")).any():
        raise pa.ArrowInvalid("not a time")
    negative = (present.data[present.start] == ord("-")).astype(np.int64)
    first = present.start + negative
    third = present.data[first + 2] != ord(":")
    colon = first + 2 + third
    hours = present.digits((0, 1), first)
    hours = np.where(third, hours * 10 + present.digits((2,), first), hours)
    seconds = hours * 3600 + present.digits((1, 2), colon) * 60 + present.digits((4, 5), colon)
    tail = present.start + present.length - colon
    size = int(tail[0]) if len(tail) else 0
    if (tail != size).any() or (present.data[colon] != ord(":")).any():
        raise pa.ArrowInvalid("not a time")
    value = seconds * _MICROSECONDS + _fraction(present, colon, 7, size)
    numbers = np.zeros(len(cells.start), np.int64)
    numbers[~cells.null] = np.where(negative == 1, -value, value)
    return pa.array(numbers, mask=cells.null).view(pa.duration("us"))


def _fraction(cells: Cells, base: Ints, begin: int, size: int) -> Ints:
    """Microseconds written at `base + begin` up to `base + size`."""
    places = max(size - begin, 0)
    scaled: Ints = cells.digits(tuple(range(begin, begin + places)), base) * 10 ** (6 - places)
    return scaled


def _same_length(cells: Cells) -> int:
    size = int(cells.length[0]) if len(cells.length) else 0
    if (cells.length != size).any() or size > 26:
        raise pa.ArrowInvalid("temporal values of different lengths")
    return size


def _month_days(year: Ints, month: Ints) -> Ints:
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    days: Ints = _DAYS_IN_MONTH[month & 15] + (leap & (month == 2))
    return days


def _days(year: Ints, month: Ints, day: Ints) -> Ints:
    """Days since 1970-01-01, proleptic Gregorian.

    Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil.
    """
    shifted = year - (month <= 2)
    era = shifted // 400
    of_era = shifted - era * 400
    of_year = (153 * (month + np.where(month > 2, -3, 9)) + 2) // 5 + day - 1
    days: Ints = era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468
    return days
