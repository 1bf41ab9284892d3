"""The walk over a result set's packets: where each row and each of its cells begins.

In: bytes off the socket. Out: a `RowTable` of rows, and why the walk stopped. No length is used
before it is known to lie within the bytes at hand.
Source: MySQL client/server protocol, "Protocol::Packet", "Binary Protocol Resultset Row",
"ProtocolText::ResultsetRow".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from resources.mysql.kernels.cells import Bytes, Cells, Ints
from resources.mysql.kernels.integers import uint
from resources.mysql.kernels.jit import lean_inline, lean_kernel

MORE, FULL, END, JOIN, BAD = range(5)
"""Why a walk stopped: for bytes, at a limit, at the result's last packet, at a row in several
packets, or at bytes that no server sends."""

LENGTH, DATE, DATETIME, TIME = 0, 9, 10, 11
"""Forms of a cell in the binary protocol besides the widths 1, 2, 4 and 8: behind a
length-encoded length, and behind one byte of length."""

_HEADER = 4
_FULL_PACKET = 0xFFFFFF
_NULL, _EOF, _ERROR = 0xFB, 0xFE, 0xFF
_LONGEST_EOF = 9

_Flags = npt.NDArray[np.bool_]
_IntTable = npt.NDArray[np.int64]


@dataclass(frozen=True)
class RowTable:
    """Room for the rows that a walk finds; made once, filled for every batch.

    Args:
        forms: uint8, the form of each column's cells.
        binary: Whether rows come in the binary protocol.
        begin: int64, (rows,) first byte of each row.
        end: int64, (rows,) the byte behind it.
        start: int64, (columns, rows) first byte of each cell's content.
        size: int64, (columns, rows) its bytes.
        null: bool, (columns, rows).
    """

    forms: Bytes
    binary: bool
    begin: Ints
    end: Ints
    start: _IntTable
    size: _IntTable
    null: _Flags

    @classmethod
    def for_rows(cls, rows: int, forms: Bytes, binary: bool) -> RowTable:
        """Return a table with room for so many rows."""
        shape = (len(forms), rows)
        return cls(
            forms,
            binary,
            begin=np.empty(rows, np.int64),
            end=np.empty(rows, np.int64),
            start=np.empty(shape, np.int64),
            size=np.empty(shape, np.int64),
            null=np.empty(shape, np.bool_),
        )

    def cells(self, data: Bytes, column: int, rows: int) -> Cells:
        """Return one column of the first `rows` rows; a view, gone with the next walk."""
        start, size = self.start[column, :rows], self.size[column, :rows]
        return Cells(data, start, size, self.null[column, :rows])


def walk(
    data: Bytes,
    begin: int,
    end: int,
    limit: int,
    joined: int,
    sequence: int,
    row: int,
    to: RowTable,
) -> tuple[int, int, int, int]:
    """Find rows until one of the reasons to stop.

    Args:
        data: The bytes.
        begin: Where a packet begins.
        end: The byte behind the last one that was received.
        limit: Rows that begin here or later are left for another batch.
        joined: If not 0, `begin` is not a packet but a row of so many bytes.
        sequence: Number of the packet to come.
        row: Rows found before this walk.
        to: What the rows are added to.

    Returns:
        Why it stopped, where the first packet not taken begins, the number of that packet, and
        the rows found so far.
    """
    return _walk(
        data, begin, end, limit, joined, sequence, row,
        to.binary, to.forms, to.begin, to.end, to.start, to.size, to.null,
    )  # fmt: skip


@lean_kernel
def _walk(
    data: Bytes,
    at: int,
    end: int,
    limit: int,
    joined: int,
    sequence: int,
    row: int,
    binary: bool,
    forms: Bytes,
    begins: Ints,
    ends: Ints,
    start: _IntTable,
    size: _IntTable,
    null: _Flags,
) -> tuple[int, int, int, int]:
    while True:
        if row == len(begins) or (row and at >= limit):
            return FULL, at, sequence, row
        begin, length = at, joined
        if not joined:
            begin = at + _HEADER
            if begin > end:
                return MORE, at, sequence, row
            length = uint(data, at, 3)
            if length == _FULL_PACKET:
                return JOIN, at, sequence, row
            if begin + length > end:
                return MORE, at, sequence, row
            if length == 0:
                return BAD, at, sequence, row
            lead = data[begin]
            if lead == _ERROR or (lead == _EOF and (binary or length < _LONGEST_EOF)):
                return END, at, sequence, row
            if data[at + 3] != sequence:
                return BAD, at, sequence, row
            sequence = sequence + 1 & 0xFF
        joined = 0
        if binary:
            good = _binary_row(data, begin, begin + length, forms, row, start, size, null)
        else:
            good = _text_row(data, begin, begin + length, row, start, size, null)
        if not good:
            return BAD, at, sequence, row
        at = begin + length
        begins[row], ends[row] = begin, at
        row += 1


@lean_inline
def _binary_row(
    data: Bytes,
    at: int,
    end: int,
    forms: Bytes,
    row: int,
    start: _IntTable,
    size: _IntTable,
    null: _Flags,
) -> bool:
    """Find the cells of a row in data[at:end]; return whether they fill it exactly."""
    bitmap = at + 1
    begin = bitmap + (len(forms) + 9) // 8
    if begin > end or data[at] != 0:
        return False
    for column in range(len(forms)):
        bit = column + 2  # the first two bits of the map mean nothing
        length, form = 0, int(np.int64(forms[column]))
        missing = data[bitmap + (bit >> 3)] >> (bit & 7) & 1 != 0
        if not missing:
            if form == LENGTH:
                begin, length = _length(data, begin, end)
            elif form < DATE:
                length = form
            else:
                begin, length = _temporal_length(data, begin, end, form)
        if length < 0 or length > end - begin:
            return False
        start[column, row], size[column, row], null[column, row] = begin, length, missing
        begin += length
    return begin == end


@lean_inline
def _text_row(
    data: Bytes,
    at: int,
    end: int,
    row: int,
    start: _IntTable,
    size: _IntTable,
    null: _Flags,
) -> bool:
    """Find the cells of a row in data[at:end]; return whether they fill it exactly."""
    for column in range(len(start)):
        missing = at < end and data[at] == _NULL
        length = 0
        if missing:
            at += 1
        else:
            at, length = _length(data, at, end)
        if length < 0 or length > end - at:
            return False
        start[column, row], size[column, row], null[column, row] = at, length, missing
        at += length
    return at == end


@lean_inline
def _length(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """Read a length-encoded length; return where its content begins and the length, or -1.

    A length of eight bytes may come out negative too.
    """
    if at >= end:
        return at, -1
    lead: Any = np.int64(data[at])
    if lead < _NULL:
        return at + 1, lead
    width = 2 if lead == 0xFC else 3 if lead == 0xFD else 8
    if lead in (_NULL, _ERROR) or width > end - at - 1:
        return at, -1
    return at + 1 + width, uint(data, at + 1, width)


@lean_inline
def _temporal_length(data: Bytes, at: int, end: int, form: int) -> tuple[int, int]:
    """Read the one byte of length before a date or time; -1 for one that its form cannot have."""
    if at >= end:
        return at, -1
    length: Any = np.int64(data[at])
    if form == TIME:
        good = length in (0, 8, 12)
    else:
        good = length in (0, 4) or (form == DATETIME and length in (7, 11))
    return at + 1, length if good else -1
