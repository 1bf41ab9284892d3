"""Integers, floats, BIT and YEAR: what Python reads from the same bytes."""

from __future__ import annotations

import struct

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.mysql.kernels import numbers
from tests.mysql.kernels.wire import cells, columns, good

INTEGERS = [
    (1, pa.int8()), (1, pa.uint8()), (2, pa.int16()), (2, pa.uint16()), (3, pa.int32()),
    (3, pa.uint32()), (4, pa.int32()), (4, pa.uint32()), (8, pa.int64()), (8, pa.uint64()),
]  # fmt: skip


def integer(raw: bytes | None, arrow: pa.DataType) -> int | None:
    signed = pa.types.is_signed_integer(arrow)
    return None if raw is None else int.from_bytes(raw, "little", signed=signed)


@given(st.data(), st.sampled_from(INTEGERS))
def test_integers_of_every_width(data: st.DataObject, form: tuple[int, pa.DataType]) -> None:
    width, arrow = form
    column = data.draw(columns(st.binary(min_size=width, max_size=width)))
    array = good(numbers.integers(width, arrow)(cells(column)), arrow)
    assert array.equals(pa.array([integer(raw, arrow) for raw in column], arrow))


@pytest.mark.parametrize(("width", "arrow"), INTEGERS)
def test_extremes_of_integers(width: int, arrow: pa.DataType) -> None:
    edges = [0, 1, (1 << 8 * width) - 1, 1 << 8 * width - 1, (1 << 8 * width - 1) - 1]
    column = [n.to_bytes(width, "little") for n in edges]
    array = good(numbers.integers(width, arrow)(cells(column)), arrow)
    assert array.to_pylist() == [integer(raw, arrow) for raw in column]


@given(st.data(), st.sampled_from([(pa.float32(), pa.uint32(), 4), (pa.float64(), pa.uint64(), 8)]))
def test_floats_keep_every_bit(
    data: st.DataObject, form: tuple[pa.DataType, pa.DataType, int]
) -> None:
    arrow, words, width = form
    column = data.draw(columns(st.binary(min_size=width, max_size=width)))
    array = good(numbers.floats(arrow)(cells(column)), arrow)
    assert array.view(words).equals(pa.array([integer(raw, words) for raw in column], words))


@given(columns(st.floats().map(lambda x: struct.pack("<d", x))))
def test_doubles_are_what_struct_reads(column: list[bytes | None]) -> None:
    got = good(numbers.floats(pa.float64())(cells(column)), pa.float64()).to_pylist()
    want = [None if raw is None else struct.unpack("<d", raw)[0] for raw in column]
    assert repr(got) == repr(want)


@given(st.data(), st.integers(1, 8))
def test_bit_fields_are_big_endian(data: st.DataObject, width: int) -> None:
    column = data.draw(columns(st.binary(min_size=width, max_size=width)))
    want = [None if raw is None else int.from_bytes(raw, "big") for raw in column]
    array = good(numbers.bits(width)(cells(column)), pa.uint64())
    assert array.equals(pa.array(want, pa.uint64()))


def test_every_year() -> None:
    column = [None, *(bytes([n]) for n in range(256))]
    array = good(numbers.years(cells(column)), pa.int16())
    assert array.to_pylist() == [None, 0, *range(1901, 2156)]
