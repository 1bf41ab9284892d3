"""Rows off the socket: any cut of the stream gives the same rows, no damage to it is taken."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymysql.connections import Connection

from resources.errors import CdcError, SchemaMismatch, SourceUnavailable
from resources.mysql.kernels.result_walk import LENGTH
from resources.mysql.result_rows import RowReader
from tests.mysql.scripted_result import EOF, FULL_PACKET, connection_with, cut, packets

MIB = 1 << 20
GONE = b"\xff\x7a\x04#42S02the table is gone"
cells = st.lists(st.binary(max_size=20) | st.binary(min_size=251, max_size=300), max_size=12)


def reader(connection: Connection[Any], batch_rows: int = 100) -> RowReader:
    return RowReader(connection, np.array([LENGTH], np.uint8), True, batch_rows, "here")


def row(cell: bytes) -> bytes:
    size = len(cell)
    length = bytes([size]) if size < 251 else b"\xfe" + size.to_bytes(8, "little")
    return b"\0\0" + length + cell


def batches(connection: Connection[Any], batch_rows: int = 100) -> Iterator[list[bytes]]:
    rows_of = reader(connection, batch_rows)
    while rows := rows_of.read():
        cells = rows.column(0)
        ends = cells.start + cells.size
        yield [rows.data[a:b].tobytes() for a, b in zip(cells.start, ends, strict=True)]
    assert rows_of.done


def everything(connection: Connection[Any], batch_rows: int = 100) -> list[bytes]:
    return [cell for batch in batches(connection, batch_rows) for cell in batch]


@settings(deadline=None)
@given(
    cells=cells,
    places=st.lists(st.integers(0, 5000)),
    ahead=st.integers(0, 5000),
    sequence=st.integers(0, 255),
    batch_rows=st.integers(1, 5),
)
def test_any_cut_of_the_stream_gives_the_same_rows(
    cells: list[bytes], places: list[int], ahead: int, sequence: int, batch_rows: int
) -> None:
    data = packets([*map(row, cells), EOF], sequence)
    connection = connection_with(cut(data[ahead:], places), data[:ahead], sequence)
    found = list(batches(connection, batch_rows))
    assert [cell for batch in found for cell in batch] == cells
    assert all(len(batch) == batch_rows for batch in found[:-1])


@pytest.mark.parametrize("size", [FULL_PACKET - 1, FULL_PACKET, FULL_PACKET + 1, 2 * FULL_PACKET])
def test_a_row_in_several_packets_is_joined(size: int) -> None:
    big = b"0123456789abcdef" * (size // 16 + 1)
    sent = [b"a", big[: size - len(row(b"x" * 300)) + 300], b"b", b"c"]
    data = packets([*map(row, sent), EOF], 250)
    places = [7, 8, FULL_PACKET, FULL_PACKET + 13, FULL_PACKET + 14, len(data) - 20]
    assert everything(connection_with(cut(data, places), sequence=250)) == sent


def test_a_packet_out_of_turn_within_a_row_is_refused() -> None:
    data = bytearray(packets([row(bytes(FULL_PACKET)), EOF]))
    data[4 + FULL_PACKET + 3] = 7
    with pytest.raises(SourceUnavailable, match="out of turn"):
        everything(connection_with([bytes(data)]))


def test_a_stream_that_ends_anywhere_is_a_lost_connection() -> None:
    data = packets([row(b"abc"), row(b"d" * 260), EOF])
    for end in range(len(data)):
        for ahead in (0, end // 2, end):
            with pytest.raises(SourceUnavailable, match="here"):
                everything(connection_with([data[ahead:end]], data[:ahead]))


@pytest.mark.parametrize("error", [b"\xff", b"\xff\x7a\x04", b"\xff\x7a\x04#\xfe2S02gone"])
def test_an_error_that_cannot_be_read_is_a_lost_connection(error: bytes) -> None:
    with pytest.raises(SourceUnavailable, match="an error that cannot be read"):
        everything(connection_with([packets([error])]))


def test_an_error_ends_the_result_and_leaves_the_connection_in_step() -> None:
    rows = reader(connection_with([packets([row(b"a"), row(b"b"), GONE])]), batch_rows=1)
    assert rows.read() is not None
    assert rows.read() is not None
    assert not rows.done
    with pytest.raises(SchemaMismatch, match="1146"):
        rows.read()
    assert rows.done


@settings(deadline=None)
@given(cells=cells, places=st.lists(st.integers(0, 5000)), data=st.data())
def test_damage_ends_in_an_error_of_the_project_or_in_rows(
    cells: list[bytes], places: list[int], data: st.DataObject
) -> None:
    sent = bytearray(packets([*map(row, cells), EOF]))
    for _ in range(data.draw(st.integers(1, 4))):
        sent[data.draw(st.integers(0, len(sent) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = everything(connection_with(cut(bytes(sent), places)))
    except CdcError as error:
        assert error.where == "here"
    else:
        assert sum(map(len, found)) < len(sent)


def test_memory_is_that_of_a_batch_or_of_one_row() -> None:
    """96 MiB in rows of 32 KiB, and one row of 48 MiB between them."""
    small, huge = row(bytes(32 << 10)), packets([row(bytes(48 * MIB))], 1500)

    def stream() -> Iterator[bytes]:
        for number in range(1500):
            yield packets([small], number)
        yield huge
        for number in range(1504, 3004):
            yield packets([small], number)
        yield packets([EOF], 3004)

    rows_of = reader(connection_with(stream()), batch_rows=10_000)
    tracemalloc.start()
    try:
        held: list[int] = []
        while rows := rows_of.read():
            assert rows.count == 1 or int(rows.table.end[rows.count - 1]) <= 10 * MIB
            held.append(tracemalloc.get_traced_memory()[0])
            if rows.count == 1:
                continue
            assert held[-1] < 12 * MIB
        assert max(held) > 48 * MIB
    finally:
        tracemalloc.stop()
