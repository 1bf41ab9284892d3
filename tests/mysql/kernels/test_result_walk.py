"""The walk over a result set: an encoder written from the protocol's text is the oracle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.mysql.kernels import result_walk
from resources.mysql.kernels.result_walk import BAD, END, FULL, JOIN, MORE, RowTable

Row = Sequence[bytes | None]
EOF = b"\xfe\x00\x00\x02\x00"
ANY_LIMIT = 1 << 40
SIZES = {
    result_walk.DATE: (0, 4),
    result_walk.DATETIME: (0, 4, 7, 11),
    result_walk.TIME: (0, 8, 12),
}


class Found(NamedTuple):
    """What a walk said."""

    reason: int
    at: int
    sequence: int
    rows: list[list[bytes | None]]


def length_encoded(cell: bytes) -> bytes:
    size = len(cell)
    if size < 251:
        return bytes([size]) + cell
    for mark, width in ((0xFC, 2), (0xFD, 3), (0xFE, 8)):
        if size < 1 << 8 * width:
            return bytes([mark]) + size.to_bytes(width, "little") + cell
    raise ValueError("too long")


def binary_row(row: Row, forms: Sequence[int]) -> bytes:
    bitmap, cells = bytearray((len(row) + 9) // 8), b""
    for column, (cell, form) in enumerate(zip(row, forms, strict=True)):
        if cell is None:
            bitmap[(column + 2) // 8] |= 1 << (column + 2) % 8
        elif form == result_walk.LENGTH:
            cells += length_encoded(cell)
        else:
            cells += (bytes([len(cell)]) if form in SIZES else b"") + cell
    return b"\0" + bytes(bitmap) + cells


def text_row(row: Row) -> bytes:
    return b"".join(b"\xfb" if cell is None else length_encoded(cell) for cell in row)


def packets(payloads: Sequence[bytes], sequence: int) -> bytes:
    return b"".join(
        len(payload).to_bytes(3, "little") + bytes([(sequence + n) & 0xFF]) + payload
        for n, payload in enumerate(payloads)
    )


def walk(
    data: bytes, table: RowTable, sequence: int, end: int | None = None, limit: int = ANY_LIMIT
) -> Found:
    buffer: npt.NDArray[np.uint8] = np.frombuffer(data, np.uint8)
    stop = len(data) if end is None else end
    reason, at, sequence, rows = result_walk.walk(buffer, 0, stop, limit, 0, sequence, 0, table)
    columns = [table.cells(buffer, column, rows) for column in range(len(table.forms))]
    assert all(0 <= table.begin[row] <= table.end[row] <= stop for row in range(rows))
    for cells in columns:
        assert (cells.start >= table.begin[:rows])[~cells.null].all()
        assert (cells.start + cells.size <= table.end[:rows])[~cells.null].all()
        assert (cells.size >= 0).all() and not cells.size[cells.null].any()
    found = [
        [
            None if cells.null[row] else data[cells.start[row] : cells.start[row] + cells.size[row]]
            for cells in columns
        ]
        for row in range(rows)
    ]
    return Found(reason, at, sequence, found)


def contents(form: int) -> st.SearchStrategy[bytes | None]:
    if form == result_walk.LENGTH:
        content = st.binary(max_size=20) | st.sampled_from([b"a" * 250, b"b" * 251])
    else:
        content = st.sampled_from(SIZES.get(form, (form,))).flatmap(
            lambda size: st.binary(min_size=size, max_size=size)
        )
    return st.none() | content


class Result(NamedTuple):
    """Rows, and the same as a server sends them."""

    binary: bool
    forms: list[int]
    rows: list[list[bytes | None]]
    sequence: int
    data: bytes

    def table(self, rows: int = 50) -> RowTable:
        return RowTable.for_rows(rows, np.array(self.forms, np.uint8), self.binary)


@st.composite
def results(draw: st.DrawFn) -> Result:
    binary = draw(st.booleans())
    form = st.sampled_from([result_walk.LENGTH, 1, 2, 4, 8, *SIZES])
    forms = draw(st.lists(form if binary else st.just(result_walk.LENGTH), min_size=1, max_size=20))
    row = st.tuples(*map(contents, forms)).map(list)
    rows = draw(st.lists(row, max_size=6))
    sequence = draw(st.integers(0, 255))
    payloads = [binary_row(row, forms) if binary else text_row(row) for row in rows]
    return Result(binary, forms, rows, sequence, packets([*payloads, EOF], sequence))


@given(results())
def test_rows_and_cells_are_found(result: Result) -> None:
    found = walk(result.data, result.table(), result.sequence)
    assert found.rows == result.rows
    assert (found.reason, found.at) == (END, len(result.data) - len(EOF) - 4)
    assert found.sequence == (result.sequence + len(result.rows)) & 0xFF


@given(result=results(), data=st.data())
def test_a_part_gives_the_rows_that_are_whole_in_it_and_nothing_behind_it_matters(
    result: Result, data: st.DataObject
) -> None:
    end = data.draw(st.integers(0, len(result.data)))
    seen = [
        walk(result.data[:end] + rest, result.table(), result.sequence, end)
        for rest in (b"", bytes(64), b"\xff" * 64)
    ]
    assert seen[0] == seen[1] == seen[2]
    assert seen[0].rows == result.rows[: len(seen[0].rows)]
    assert seen[0].reason == (END if end == len(result.data) else MORE)


@given(result=results(), room=st.integers(1, 3), limit=st.integers(0, 500))
def test_a_batch_ends_at_its_limits(result: Result, room: int, limit: int) -> None:
    found = walk(result.data, result.table(room), result.sequence, limit=limit)
    assert found.rows == result.rows[: len(found.rows)]
    if found.reason == FULL:
        assert len(found.rows) == room or found.at >= limit
    else:
        assert (found.reason, found.rows) == (END, result.rows)


@given(result=results(), data=st.data())
def test_altered_bytes_never_lead_out_of_their_packet(result: Result, data: st.DataObject) -> None:
    altered = bytearray(result.data)
    for _ in range(data.draw(st.integers(1, 4))):
        altered[data.draw(st.integers(0, len(altered) - 1))] = data.draw(st.integers(0, 255))
    seen = [
        walk(bytes(altered) + rest, result.table(), result.sequence, len(altered))
        for rest in (b"", b"\xff" * 64)
    ]
    assert seen[0] == seen[1]


@given(
    binary=st.booleans(),
    forms=st.lists(st.integers(0, 11), min_size=1, max_size=9),
    payload=st.binary(min_size=1, max_size=60),
)
def test_any_payload_is_a_row_an_end_or_refused(
    binary: bool, forms: list[int], payload: bytes
) -> None:
    table = RowTable.for_rows(2, np.array(forms, np.uint8), binary)
    found = walk(packets([payload], 7), table, 7)
    if found.reason == MORE:
        assert len(found.rows) == 1
    else:
        assert (found.rows, found.at) == ([], 0)
        assert found.reason == BAD or payload[0] in (0xFE, 0xFF)


HOSTILE = {
    "a length beyond the row": b"\0\0\x05abc",
    "a length of eight bytes that wraps": b"\0\0\xfe" + b"\xff" * 8,
    "a length of eight bytes that wraps to the begin": b"\0\0\xfe"
    + (2**64 - 11).to_bytes(8, "little"),
    "a cut length": b"\0\0\xfd\x01\x00",
    "no length": b"\0\0",
    "no bitmap": b"\0",
    "the mark of NULL among lengths": b"\0\0\xfb",
    "the mark of an error among lengths": b"\0\0\xff",
    "bytes behind the last cell": b"\0\0\x01ab",
    "another first byte": b"\x01\0\x01a",
}


@pytest.mark.parametrize("payload", HOSTILE.values(), ids=HOSTILE)
def test_a_row_that_lies_about_its_lengths_is_refused(payload: bytes) -> None:
    table = RowTable.for_rows(2, np.array([result_walk.LENGTH], np.uint8), binary=True)
    found = walk(packets([b"\0\0\x01a", payload], 0), table, 0)
    assert (found.reason, found.rows) == (BAD, [[b"a"]])


def test_packets_out_of_turn_empty_or_of_16_mib_are_not_taken() -> None:
    table = RowTable.for_rows(2, np.array([1], np.uint8), binary=True)
    row = b"\0\0a"
    assert walk(packets([row], 4), table, 5).reason == BAD
    assert walk(packets([b""], 5), table, 5).reason == BAD
    assert walk(b"\xff\xff\xff\x05", table, 5).reason == JOIN
    # A server that shuts down numbers its last words from 0.
    assert walk(packets([b"\xff\x20\x04#08S01bye"], 0), table, 5).reason == END


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("width", [1, 2, 3, 8])
def test_lengths_of_every_width_are_read(binary: bool, width: int) -> None:
    """A length may be longer than it has to; a text row may then begin like an end."""
    table = RowTable.for_rows(2, np.array([result_walk.LENGTH], np.uint8), binary)
    cell = b"x" * (250 if width == 1 else 70_000 if width > 2 else 60_000)
    mark = {1: b"", 2: b"\xfc", 3: b"\xfd", 8: b"\xfe"}[width]
    row = (b"\0\0" if binary else b"") + mark + len(cell).to_bytes(width, "little") + cell
    assert walk(packets([row, EOF], 0), table, 0) == Found(END, len(row) + 4, 1, [[cell]])
