"""Row images converted a block at a time: the same columns as cell by cell."""

from __future__ import annotations

from random import Random

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.mysql.binlog.array_pool import ArrayPool
from resources.mysql.binlog.row_images import Images, RowColumns, convert_images
from resources.mysql.binlog.wire_cells import WireCell, steps_of_cells
from resources.mysql.kernels import binary, decimals, json, labels, numbers, temporal
from resources.mysql.kernels.text import text_converter
from tests.fuzz.guarded_heap import guarded_arrays
from tests.mysql.kernels.wire import cells

Column = list[bytes | None]


def _text(charset: str) -> WireCell:
    convert = text_converter(charset, pa.string())
    assert convert is not None
    return WireCell(1, 0, convert)


_INTEGERS = (
    *((1, pa.int8()), (2, pa.int16()), (3, pa.int32()), (4, pa.int32()), (8, pa.int64())),
    *((1, pa.uint8()), (2, pa.uint16()), (3, pa.uint32()), (4, pa.uint32()), (8, pa.uint64())),
)
CELLS = [
    *(WireCell(0, width, numbers.integers(width, arrow)) for width, arrow in _INTEGERS),
    WireCell(0, 4, numbers.floats(pa.float32())),
    WireCell(0, 8, numbers.floats(pa.float64())),
    WireCell(0, 2, numbers.bits(2)),
    WireCell(0, 3, temporal.dates(reject=False)),
    WireCell(0, 8, temporal.datetimes(6, reject=True)),
    WireCell(0, 5, temporal.timestamps(2, reject=True)),
    WireCell(0, 4, temporal.times(1)),
    WireCell(0, 9, decimals.decimals(18, 4)),
    WireCell(0, 10, decimals.decimals(20, 5)),
    WireCell(0, 1, labels.enums(1, ("new", "", "é" * 40))),
    WireCell(0, 1, labels.sets(1, ("a", "b"))),
    _text("utf8mb4"),
    _text("utf8mb3"),
    _text("latin1"),
    WireCell(2, 0, binary.binaries(pa.binary())),
    WireCell(3, 0, binary.padded(250)),
    WireCell(4, 0, json.json_converter()),
]
SOUND = {
    3: (b"\x43\xca\x0f", b"\x01\x02\x04"),
    4: (b"\x80\x10\x83\x0a", b"\x7f\xef\x7d\x00"),
    5: (b"\x60\x1a\x0e\x85\x10", b"\x80\x00\x01\x00\x00"),
    8: (bytes.fromhex("99a885108500000a"),),
    9: (b"\x80" + bytes(7) + b"\x01", b"\x7f" + b"\xff" * 7 + b"\xfe"),
    10: (b"\x80" + bytes(9),),
}
"""Values of all types with cells so wide."""
TEXTS = ("", "plain", "é€ü" * 20, "😀", "x" * 200)


def _cell(rng: Random, cell: WireCell, spoilt: float) -> bytes | None:
    """A cell, most often one that holds a value."""
    if rng.random() < 0.1:
        return None
    if rng.random() < spoilt:
        return rng.randbytes(rng.randint(0, 70) if cell.prefix else cell.width)
    if cell.prefix == 4:
        return rng.choice((b"", b"\x04\x01", b"\x0c\x03abc"))
    if cell.prefix:
        return rng.choice(TEXTS).encode()
    return rng.choice(SOUND.get(cell.width, (bytes(cell.width), b"\x01" + bytes(cell.width - 1))))


def _images(rows: list[tuple[bytes | None, ...]], columns: list[WireCell]) -> Images:
    """Row images with other bytes around them; the last one ends where the buffer ends."""
    data, begins = bytearray(), []
    for row in rows:
        data += b"\xa5" * (len(data) % 5)
        begins.append(len(data))
        nulls = sum(1 << i for i, value in enumerate(row) if value is None)
        # Servers set the bits behind the last column.
        nulls |= -1 << len(row) & (1 << 8 * (len(row) + 7 >> 3)) - 1
        data += nulls.to_bytes(len(row) + 7 >> 3, "little")
        for cell, value in zip(columns, row, strict=True):
            if value is not None:
                data += len(value).to_bytes(cell.prefix, "little") if cell.prefix else b""
                data += value
    return Images(np.frombuffer(bytes(data), np.uint8).copy(), np.array(begins, np.int64))


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[WireCell], list[tuple[bytes | None, ...]]]:
    """Some columns and rows of them, at times more columns than a word has bits."""
    columns = draw(st.lists(st.sampled_from(CELLS), min_size=1, max_size=12))
    columns = columns * draw(st.sampled_from((1, 1, 1, 7)))
    count, rng = draw(st.integers(1, 150)), Random(draw(st.integers(0, 1 << 30)))
    spoilt = draw(st.sampled_from((0.0, 0.0, 0.01)))
    return columns, [tuple(_cell(rng, c, spoilt) for c in columns) for _ in range(count)]


@settings(max_examples=60)
@given(tables())
def test_columns_are_those_of_their_converters(
    table: tuple[list[WireCell], list[tuple[bytes | None, ...]]],
) -> None:
    columns, rows = table
    images = _images(rows, columns)
    converters = [column.convert for column in columns]
    steps = steps_of_cells(columns, len(columns))
    converted, ends = convert_images(images, steps, converters, ArrayPool())
    assert ends[-1] == len(images.data)
    for index, column in enumerate(columns):
        wanted = column.convert(cells([row[index] for row in rows], column.prefix))
        converted[index].array.validate(full=True)
        assert converted[index].array.equals(wanted.array)
        assert _bad(converted[index].bad) == _bad(wanted.bad)
        assert not _bad(wanted.bad) or converted[index].reason == wanted.reason


def _bad(mask: np.ndarray | None) -> list[int]:
    return [] if mask is None else np.flatnonzero(mask).tolist()


@settings(max_examples=60)
@given(tables(), st.integers(0, 1 << 30))
def test_columns_grow_by_whole_parts_and_can_be_cut(
    table: tuple[list[WireCell], list[tuple[bytes | None, ...]]], seed: int
) -> None:
    columns, rows = table
    rng, pool = Random(seed), ArrayPool()
    steps = steps_of_cells(columns, len(columns))
    if not steps.whole:
        columns = [cell for cell in CELLS if steps_of_cells([cell], 1).whole][: len(columns)]
        rows = [tuple(_cell(rng, c, 0.0) for c in columns) for _ in rows]
        steps = steps_of_cells(columns, len(columns))
    made, held = RowColumns(steps, 2 * len(rows), pool), list[tuple[bytes | None, ...]]()
    while made.has_room(len(rows)) and rng.random() < 0.9:
        some = rows[: rng.randint(1, len(rows))]
        if made.add(_images(some, columns)) is None:
            held += some
        if rng.random() < 0.3:
            held = held[: rng.randint(0, len(held))]
            made.cut(len(held))
    for index, column in enumerate(columns):
        array = made.array(index, column.convert)
        array.validate(full=True)
        wanted = column.convert(cells([row[index] for row in held], column.prefix))
        assert array.equals(wanted.array)
        assert array.null_count == wanted.array.null_count


def test_memory_lent_comes_back_when_no_array_holds_it() -> None:
    pool = ArrayPool()
    lent = pool.lend(5000)
    address = lent.ctypes.data
    array = pa.Array.from_buffers(pa.uint8(), 10, [None, pa.py_buffer(lent[20:][:10])])
    del lent
    other = pool.lend(5000)
    assert other.ctypes.data != address
    del array
    assert pool.lend(5000).ctypes.data == address


def test_strings_without_a_byte_are_written_where_there_is_room() -> None:
    """What copies short strings writes some bytes behind them: found by the fuzzer."""
    convert = text_converter("utf8mb4", pa.string())
    assert convert is not None
    columns = [WireCell(1, 0, convert), WireCell(2, 0, convert)]
    rows = [(b"", None), (None, b""), (b"", b"")] * 30
    with guarded_arrays():
        made = RowColumns(steps_of_cells(columns, 2), len(rows), ArrayPool())
        assert made.add(_images(rows, columns)) is None
        assert made.array(0, convert).to_pylist() == ["", None, ""] * 30
        del made


def test_one_long_string_reserves_no_room_for_many_like_it() -> None:
    lent: list[int] = []

    class Pool(ArrayPool):
        def lend(self, size: int) -> np.ndarray:
            lent.append(size)
            return super().lend(size)

    convert = text_converter("utf8mb4", pa.string())
    assert convert is not None
    columns = [WireCell(3, 0, convert)]
    made, row = RowColumns(steps_of_cells(columns, 1), 1 << 15, Pool()), (b"x" * (1 << 20),)
    for _ in range(3):
        assert made.add(_images([row], columns)) is None
    assert made.array(0, convert).to_pylist() == [row[0].decode()] * 3
    assert max(lent) < 8 << 20
