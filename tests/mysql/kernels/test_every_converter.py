"""What holds for the converter of every column a table map can describe."""

from __future__ import annotations

import pyarrow as pa
import pytest

from resources.model.table import Column, TableId, TableSchema
from resources.mysql.binlog.table_map import TableMap, WireColumn
from resources.mysql.binlog.table_schema import DecodableTable, build_table
from resources.mysql.binlog.wire_types import WireType
from tests.mysql.kernels.wire import cells, good

UTF8, LATIN1, BYTES = 45, 8, 63
"""Collations."""
CELLS: dict[tuple[WireType, int, int | None], bytes] = {
    (WireType.TINY, 0, None): b"\x01",
    (WireType.SHORT, 0, None): b"\x01\x02",
    (WireType.INT24, 0, None): b"\x01\x02\x03",
    (WireType.LONG, 0, None): b"\x01\x02\x03\x04",
    (WireType.LONGLONG, 0, None): b"\x01\x02\x03\x04\x05\x06\x07\x08",
    (WireType.FLOAT, 4, None): b"\0\0\x80\x3f",
    (WireType.DOUBLE, 8, None): b"\0\0\0\0\0\0\xf0\x3f",
    (WireType.NEWDECIMAL, 10 << 8 | 2, None): b"\x80\0\0\x01\x01",
    (WireType.NEWDECIMAL, 65 << 8 | 30, None): b"\x80" + bytes(29),
    (WireType.BIT, 9, None): b"\x01\x02",
    (WireType.YEAR, 0, None): b"\x79",
    (WireType.DATE, 0, None): b"\x43\xca\x0f",
    (WireType.DATETIME2, 6, None): bytes.fromhex("99a885108500000a"),
    (WireType.TIMESTAMP2, 3, None): bytes.fromhex("601a0e850001"),
    (WireType.TIME2, 1, None): b"\x80\x10\x83\x0a",
    (WireType.ENUM, 1, UTF8): b"\x01",
    (WireType.SET, 1, LATIN1): b"\x01",
    (WireType.VARCHAR, 300, UTF8): "é".encode(),
    (WireType.STRING, 20, LATIN1): b"\xe9",
    (WireType.BLOB, 4, UTF8): b"long",
    (WireType.STRING, 5, BYTES): b"\0a",
    (WireType.VARCHAR, 20, BYTES): b"\xff",
    (WireType.BLOB, 4, BYTES): b"\xff",
    (WireType.JSON, 4, None): b"\x04\x01",
    (WireType.GEOMETRY, 4, None): b"\xe6\x10\0\0wkb",
    (WireType.VECTOR, 4, None): b"\0\0\x80\x3f",
}
SOURCE_TYPES = {"uuid": 16, "inet6": 16, "inet4": 4}
"""MariaDB's types that only the catalog knows, with their bytes."""
COLUMNS = [
    *((WireColumn(*form[:2], True, "c", collation=form[2], labels=(b"a",)), "", raw)
      for form, raw in CELLS.items()),
    *((WireColumn(WireType.STRING, width, True, "c", collation=BYTES), word, b"\1\2")
      for word, width in SOURCE_TYPES.items()),
]  # fmt: skip
every_column = pytest.mark.parametrize(
    ("wire", "word", "raw"),
    COLUMNS,
    ids=[
        f"{WireType(wire.type).name}-{wire.meta}-{raw.hex()}{word}" for wire, word, raw in COLUMNS
    ],
)


def table_of(wire: WireColumn, word: str) -> DecodableTable:
    table = TableId("d", "t")
    catalog = TableSchema(table, (Column("c", pa.string(), word),), ()) if word else None
    return build_table(TableMap(1, table, (wire,), (), True), catalog, "dirty", "log.000001:4")


@every_column
def test_nulls_anywhere_and_no_rows_at_all(wire: WireColumn, word: str, raw: bytes) -> None:
    table = table_of(wire, word)
    (column,), (cell,) = table.schema.columns, table.columns
    assert cell.prefix or cell.width == len(raw)
    for rows in ([], [None], [None] * 9, [raw], [None, raw, None, None, raw]):
        array = good(cell.convert(cells(rows, cell.prefix)), column.type)
        assert [value is None for value in array.to_pylist()] == [row is None for row in rows]


@every_column
def test_an_array_keeps_its_values_when_the_buffer_is_used_again(
    wire: WireColumn, word: str, raw: bytes
) -> None:
    table = table_of(wire, word)
    cell = table.columns[0]
    column = cells([None, raw, raw], cell.prefix)
    array = good(cell.convert(column), table.schema.columns[0].type)
    before = array.to_pylist()
    column.data[:] = 0xEE
    assert array.to_pylist() == before
