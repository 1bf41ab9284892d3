"""Arrow columns as PostgreSQL's binary values, whole columns at a time.

In: one array of a type of `postgres_types`. Out: where each row's bytes are, and which rows hold
a value PostgreSQL has no form for. Forms are those of the types' `*_recv` functions in
src/backend/utils/adt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from resources.sinks.postgres_kernels import write_numerics

Array = npt.NDArray[Any]

MAX_VALUE = (1 << 30) - 64
"""Bytes of the longest value the server takes (`MaxAllocSize`)."""
_EPOCH_DAYS = 10_957
_EPOCH_US = _EPOCH_DAYS * 86_400_000_000
_DATES = (-2_451_545, 2_147_483_494 - 2_451_545)
"""Days from 2000-01-01 that are finite: 4713 BC up to, but without, the end."""
_FIRST_TIMESTAMP = -211_813_488_000_000_000
"""Microseconds from 2000-01-01 to 4713 BC; the last one is past what Arrow has."""
_FLOAT4 = 700
_TEXT_TYPES = (pa.string(), pa.large_string())
_BYTE_TYPES = (pa.binary(), pa.large_binary())


@dataclass(frozen=True)
class Cells:
    """A column's binary values.

    Args:
        data: uint8, the bytes.
        starts: int64, where each row's value begins.
        lengths: int32, its bytes; -1 for NULL.
        bad: Rows whose value has no form; None for none. Their lengths mean nothing.
        reason: What is wrong with them, without the value.
    """

    data: Array
    starts: Array
    lengths: Array
    bad: Array | None = None
    reason: str = ""


def cells_of(values: pa.Array) -> Cells:
    """Return the binary values of one array of a type `postgres_types` takes."""
    type_ = values.type
    if type_ in _TEXT_TYPES or type_ in _BYTE_TYPES:
        return _bytes(values)
    if pa.types.is_decimal(type_):
        return _numeric(values, type_.bit_width // 32, type_.scale, type_.precision)
    if type_ == pa.uint64():
        return _numeric(values, 2, 0, 20)
    if pa.types.is_struct(type_):
        return _geometry(values)
    if pa.types.is_list(type_):
        return _float_array(values)
    return _FIXED[type_](values)


def jsonb_cells(values: pa.Array) -> Cells:
    """Return the binary values of JSON text for a column of type `jsonb`: version 1, then text."""
    plain = _bytes(values)
    offsets = _offsets(values)
    heads = np.ones((len(values), 1), np.uint8)
    body = plain.data[int(offsets[0]) : int(offsets[-1])]
    data, starts = _woven(heads, np.diff(offsets), body)
    lengths = np.where(plain.lengths < 0, -1, plain.lengths + 1).astype(np.int32)
    return Cells(data, starts, lengths, plain.bad, plain.reason)


def _valid(values: pa.Array) -> Array | None:
    """Return which rows are not NULL, None for all."""
    if not values.null_count:
        return None
    return _bits(values.buffers()[0], values)


def _bits(buffer: pa.Buffer, values: pa.Array) -> Array:
    packed = np.frombuffer(buffer, np.uint8)
    bits = np.unpackbits(packed, count=values.offset + len(values), bitorder="little")
    return bits[values.offset :].astype(bool)


def _numbers(values: pa.Array, dtype: str) -> Array:
    """Return a fixed-width array's items over the memory they are in."""
    kind = np.dtype(dtype)
    if not len(values):
        return np.empty(0, kind)
    return np.frombuffer(values.buffers()[1], kind, len(values), values.offset * kind.itemsize)


def _fixed(values: pa.Array, items: Array, bad: Array | None = None, reason: str = "") -> Cells:
    """Return cells of one width; `items` are in network order."""
    width = items.itemsize
    data = np.ascontiguousarray(items).view(np.uint8).reshape(-1)
    valid = _valid(values)
    lengths = np.full(len(values), width, np.int32)
    if valid is not None:
        lengths[~valid] = -1
        bad = None if bad is None else bad & valid
    if bad is not None and not bad.any():
        bad = None
    starts = np.arange(len(values), dtype=np.int64) * width
    return Cells(data, starts, lengths, bad, reason)


def _plain(dtype: str, wire: str) -> Callable[[pa.Array], Cells]:
    def convert(values: pa.Array) -> Cells:
        return _fixed(values, _numbers(values, dtype).astype(wire))

    return convert


def _boolean(values: pa.Array) -> Cells:
    items = _bits(values.buffers()[1], values) if len(values) else np.empty(0, bool)
    return _fixed(values, items.view(np.uint8))


def _date(values: pa.Array) -> Cells:
    days = _numbers(values, "<i4").astype(np.int64) - _EPOCH_DAYS
    bad = (days < _DATES[0]) | (days >= _DATES[1])
    return _fixed(values, days.astype(">i4"), bad, "a date PostgreSQL does not have")


def _timestamp(values: pa.Array) -> Cells:
    items = _numbers(values, "<i8")
    # Compared before the epoch is taken off: the difference may not fit 64 bits.
    bad = items < _FIRST_TIMESTAMP + _EPOCH_US
    wire = (items - _EPOCH_US).astype(">i8")
    return _fixed(values, wire, bad, "a time PostgreSQL does not have")


def _interval(values: pa.Array) -> Cells:
    items = np.zeros(len(values), [("time", ">i8"), ("days", ">i4"), ("months", ">i4")])
    items["time"] = _numbers(values, "<i8")
    return _fixed(values, items)


_FIXED: dict[pa.DataType, Callable[[pa.Array], Cells]] = {
    pa.bool_(): _boolean,
    pa.int8(): _plain("<i1", ">i2"),
    pa.int16(): _plain("<i2", ">i2"),
    pa.int32(): _plain("<i4", ">i4"),
    pa.int64(): _plain("<i8", ">i8"),
    pa.uint8(): _plain("<u1", ">i2"),
    pa.uint16(): _plain("<u2", ">i4"),
    pa.uint32(): _plain("<u4", ">i8"),
    # As words: a signalling NaN does not survive a conversion of floats.
    pa.float32(): _plain("<u4", ">u4"),
    pa.float64(): _plain("<u8", ">u8"),
    pa.date32(): _date,
    pa.timestamp("us"): _timestamp,
    pa.timestamp("us", tz="UTC"): _timestamp,
    pa.duration("us"): _interval,
}


def _numeric(values: pa.Array, words: int, scale: int, precision: int) -> Cells:
    rows = len(values)
    if not rows:
        return _fixed(values, np.empty(0, np.uint8))
    buffer = np.frombuffer(values.buffers()[1], np.uint32, rows * words, values.offset * words * 4)
    limbs = buffer.reshape(rows, words).view()
    limbs.flags.writeable = False  # one kind of argument, so one compiled kernel
    # Padded to groups of four on both sides of the point; values may exceed their precision.
    widest = max(precision, -(-words * 32 * 30103 // 100_000) + 1)
    stride = 8 + 2 * (widest // 4 + 3)
    data = np.empty(rows * stride, np.uint8)
    lengths = np.empty(rows, np.int32)
    signed = bool(pa.types.is_decimal(values.type))
    write_numerics(limbs, signed, scale, stride, data, lengths)
    valid = _valid(values)
    if valid is not None:
        lengths[~valid] = -1
    return Cells(data, np.arange(rows, dtype=np.int64) * stride, lengths)


def _offsets(values: pa.Array) -> Array:
    """Return the rows' bounds in the bytes or items of a text, binary or list array, as int64."""
    if not len(values):
        return np.zeros(1, np.int64)
    wide = pa.types.is_large_string(values.type) or pa.types.is_large_binary(values.type)
    kind = np.dtype("<i8" if wide else "<i4")
    start = values.offset * kind.itemsize
    return np.frombuffer(values.buffers()[1], kind, len(values) + 1, start).astype(np.int64)


def _content(values: pa.Array) -> Array:
    buffer = values.buffers()[2]
    return np.empty(0, np.uint8) if buffer is None else np.frombuffer(buffer, np.uint8)


def _bytes(values: pa.Array) -> Cells:
    offsets, data, valid = _offsets(values), _content(values), _valid(values)
    lengths = np.diff(offsets)
    bad = None
    reason = "a value of over 1 GB"
    if len(values) and int(lengths.max()) > MAX_VALUE:
        bad = lengths > MAX_VALUE
    elif values.type in _TEXT_TYPES and len(zeros := _zeros(data, offsets)):
        bad = np.zeros(len(values), bool)
        bad[np.searchsorted(offsets, zeros, side="right") - 1] = True
        reason = "a NUL character, which PostgreSQL's text cannot hold"
    if valid is not None:
        lengths[~valid] = -1
        bad = None if bad is None else bad & valid
    if bad is not None and not bad.any():
        bad = None
    return Cells(data, offsets[:-1], lengths.astype(np.int32), bad, reason)


def _zeros(data: Array, offsets: Array) -> Array:
    start = int(offsets[0])
    found: Array = np.flatnonzero(data[start : int(offsets[-1])] == 0) + start
    return found


def _woven(heads: Array, sizes: Array, bodies: Array) -> tuple[Array, Array]:
    """Return bytes in which each row's head comes before its body, and where the heads begin.

    Args:
        heads: uint8, rows by width.
        sizes: int64, bytes of each row's body.
        bodies: uint8, one after the other.
    """
    width = heads.shape[1]
    ends = np.cumsum(sizes + width)
    starts = ends - sizes - width
    out = np.empty(int(ends[-1]) if len(ends) else 0, np.uint8)
    places = (starts[:, None] + np.arange(width)).reshape(-1)
    body = np.ones(len(out), bool)
    body[places] = False
    out[places] = heads.reshape(-1)
    out[body] = bodies
    return out, starts


def _geometry(values: pa.Array) -> Cells:
    """Return MySQL's own form: 4 bytes of SRID, little-endian, then WKB."""
    srid, wkb = values.field(0), values.field(1)
    offsets = _offsets(wkb)
    heads = _numbers(srid, "<u4").copy().view(np.uint8).reshape(-1, 4)
    sizes = np.diff(offsets)
    body = _content(wkb)[int(offsets[0]) : int(offsets[-1])]
    data, starts = _woven(heads, sizes, body)
    return _nested(values, (srid, wkb), data, starts, sizes + 4, "a geometry that is half NULL")


def _float_array(values: pa.Array) -> Cells:
    """Return one-dimensional arrays of float4."""
    offsets, valid = _offsets(values), _valid(values)
    first, last = int(offsets[0]), int(offsets[-1])
    inner = values.values.slice(first, last - first)
    items = np.empty(len(inner), [("length", ">i4"), ("value", ">u4")])
    items["length"], items["value"] = 4, _numbers(inner, "<u4")
    counts = np.diff(offsets)
    heads = np.empty((len(values), 5), ">i4")  # dimensions, NULLs, type, items, first index
    heads[:] = np.stack([counts > 0, counts * 0, counts * 0 + _FLOAT4, counts, counts * 0 + 1], 1)
    data, starts = _woven(heads.view(np.uint8), counts * 8, items.view(np.uint8))
    lengths = np.where(counts > 0, counts * 8 + 20, 12).astype(np.int32)
    bad = None
    if inner.null_count:
        known = _valid(inner)
        assert known is not None
        rows = np.searchsorted(offsets, np.flatnonzero(~known) + first, side="right") - 1
        bad = np.zeros(len(values), bool)
        bad[rows] = True
    if valid is not None:
        lengths[~valid] = -1
        bad = None if bad is None else bad & valid
    return Cells(data, starts, lengths, bad, "a vector with a NULL in it")


def _nested(
    values: pa.Array,
    parts: tuple[pa.Array, ...],
    data: Array,
    starts: Array,
    lengths: Array,
    reason: str,
) -> Cells:
    valid = _valid(values)
    lengths = lengths.astype(np.int32)
    bad = np.zeros(len(values), bool)
    for part in parts:
        known = _valid(part)
        if known is not None:
            bad |= ~known
    if valid is not None:
        lengths[~valid] = -1
        bad &= valid
    return Cells(data, starts, lengths, bad if bad.any() else None, reason)
