"""How each column of a result set is read: the form of its cells, and their way to Arrow.

In: a table's columns and the definitions that came with a result. Out: a form for the walk and a
converter per column. A definition that cannot hold the column's type is refused before any row.

Source: MySQL client/server protocol, "Binary Protocol Value".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from resources.errors import SchemaMismatch
from resources.model.table import Column
from resources.mysql.kernels.binary import binaries, geometries, vectors
from resources.mysql.kernels.binary_temporal import binary_dates, binary_datetimes, binary_times
from resources.mysql.kernels.cells import Bytes, Cells, Converted, Converter
from resources.mysql.kernels.decimal_text import text_decimals
from resources.mysql.kernels.numbers import bits, floats, integers
from resources.mysql.kernels.result_walk import DATE, DATETIME, LENGTH, TIME
from resources.mysql.kernels.text import text_converter
from resources.mysql.statement import Field
from resources.mysql.text_cells import text_dates, text_numbers, text_times

_TINY, _SHORT, _LONG, _FLOAT, _DOUBLE, _TIMESTAMP, _LONGLONG, _INT24 = 1, 2, 3, 4, 5, 7, 8, 9
_DATE, _TIME, _DATETIME, _YEAR, _BIT, _VECTOR, _GEOMETRY = 10, 11, 12, 13, 16, 242, 255
_DECIMALS = frozenset({0, 246})
_STRINGS = frozenset({15, 245, 247, 248, 249, 250, 251, 252, 253, 254})
_INTEGERS = {
    _TINY: (1, pa.int8(), pa.uint8()),
    _SHORT: (2, pa.int16(), pa.uint16()),
    _INT24: (4, pa.int32(), pa.uint32()),
    _LONG: (4, pa.int32(), pa.uint32()),
    _LONGLONG: (8, pa.int64(), pa.uint64()),
    _YEAR: (2, pa.int16(), pa.int16()),
}
_FLOATS = {_FLOAT: pa.float32(), _DOUBLE: pa.float64()}
_FORMS = {number: width for number, (width, _, _) in _INTEGERS.items()} | {
    _FLOAT: 4,
    _DOUBLE: 8,
    _DATE: DATE,
    _TIMESTAMP: DATETIME,
    _DATETIME: DATETIME,
    _TIME: TIME,
}


@dataclass(frozen=True)
class ResultColumns:
    """How the columns of one result are read.

    Args:
        forms: uint8, (columns,) the form of each one's cells, see `result_walk`.
        converters: Their way to Arrow.
    """

    forms: Bytes
    converters: Sequence[Converter]


def binary_columns(
    columns: Sequence[Column], fields: Sequence[Field], reject: bool, where: str
) -> ResultColumns:
    """Return how columns are read from the binary protocol.

    Args:
        columns: As asked for.
        fields: As the server says it sends them, one per column.
        reject: Whether zero and impossible dates are bad cells; NULL otherwise.
        where: Chunk or table in words, for errors.

    Raises:
        SchemaMismatch: A column is not of the type asked for: the table was altered.
    """
    forms = [_FORMS.get(field.type, LENGTH) for field in fields]
    converters: list[Converter] = []
    for column, field in zip(columns, fields, strict=True):
        converter = _binary_converter(column, field, reject)
        if converter is None:
            raise wrong_type(column, where)
        converters.append(converter)
    return ResultColumns(np.array(forms, np.uint8), converters)


def text_columns(columns: Sequence[Column], reject: bool) -> ResultColumns:
    """Return how columns are read from the text protocol, whose cells show what they are.

    Args:
        columns: As asked for.
        reject: Whether zero and impossible dates are bad cells; NULL otherwise.
    """
    converters = [_text_converter(column, reject) for column in columns]
    return ResultColumns(np.full(len(columns), LENGTH, np.uint8), converters)


def value_columns(fields: Sequence[Field]) -> tuple[Column, ...]:
    """Return columns that hold what a result's definitions announce: integers, else text."""
    return tuple(Column(str(i + 1), _value_type(field)) for i, field in enumerate(fields))


def _value_type(field: Field) -> pa.DataType:
    if field.type not in _INTEGERS:
        return pa.string()
    return pa.uint64() if field.unsigned else pa.int64()


def wrong_type(column: Column, where: str) -> SchemaMismatch:
    """Return the error of a column whose cells are not of its type.

    Args:
        column: As asked for.
        where: Chunk or table in words.
    """
    message = f"column {column.name} holds values that are not {column.type}"
    return SchemaMismatch(message, where=where, remedy="read the schema again")


def _binary_converter(column: Column, field: Field, reject: bool) -> Converter | None:
    arrow, number = column.type, field.type
    if column.kind in _BY_KIND:
        return _BY_KIND[column.kind] if _is_of_kind(column, field) else None
    if pa.types.is_integer(arrow):
        return _integers(arrow, field) if number in _INTEGERS else None
    if pa.types.is_floating(arrow):
        return floats(arrow) if _FLOATS.get(number) == arrow else None
    if pa.types.is_decimal(arrow):
        return text_decimals(arrow) if number in _DECIMALS else None
    if pa.types.is_date(arrow):
        return binary_dates(reject) if number == _DATE else None
    if pa.types.is_timestamp(arrow):
        return binary_datetimes(arrow, reject) if number in (_TIMESTAMP, _DATETIME) else None
    if pa.types.is_duration(arrow):
        return binary_times if number == _TIME else None
    return _by_bytes(arrow) if number in _STRINGS else None


def _text_converter(column: Column, reject: bool) -> Converter:
    arrow = column.type
    if column.kind in _BY_KIND:
        return _BY_KIND[column.kind]
    if pa.types.is_decimal(arrow):
        return text_decimals(arrow)
    if pa.types.is_date(arrow) or pa.types.is_timestamp(arrow):
        return text_dates(arrow, reject)
    if pa.types.is_duration(arrow):
        return text_times
    return _by_bytes(arrow) or text_numbers(arrow)


def _is_of_kind(column: Column, field: Field) -> bool:
    if column.kind == "bit":
        return field.type == _BIT
    if column.kind == "geometry":
        return field.type == _GEOMETRY
    # MariaDB sends vectors as strings of bytes; OceanBase prints them, with six digits only.
    return field.type == _VECTOR or (field.type in _STRINGS and field.binary)


def _by_bytes(arrow: pa.DataType) -> Converter | None:
    if pa.types.is_string(arrow) or pa.types.is_large_string(arrow):
        return text_converter("utf8mb4", arrow)
    if pa.types.is_binary(arrow) or pa.types.is_large_binary(arrow):
        return binaries(arrow)
    return None


def _integers(arrow: pa.DataType, field: Field) -> Converter:
    """Return a converter from the width sent; `pa.ArrowInvalid` if a number does not fit."""
    width, signed, unsigned = _INTEGERS[field.type]
    sent = unsigned if field.unsigned else signed
    convert = integers(width, sent)
    if sent == arrow:
        return convert
    return lambda cells: Converted(convert(cells).array.cast(arrow))


def _bits(cells: Cells) -> Converted:
    sizes = cells.size[~cells.null]
    width = int(sizes[0]) if len(sizes) else 1
    if not 1 <= width <= 8 or (sizes != width).any():
        raise pa.ArrowInvalid("BIT values of different lengths")
    return bits(width)(cells)


_BY_KIND: dict[str, Converter] = {"bit": _bits, "geometry": geometries, "vector": vectors}
