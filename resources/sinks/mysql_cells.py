"""Arrow columns as the texts a MySQL-family server reads, whole columns at a time.

In: one array of a type of `mysql_types`. Out: its values as bytes, and which rows hold a value the
server has no form for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from resources.sinks.mysql_types import is_geometry

Array = npt.NDArray[Any]
Form = Literal["number", "float", "decimal", "date", "time", "timestamp", "text", "bytes"]

_BYTES = pa.large_binary()
_DATES = (-719_162, 2_932_896)
"""Days from 1970-01-01 of 0001-01-01 and 9999-12-31."""
_TIMES = (-62_135_596_800_000_000, 253_402_300_799_999_999)
_HOUR, _MINUTE, _SECOND = 3_600_000_000, 60_000_000, 1_000_000


@dataclass(frozen=True)
class Misfit:
    """Rows of a column the server has no form for.

    Args:
        rows: bool, one for each row.
        reason: What is wrong with them, without the value.
    """

    rows: Array
    reason: str


def form_of(type_: pa.DataType) -> Form:
    """Return how values of a type are written."""
    t = pa.types
    if t.is_integer(type_) or t.is_boolean(type_):
        return "number"
    if t.is_floating(type_):
        return "float"
    if t.is_decimal(type_):
        return "decimal"
    if t.is_date(type_):
        return "date"
    if t.is_timestamp(type_):
        return "timestamp"
    if t.is_duration(type_):
        return "time"
    return "text" if t.is_string(type_) or t.is_large_string(type_) else "bytes"


def texts_of(values: pa.Array) -> pa.Array:
    """Return the bytes of each value, not escaped; NULLs stay.

    Args:
        values: Without misfits.
    """
    type_ = values.type
    form = form_of(type_)
    if form == "text":
        return values.cast(pa.large_string()).cast(_BYTES)
    if is_geometry(type_):
        return _geometries(values)
    if pa.types.is_list(type_):
        return _vectors(values)
    if form == "bytes":
        return values.cast(_BYTES)
    if form == "time":
        return _durations(values)
    if pa.types.is_boolean(type_):
        values = values.cast(pa.int8())
    elif type_ == pa.float32():  # servers read a double and round it: only the whole one is exact
        values = values.cast(pa.float64())
    elif form == "timestamp":
        values = values.cast(pa.timestamp("us"))
    return values.cast(pa.large_string()).cast(_BYTES)


def misfits_of(values: pa.Array, longest_time: int) -> Misfit | None:
    """Return the rows of a column the server has no form for, None if there are none.

    Args:
        values: The column.
        longest_time: Microseconds of the server's longest TIME.
    """
    form = form_of(values.type)
    if form == "float":
        bad = pc.invert(pc.is_finite(values))
        return _misfit(bad, "a number that is not finite")
    if form == "date":
        return _outside(values.cast(pa.int32()), *_DATES, "a date outside the years 1 to 9999")
    if form == "timestamp":
        return _outside(values.cast(pa.int64()), *_TIMES, "a time outside the years 1 to 9999")
    if form == "time":
        plain = values.cast(pa.int64())
        return _outside(plain, -longest_time, longest_time, "a TIME longer than 838:59:59")
    if form == "text":
        return _not_utf8(values)
    if is_geometry(values.type):
        half = pc.or_(pc.is_null(values.field("srid")), pc.is_null(values.field("wkb")))
        return _misfit(pc.and_(half, values.is_valid()), "a geometry that is half NULL")
    if pa.types.is_list(values.type) and values.values.null_count:
        bad = [v is not None and None in v for v in values.to_pylist()]
        return _misfit(pa.array(bad), "a vector with a NULL in it")
    return None


def _outside(values: pa.Array, low: int, high: int, reason: str) -> Misfit | None:
    return _misfit(pc.or_(pc.less(values, low), pc.greater(values, high)), reason)


def _misfit(bad: pa.Array, reason: str) -> Misfit | None:
    rows = bad.fill_null(False).to_numpy(zero_copy_only=False)
    return Misfit(rows, reason) if rows.any() else None


def _not_utf8(values: pa.Array) -> Misfit | None:
    try:
        values.validate(full=True)
    except pa.ArrowInvalid:
        plain = values.cast(pa.large_binary() if _is_large(values) else pa.binary()).to_pylist()
        return Misfit(np.array([not _is_utf8(v) for v in plain]), "text that is not valid UTF-8")
    return None


def _is_large(values: pa.Array) -> bool:
    return bool(pa.types.is_large_string(values.type))


def _is_utf8(value: bytes | None) -> bool:
    try:
        return value is None or value.decode() is not None
    except UnicodeDecodeError:
        return False


def _geometries(values: pa.Array) -> pa.Array:
    srid = values.field("srid").fill_null(0).to_numpy(zero_copy_only=False).astype("<u4")
    heads = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(4), len(srid), [None, pa.py_buffer(srid.tobytes())]
    )
    wkb = values.field("wkb").cast(_BYTES)
    whole = pc.binary_join_element_wise(heads.cast(pa.binary()).cast(_BYTES), wkb, _scalar(b""))
    return pc.if_else(values.is_valid(), whole, pa.scalar(None, _BYTES))


def _vectors(values: pa.Array) -> pa.Array:
    """Return the floats of each row, little-endian, as VECTOR columns keep them."""
    flat = values.flatten().to_numpy(zero_copy_only=False).astype("<f4")
    lengths = pc.list_value_length(values).fill_null(0).to_numpy(zero_copy_only=False)
    offsets = np.zeros(len(values) + 1, np.int64)
    np.cumsum(lengths.astype(np.int64) * 4, out=offsets[1:])
    buffers = [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(flat.tobytes())]
    whole = pa.Array.from_buffers(_BYTES, len(values), buffers)
    return pc.if_else(values.is_valid(), whole, pa.scalar(None, _BYTES))


def _durations(values: pa.Array) -> pa.Array:
    plain = values.cast(pa.int64())
    total = pc.abs(plain)
    hours = pc.divide(total, _HOUR)
    minutes = pc.divide(pc.subtract(total, pc.multiply(hours, _HOUR)), _MINUTE)
    rest = pc.subtract(total, pc.add(pc.multiply(hours, _HOUR), pc.multiply(minutes, _MINUTE)))
    seconds = pc.divide(rest, _SECOND)
    micros = pc.subtract(rest, pc.multiply(seconds, _SECOND))
    sign = pc.if_else(pc.less(plain, 0), "-", "")
    parts = [_padded(p, n) for p, n in ((hours, 2), (minutes, 2), (seconds, 2), (micros, 6))]
    clock = pc.binary_join_element_wise(*parts[:3], ":")
    text = pc.binary_join_element_wise(pc.binary_join_element_wise(sign, clock, ""), parts[3], ".")
    return text.cast(pa.large_string()).cast(_BYTES)


def _padded(numbers: pa.Array, width: int) -> pa.Array:
    return pc.utf8_lpad(numbers.cast(pa.string()), width, "0")


def _scalar(value: bytes) -> pa.Scalar:
    return pa.scalar(value, _BYTES)
