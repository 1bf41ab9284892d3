"""Arrow columns -> JSON text, column by column.

In: arrays of a change batch. Out: arrays of JSON texts, null where the value is; objects joined
out of them. No Python object is made per cell, but for binary values (base64).

A `Text` is a text per row in pieces: arrays, and constants that stand in every row. Pieces are
joined once, into whole messages, for every join writes all bytes again.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from resources.sinks.decimal_text import decimal_text
from resources.sinks.text_bytes import text_bytes

TEXT = pa.large_string()
"""The type of every text here: joined texts of many rows may pass 2 GB."""
Piece: TypeAlias = pa.Array | pa.Scalar
Text: TypeAlias = list[Piece]
NULL = pa.scalar("null", TEXT)
_SPACE, _QUOTE, _BACKSLASH = b' "\\'


def constant(text: str) -> pa.Scalar:
    """Return text to be joined to every row's."""
    return pa.scalar(text, TEXT)


def joined(pieces: Iterable[Piece]) -> pa.Array:
    """Return the pieces of every row as one text; null where one of them is.

    At least one piece is an array. Constants beside each other become one.
    """
    whole: Text = []
    for is_constant, found in groupby(pieces, lambda piece: isinstance(piece, pa.Scalar)):
        some = list(found)
        whole += [constant("".join(piece.as_py() for piece in some))] if is_constant else some
    return whole[0] if len(whole) == 1 else pc.binary_join_element_wise(*whole, constant(""))


def or_null(text: pa.Array) -> pa.Array:
    """Return the texts with JSON's `null` where there is none."""
    return text.fill_null(NULL) if text.null_count else text


def numbers_text(numbers: npt.NDArray[Any]) -> Piece:
    """Return whole numbers as text; a constant if all are the same."""
    if len(numbers) and (numbers == numbers[0]).all():
        return constant(str(numbers[0]))
    return pa.array(numbers).cast(TEXT)


def typed_json(column: pa.Array) -> pa.Array:
    """Return values as JSON of their own kind, in the conventions of Debezium's converters.

    Numbers and booleans as they are, decimals as strings of digits, binary values as base64,
    dates as days, times of day and timestamps without zone as microseconds (since the epoch),
    timestamps with zone as ISO 8601 in UTC, geometries as objects, vectors as arrays.
    """
    return joined(_typed(column))


def typed_cells(column: pa.Array) -> Text:
    """Return values as `typed_json` does, those that are null as `null`."""
    return _cells(column, _typed(column))


def text_json(column: pa.Array) -> pa.Array:
    """Return values as JSON strings of the text MySQL prints, in the conventions of Canal.

    Booleans are 0 and 1, binary values base64, timestamps with zone UTC; geometries and vectors
    are JSON in a string.
    """
    return joined(_printed(column))


def text_cells(column: pa.Array) -> Text:
    """Return values as `text_json` does, those that are null as `null`."""
    return _cells(column, _printed(column))


def object_text(names: Sequence[str], cells: Sequence[Text]) -> Text:
    """Return rows as JSON objects.

    Args:
        names: The members' names.
        cells: Their values as JSON, `null` where there is none.
    """
    pieces: Text = []
    for i, (name, cell) in enumerate(zip(names, cells, strict=True)):
        pieces += [constant(f"{',' if i else '{'}{key(name)}"), *cell]
    return [*pieces, constant("}")]


def key(name: str) -> str:
    """Return an object's member name as JSON, with its colon."""
    return json.dumps(name, ensure_ascii=False) + ":"


def _cells(column: pa.Array, text: Text) -> Text:
    return [or_null(joined(text))] if column.null_count else text


def _typed(column: pa.Array) -> Text:
    t, type_ = pa.types, column.type
    if t.is_floating(type_):
        return [_float_json(column)]
    if t.is_boolean(type_) or t.is_integer(type_):
        return [column.cast(TEXT)]
    if t.is_decimal(type_):
        return _in_quotes(decimal_text(column).cast(TEXT))
    if t.is_date32(type_):
        return [column.cast(pa.int32()).cast(TEXT)]
    if t.is_duration(type_):
        return [column.cast(pa.duration("us")).cast(pa.int64()).cast(TEXT)]
    if t.is_timestamp(type_) and type_.tz is None:
        return [column.cast(pa.timestamp("us")).cast(pa.int64()).cast(TEXT)]
    if t.is_timestamp(type_):
        text = pc.replace_substring(_naive_text(column), " ", "T")
        return [constant('"'), text, constant('Z"')]
    if t.is_struct(type_):
        inner = [typed_cells(_child(column, i)) for i in range(type_.num_fields)]
        found = joined(object_text([f.name for f in type_], inner))
        return [pc.if_else(column.is_valid(), found, pa.scalar(None, TEXT))]
    if t.is_list(type_):
        return [_list_json(column)]
    if t.is_binary(type_) or t.is_large_binary(type_):
        return _in_quotes(_base64(column))
    return _quoted(column)


def _printed(column: pa.Array) -> Text:
    t, type_ = pa.types, column.type
    if t.is_boolean(type_):
        return _in_quotes(column.cast(pa.int8()).cast(TEXT))
    if t.is_integer(type_) or t.is_date32(type_):
        return _in_quotes(column.cast(TEXT))
    if t.is_floating(type_):
        return _in_quotes(pc.replace_substring(_float_json(column), '"', ""))
    if t.is_timestamp(type_):
        return _in_quotes(_naive_text(column))
    if t.is_duration(type_):
        return _in_quotes(_time_text(column))
    if t.is_struct(type_) or t.is_list(type_):
        return _quoted(typed_json(column))
    return _typed(column)


def _quoted(text: pa.Array) -> Text:
    """Return texts as JSON strings."""
    text = text.cast(TEXT)
    data = text_bytes(text)
    has_controls = len(data) > 0 and data.min() < _SPACE
    if has_controls or (data == _QUOTE).any() or (data == _BACKSLASH).any():
        text = pc.replace_substring(text, "\\", "\\\\")
        text = pc.replace_substring(text, '"', '\\"')
        for code in range(_SPACE) if has_controls else ():
            text = pc.replace_substring(text, chr(code), f"\\u{code:04x}")
    return _in_quotes(text)


def _any(mask: pa.Array) -> bool:
    return bool(pc.any(mask).as_py())


def _in_quotes(text: pa.Array) -> Text:
    return [constant('"'), text, constant('"')]


def _float_json(column: pa.Array) -> pa.Array:
    """Print floats as short as they read back; what JSON has no number for is a string."""
    text = column.cast(TEXT)
    text = pc.if_else(pc.equal(text, constant("-0")), constant("-0.0"), text)
    if not _any(pc.invert(pc.is_finite(column))):
        return text
    names = {"nan": '"NaN"', "-nan": '"NaN"', "inf": '"Infinity"', "-inf": '"-Infinity"'}
    for found, name in names.items():
        text = pc.if_else(pc.equal(text, constant(found)), constant(name), text)
    return text


def _naive_text(column: pa.Array) -> pa.Array:
    """Print timestamps as `YYYY-MM-DD HH:MM:SS.ffffff`, those with zone in UTC."""
    return column.cast(pa.timestamp("us")).cast(TEXT)


def _time_text(column: pa.Array) -> pa.Array:
    """Print durations as MySQL prints TIME: `-838:59:59.000000`."""
    found = column.cast(pa.duration("us")).cast(pa.int64())
    numbers = np.abs(found.fill_null(0).to_numpy(zero_copy_only=False))
    parts = (numbers // 3_600_000_000, numbers // 60_000_000 % 60, numbers // 1_000_000 % 60)
    hours, minutes, seconds = (_padded(part, 2) for part in parts)
    sign = pc.if_else(pc.less(found, 0), constant("-"), constant(""))
    colon, point = constant(":"), constant(".")
    pieces = [sign, hours, colon, minutes, colon, seconds, point, _padded(numbers % 10**6, 6)]
    return joined(pieces)


def _padded(numbers: npt.NDArray[np.int64], width: int) -> pa.Array:
    return pc.utf8_lpad(pa.array(numbers).cast(TEXT), width=width, padding="0")


def _base64(column: pa.Array) -> pa.Array:
    texts = [None if v is None else b64encode(v).decode() for v in column.to_pylist()]
    return pa.array(texts, TEXT)


def _list_json(column: pa.Array) -> pa.Array:
    """Print lists of numbers, which vectors are."""
    texts = or_null(typed_json(column.flatten()))
    lengths = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    lists = pa.LargeListArray.from_arrays(pa.array(offsets), texts)
    found = joined([constant("["), pc.binary_join(lists, constant(",")), constant("]")])
    return pc.if_else(column.is_valid(), found, pa.scalar(None, TEXT))


def _child(column: pa.StructArray, i: int) -> pa.Array:
    return column.flatten()[i]
