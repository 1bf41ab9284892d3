"""The lattice of column types: which type holds every value of another, exactly.

In: columns of one name, from a target and its sources. Out: whether one holds the other, and the
least type that holds both, the same in whatever order sources come. The table is in docs/types.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import pyarrow as pa

from resources.model.table import Column

_Form: TypeAlias = tuple[pa.DataType, str, tuple[str, ...]]
"""Arrow type, kind and labels: what two columns must share to hold the same values."""

MAX_DIGITS = 76
_DIGITS = {8: 3, 16: 5, 32: 10, 64: 19}
_SIGNED = {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}
_UNSIGNED = {8: pa.uint8(), 16: pa.uint16(), 32: pa.uint32(), 64: pa.uint64()}
_UNITS = ("s", "ms", "us", "ns")


def same(a: Column, b: Column) -> bool:
    """Return whether two columns hold the same values: Arrow type, kind and labels are equal."""
    return _form(a) == _form(b)


def holds(wide: Column, narrow: Column) -> bool:
    """Return whether every value of `narrow` is exactly a value of `wide`.

    The one exception is kept by value where rows are cast: dates and times beyond the 64 bits of
    a finer unit (years past 290000).
    """
    return _join(_form(wide), _form(narrow)) == _form(wide)


def widest(a: Column, b: Column) -> Column | None:
    """Return the least type that holds every value of both columns, None if there is none.

    Associative, commutative and idempotent in Arrow type, kind, labels and nullability, so that
    merged shards end in one type in whatever order they come. This has a price: next to anything
    but another unsigned integer, an unsigned one counts as the signed one that holds it.

    Args:
        a: A column; the result has its name.
        b: Another one.

    Returns:
        The column that holds both, with the words and comment of the one that does, if one does.
    """
    form = _join(_form(a), _form(b))
    if form is None:
        return None
    nullable = a.nullable or b.nullable
    if form == _form(a) == _form(b):
        words = a.source_type if a.source_type == b.source_type else ""
        charset = a.charset if a.charset == b.charset else ""
        return replace(a, nullable=nullable, source_type=words, charset=charset)
    for column in (a, b):
        if form == _form(column):
            return replace(column, name=a.name, nullable=nullable)
    arrow, kind, labels = form
    return Column(a.name, arrow, nullable=nullable, kind=kind, labels=labels, comment=a.comment)


def describe(column: Column) -> str:
    """Return a column's type in words: the source's own, the Arrow type, and the kind."""
    arrow = str(column.type) if column.kind == "plain" else f"{column.kind}, {column.type}"
    return f"{column.source_type} ({arrow})" if column.source_type else arrow


def _form(column: Column) -> _Form:
    return column.type, column.kind, column.labels if column.kind in ("enum", "set") else ()


def _join(a: _Form, b: _Form) -> _Form | None:
    if a == b:
        return a
    family = _family(a[0])
    if family is None or family != _family(b[0]):
        return None
    return _JOINS[family](a, b)


def _family(arrow: pa.DataType) -> str | None:
    t = pa.types
    if t.is_integer(arrow) or _is_decimal(arrow) or _is_float(arrow):
        return "number"
    if t.is_string(arrow) or t.is_large_string(arrow):
        return "text"
    if t.is_binary(arrow) or t.is_large_binary(arrow):
        return "bytes"
    if t.is_date32(arrow) or t.is_timestamp(arrow):
        return "time"
    return "duration" if t.is_duration(arrow) else None


def _is_decimal(arrow: pa.DataType) -> bool:
    return bool(pa.types.is_decimal128(arrow) or pa.types.is_decimal256(arrow))


def _is_float(arrow: pa.DataType) -> bool:
    return bool(pa.types.is_float32(arrow) or pa.types.is_float64(arrow))


def _join_numbers(a: _Form, b: _Form) -> _Form | None:
    # years and bit strings are numbers of their own next to themselves only
    arrow = _join_number_types(a[0], b[0])
    return None if arrow is None else (arrow, "plain", ())


def _join_number_types(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    if pa.types.is_integer(a) and pa.types.is_integer(b):
        return _join_integers(a, b)
    if _is_float(a) and _is_float(b):
        return pa.float64() if a != b else a
    if _is_float(a) or _is_float(b):
        number, exact = (a, b) if _is_float(a) else (b, a)
        return _join_float(number, exact)
    (left, left_scale), (right, right_scale) = _decimal_size(a), _decimal_size(b)
    return _decimal(max(left, right), max(left_scale, right_scale))


def _join_integers(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    if pa.types.is_signed_integer(a) == pa.types.is_signed_integer(b):
        return a if a.bit_width >= b.bit_width else b
    bits = max(_signed_bits(a), _signed_bits(b))
    return _SIGNED[bits] if bits in _SIGNED else pa.decimal128(20, 0)


def _join_float(number: pa.DataType, exact: pa.DataType) -> pa.DataType | None:
    if not pa.types.is_integer(exact):
        return None
    bits = _signed_bits(exact)
    if bits <= 16:
        return number
    return pa.float64() if bits <= 32 else None


def _signed_bits(arrow: pa.DataType) -> int:
    """Return the width of the signed integer that holds an integer type; 128 for none."""
    return int(arrow.bit_width) * (1 if pa.types.is_signed_integer(arrow) else 2)


def _decimal_size(arrow: pa.DataType) -> tuple[int, int]:
    """Return the digits before and after the point that a number type needs."""
    if _is_decimal(arrow):
        return arrow.precision - arrow.scale, arrow.scale
    return _DIGITS.get(_signed_bits(arrow), 20), 0


def _decimal(whole: int, scale: int) -> pa.DataType | None:
    digits = whole + scale
    if digits > MAX_DIGITS:
        return None
    return pa.decimal128(digits, scale) if digits <= 38 else pa.decimal256(digits, scale)


def _join_text(a: _Form, b: _Form) -> _Form:
    large = pa.types.is_large_string(a[0]) or pa.types.is_large_string(b[0])
    arrow = pa.large_string() if large else pa.string()
    if a[1] != b[1] or (labels := _join_labels(a[2], b[2])) is None:
        return arrow, "plain", ()
    return arrow, a[1], labels


def _join_labels(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the longer labels if they begin with the others: labels were added at the end.

    A union would depend on the order of the shards.
    """
    short, long = (a, b) if len(a) <= len(b) else (b, a)
    return long if short == long or (short and long[: len(short)] == short) else None


def _join_bytes(a: _Form, b: _Form) -> _Form | None:
    return (pa.large_binary(), a[1], ()) if a[1] == b[1] else None


def _join_times(a: _Form, b: _Form) -> _Form | None:
    zones = {arrow.tz if pa.types.is_timestamp(arrow) else None for arrow in (a[0], b[0])}
    if len(zones) > 1 or a[1] != b[1]:
        return None
    units = [arrow.unit for arrow in (a[0], b[0]) if pa.types.is_timestamp(arrow)]
    return pa.timestamp(max(units, key=_UNITS.index), zones.pop()), a[1], ()


def _join_durations(a: _Form, b: _Form) -> _Form | None:
    if a[1] != b[1]:
        return None
    return pa.duration(max(a[0].unit, b[0].unit, key=_UNITS.index)), a[1], ()


_JOINS: dict[str, Callable[[_Form, _Form], _Form | None]] = {
    "number": _join_numbers,
    "text": _join_text,
    "bytes": _join_bytes,
    "time": _join_times,
    "duration": _join_durations,
}
