"""For a column of a table map: how its cells lie in a row image, and what makes them Arrow.

In: wire type and length fact of a column. Out: `WireCell` values; text needs a character set and
is `table_schema`'s.
Source: mysql-server libs/mysql/binlog/event/rows_event.h, `Table_map_event`; sql/field.cc, the
`pack` of each field class.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from resources.mysql.binlog.decimal_value import decimal_bytes
from resources.mysql.binlog.table_map import WireColumn
from resources.mysql.binlog.wire_types import INTEGER_BYTES, WireType
from resources.mysql.kernels import addresses, binary, decimals, json, numbers, temporal
from resources.mysql.kernels import walk_state as w
from resources.mysql.kernels.cells import Converter, Ints
from resources.mysql.kernels.direct import Steps, steps_of

_ADDRESSES: dict[str, tuple[int, Converter]] = {
    "uuid": (16, addresses.uuids),
    "inet6": (16, addresses.inet6s),
    "inet4": (4, addresses.inet4s),
}
_STRUCTURES: dict[int, Converter] = {
    WireType.JSON: json.json_converter(),
    WireType.GEOMETRY: binary.geometries,
    WireType.VECTOR: binary.vectors,
}


@dataclass(frozen=True)
class WireCell:
    """How one column's cells lie in a row image, and how they become Arrow.

    Args:
        prefix: Bytes of the little-endian length before each cell (1 to 4), 0 for cells of one
            width.
        width: Bytes of each cell if `prefix` is 0, else 0.
        convert: From cells to the column's Arrow array.
    """

    prefix: int
    width: int
    convert: Converter


def fixed_cell(wire: WireColumn, arrow: pa.DataType, reject: bool) -> WireCell | None:
    """Return the cells of a number, bit field, date or time; None for other columns.

    Args:
        wire: The column.
        arrow: Its type.
        reject: Whether a zero or impossible date is a bad cell; NULL otherwise.
    """
    found = _number(wire, arrow) or _date_or_time(wire, reject)
    return WireCell(0, *found) if found is not None else None


def structure_cell(wire: WireColumn) -> WireCell | None:
    """Return the cells of a JSON, GEOMETRY or VECTOR column; None for other columns."""
    convert = _STRUCTURES.get(wire.type)
    return WireCell(wire.meta, 0, convert) if convert is not None else None


def string_cell(wire: WireColumn, convert: Converter) -> WireCell:
    """Return the cells of a CHAR, BINARY, VARCHAR, VARBINARY, TEXT or BLOB column.

    Args:
        wire: The column; its length fact decides how wide the length before a cell is.
        convert: From the bytes to the column's type.
    """
    blob = wire.type == WireType.BLOB
    return WireCell(wire.meta if blob else 1 + (wire.meta > 255), 0, convert)


def address_cell(source_type: str, wire: WireColumn) -> WireCell | None:
    """Return the cells of MariaDB's UUID, INET4 and INET6, which the wire calls BINARY.

    Args:
        source_type: The catalog's word for the type.
        wire: The column; None is returned if it cannot be of that type.
    """
    width, convert = _ADDRESSES.get(source_type.lower(), (0, None))
    if convert is None or wire.type != WireType.STRING or wire.meta != width:
        return None
    return string_cell(wire, convert)


def layout_of(columns: Sequence[WireCell], key: Collection[int]) -> Ints:
    """Return what the walk is to know of a table's columns.

    Args:
        columns: All of them.
        key: Indexes of those compared to tell an update of one row from one of its key.

    Returns:
        int64, by column and `CELL_` field of `walk_state`.
    """
    layout = np.empty((len(columns), w.CELL_FIELDS), np.int64)
    skip = count = 0
    for index, cell in reversed(list(enumerate(columns))):
        skip, count = (0, 0) if cell.prefix else (skip + cell.width, count + 1)
        layout[index] = cell.prefix, cell.width, index in key, skip, count
    return layout


def steps_of_cells(columns: Sequence[WireCell], shown: int) -> Steps:
    """Return what makes columns of a table's row images; see `direct.steps_of`."""
    return steps_of([(cell.prefix, cell.width, cell.convert) for cell in columns], shown)


def _number(wire: WireColumn, arrow: pa.DataType) -> tuple[int, Converter] | None:
    kind, meta = wire.type, wire.meta
    if kind in INTEGER_BYTES:
        width = INTEGER_BYTES[WireType(kind)]
        return width, numbers.integers(width, arrow)
    if kind in (WireType.FLOAT, WireType.DOUBLE):
        return arrow.bit_width // 8, numbers.floats(arrow)
    if kind == WireType.NEWDECIMAL:
        precision, scale = meta >> 8, meta & 0xFF
        return decimal_bytes(precision, scale), decimals.decimals(precision, scale)
    if kind == WireType.BIT:
        width = (meta + 7) // 8
        return width, numbers.bits(width)
    return (1, numbers.years) if kind == WireType.YEAR else None


def _date_or_time(wire: WireColumn, reject: bool) -> tuple[int, Converter] | None:
    digits = wire.meta
    fraction = temporal.fraction_bytes(digits)
    if wire.type == WireType.DATE:
        return 3, temporal.dates(reject)
    if wire.type == WireType.TIME2:
        return 3 + fraction, temporal.times(digits)
    if wire.type == WireType.TIMESTAMP2:
        return 4 + fraction, temporal.timestamps(digits, reject)
    if wire.type == WireType.DATETIME2:
        return 5 + fraction, temporal.datetimes(digits, reject)
    return None
