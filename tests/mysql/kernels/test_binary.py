"""BINARY, BLOB, GEOMETRY and VECTOR: every byte, and what is too short to be one."""

from __future__ import annotations

import struct

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.mysql.kernels import binary
from resources.mysql.types import GEOMETRY
from tests.mysql.kernels.wire import bad_rows, cells, columns, good

VECTOR = pa.list_(pa.float32())
sizes = st.integers(1, 4)


@given(columns(st.binary(max_size=100)), sizes)
@pytest.mark.parametrize("arrow", [pa.binary(), pa.large_binary()], ids=str)
def test_bytes_arrive_whole(arrow: pa.DataType, column: list[bytes | None], prefix: int) -> None:
    array = good(binary.binaries(arrow)(cells(column, prefix)), arrow)
    assert array.equals(pa.array(column, arrow))


@given(columns(st.binary(max_size=12)), st.integers(0, 12))
def test_fixed_binary_gets_its_trailing_zeros_back(column: list[bytes | None], width: int) -> None:
    array = good(binary.padded(width)(cells(column, 1)), pa.binary())
    want = [None if raw is None else raw.ljust(width, b"\0") for raw in column]
    assert array.equals(pa.array(want, pa.binary()))


@given(columns(st.binary(max_size=40)), sizes)
def test_geometries_are_srid_and_wkb(column: list[bytes | None], prefix: int) -> None:
    converted = binary.geometries(cells(column, prefix))
    want = [
        None
        if raw is None or len(raw) < 4
        else {"srid": int.from_bytes(raw[:4], "little"), "wkb": raw[4:]}
        for raw in column
    ]
    assert converted.array.equals(pa.array(want, GEOMETRY))
    assert bad_rows(converted) == [i for i, r in enumerate(column) if r is not None and len(r) < 4]


floats = st.lists(st.floats(width=32, allow_nan=False), max_size=10)


@given(columns(floats.map(lambda v: struct.pack(f"<{len(v)}f", *v)) | st.binary(max_size=9)))
def test_vectors_are_lists_of_floats(column: list[bytes | None]) -> None:
    converted = binary.vectors(cells(column, 4))
    bad = [i for i, raw in enumerate(column) if raw is not None and len(raw) % 4]
    assert bad_rows(converted) == bad
    for row, raw in enumerate(column):
        if raw is None or row in bad:
            assert not converted.array[row].is_valid
        else:
            values = converted.array[row].values
            words = struct.unpack(f"<{len(raw) // 4}I", raw)
            assert values.view(pa.uint32()).to_pylist() == list(words)
