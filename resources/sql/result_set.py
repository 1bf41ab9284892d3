"""Result sets of DB-API drivers -> Arrow, column by column, exact or set aside.

In: rows of Python values and the columns they belong to. Out: a page, rows that do not fit apart.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from resources.model.table import Column, TableSchema
from resources.sql.flavor import BadRow, Page

Convert = Callable[[Sequence[Any], pa.DataType], pa.Array]
"""Makes an array of one column's values; raises ValueError if any of them does not fit."""

_MISFIT = (ValueError, TypeError, OverflowError, decimal.InvalidOperation)


def of_type(*types: type) -> Convert:
    """Return a conversion that takes values of exactly these Python types.

    Exactly, since Arrow by itself takes text for bytes, true for 1 and 1.0 for 1.
    """
    allowed = frozenset((*types, type(None)))

    def convert(values: Sequence[Any], target: pa.DataType) -> pa.Array:
        if not allowed.issuperset(map(type, values)):
            raise ValueError("the value's type is not the column's")
        return pa.array(values, target)

    return convert


def whole_number(unfit: int) -> Convert:
    """Return a conversion from integers (days or microseconds) to a temporal type.

    Args:
        unfit: The number that stands for a value the type cannot hold, such as infinity.
    """

    def convert(values: Sequence[Any], target: pa.DataType) -> pa.Array:
        width = pa.int32() if target.bit_width == 32 else pa.int64()
        numbers = pa.array(values, pa.int64())
        if pc.any(pc.equal(numbers, unfit)).as_py():
            raise ValueError("the value is infinite or outside the range of the Arrow type")
        return numbers.cast(width).cast(target)

    return convert


def page(
    schema: TableSchema, key: str, converts: Sequence[Convert], rows: Sequence[Sequence[Any]]
) -> Page:
    """Return rows as a page.

    Args:
        schema: The table.
        key: The id column; its values have to be integers.
        converts: One conversion per column of the schema.
        rows: Values in the order of the schema's columns.

    Raises:
        ValueError: An id is not an integer.
    """
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(schema.columns)
    arrays: list[pa.Array] = []
    bad: dict[int, tuple[str, str]] = {}
    for column, convert, values in zip(schema.columns, converts, columns, strict=True):
        arrays.append(_array(column, convert, values, bad))
    at = schema.names.index(key)
    if any(field == key for field, _ in bad.values()):
        raise ValueError(f"column {key} of {schema.table} holds ids that are not integers")
    fields = [f.with_nullable(True) for f in schema.arrow()]
    whole = pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))
    ids = whole.column(at).to_numpy(zero_copy_only=False)
    wide = ids.astype(np.uint64 if ids.dtype.kind == "u" else np.int64)
    good = np.setdiff1d(np.arange(len(rows)), np.fromiter(bad, np.int64, len(bad)))
    misfits = tuple(
        BadRow(index, field, message, _image(whole.slice(index, 1)))
        for index, (field, message) in sorted(bad.items())
    )
    return Page(wide, whole.take(pa.array(good)) if bad else whole, good, misfits)


def _array(
    column: Column, convert: Convert, values: Sequence[Any], bad: dict[int, tuple[str, str]]
) -> pa.Array:
    """Return the column's array, misfits as NULL; they are noted in `bad`."""
    try:
        return convert(values, column.type)
    except _MISFIT:
        fitting = list(values)
    for index, value in enumerate(values):
        try:
            convert([value], column.type)
        except _MISFIT as error:
            fitting[index] = None
            bad.setdefault(index, (column.name, _reason(column, error)))
    return convert(fitting, column.type)


def _reason(column: Column, error: BaseException) -> str:
    """Return what is wrong without the driver's or Arrow's text, which quote the value."""
    cause = type(error).__name__
    return f"the value does not fit {column.source_type or column.type} ({cause})"


def _image(row: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, row.schema) as writer:
        writer.write_batch(row)
    return bytes(sink.getvalue())
