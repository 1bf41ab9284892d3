"""The rows of a result set, read off the socket past PyMySQL into one reused buffer.

In: a statement whose rows come next. Out: batches of rows as bytes, with the place of every cell.
Memory is bounded by a batch, or by one row where that is larger.

Source: MySQL client/server protocol, "Sending More Than 16Mb", "EOF_Packet", "ERR_Packet".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pymysql
from pymysql.connections import Connection

from resources.errors import SourceUnavailable
from resources.mysql.connection import mapped_errors
from resources.mysql.kernels.cells import Bytes, Cells
from resources.mysql.kernels.result_walk import BAD, END, FULL, JOIN, MORE, RowTable, walk

_BATCH_BYTES = 8 << 20
_BUFFER_BYTES = _BATCH_BYTES + (1 << 20)
_BATCH_CELLS = 1 << 20
_READ_AHEAD = 1 << 18
_HEADER = 4
_FULL_PACKET = 0xFFFFFF
_ERROR = 0xFF
_SHORTEST_ERROR = 4


@dataclass(frozen=True)
class Rows:
    """A batch of rows; gone with the next one, as both share one buffer.

    Args:
        data: The bytes.
        table: Where rows and cells lie in them.
        count: Number of rows.
    """

    data: Bytes
    table: RowTable
    count: int

    def column(self, number: int) -> Cells:
        """Return the cells of a column."""
        return self.table.cells(self.data, number, self.count)

    def packet(self, row: int) -> bytes:
        """Return a row as it came, without packet headers."""
        return self.data[self.table.begin[row] : self.table.end[row]].tobytes()


class RowReader:
    """Reads the rows of one result up to its end.

    Args:
        connection: With rows next on its socket.
        forms: uint8, (columns,) the form of each column's cells, see `result_walk`.
        binary: Whether rows come in the binary protocol.
        batch_rows: Rows of a batch at most; it also ends at 8 MiB and at a million cells.
        where: Chunk or table in words, for errors.

    Attributes:
        done: Whether the result's end was read.
    """

    def __init__(
        self, connection: Connection[Any], forms: Bytes, binary: bool, batch_rows: int, where: str
    ) -> None:
        self.done = False
        driver: Any = connection
        self._connection = driver
        self._where = where
        rows = min(batch_rows, max(1, _BATCH_CELLS // len(forms)))
        self._table = RowTable.for_rows(rows, forms, binary)
        self._data: Bytes = np.empty(_BUFFER_BYTES, np.uint8)
        self._at = self._filled = self._joined = self._rows = 0
        self._sequence: int = driver._next_seq_id
        self._ahead = True

    def read(self) -> Rows | None:
        """Return the next rows, None after the last.

        Raises:
            SourceUnavailable: The connection was lost, or brought bytes that no server sends.
            CdcError: The server ended the result by an error; the class tells which.
        """
        self._rows = 0
        self._tidy()
        limit = self._at + _BATCH_BYTES
        while not self.done:
            reason = self._walk(limit)
            if reason == BAD:
                raise self._broken("brought bytes that are no row")
            if reason == END:
                self._end()
            elif reason == FULL or (self._rows and reason == JOIN):
                break
            elif reason == MORE or not self._join():
                if self._filled == len(self._data):
                    if self._rows:
                        break
                    self._grow()
                self._receive()
        return Rows(self._data, self._table, self._rows) if self._rows else None

    def _walk(self, limit: int) -> int:
        reason, self._at, self._sequence, self._rows = walk(
            self._data, self._at, self._filled, limit, self._joined, self._sequence, self._rows,
            self._table,
        )  # fmt: skip
        self._joined = 0
        return reason

    def _end(self) -> None:
        begin, size = self._at + _HEADER, self._size(self._at)
        packet = self._data[begin : begin + size].tobytes()
        if packet[0] == _ERROR and (size < _SHORTEST_ERROR or not packet[3:9].isascii()):
            raise self._broken("brought an error that cannot be read")
        self.done = True
        if packet[0] == _ERROR:
            with mapped_errors(self._where):
                pymysql.err.raise_mysql_exception(packet)

    def _size(self, at: int) -> int:
        return int.from_bytes(self._data[at : at + 3].tobytes(), "little")

    def _join(self) -> bool:
        """Bring the parts of a row of 16 MiB or more together; return whether all are there."""
        parts: list[tuple[int, int]] = []
        at, size = self._at, _FULL_PACKET
        while size == _FULL_PACKET:
            begin = at + _HEADER
            size = self._size(at)
            if begin + size > self._filled:
                return False
            if self._data[at + 3] != (self._sequence + len(parts)) & 0xFF:
                raise self._broken("brought a packet out of turn")
            parts.append((begin, size))
            at = begin + size
        # Rightwards, so that the next packet stays where it is.
        for begin, size in reversed(parts):
            self._data[at - size : at] = self._data[begin : begin + size]
            at -= size
            self._joined += size
        self._at, self._sequence = at, (self._sequence + len(parts)) & 0xFF
        return True

    def _tidy(self) -> None:
        """Make room: bytes not yet walked move to the front once they are the smaller part."""
        rest = self._filled - self._at
        if len(self._data) > _BUFFER_BYTES >= rest:
            self._move(np.empty(_BUFFER_BYTES, np.uint8))
        elif rest <= self._at:
            self._move(self._data)

    def _grow(self) -> None:
        """Make room within a row that fills the buffer."""
        self._move(self._data if self._at else np.empty(2 * len(self._data), np.uint8))

    def _move(self, to: Bytes) -> None:
        rest = self._filled - self._at
        to[:rest] = self._data[self._at : self._filled]
        self._data, self._at, self._filled = to, 0, rest

    def _receive(self) -> None:
        """Read once from the socket, behind what is there."""
        try:
            if self._connection._sock is None:
                raise self._broken("was closed")
            free = memoryview(self._data)[self._filled :]  # type: ignore[arg-type]
            if self._ahead:
                # PyMySQL may have read rows with the column definitions.
                ahead = self._connection._rfile.read1(min(_READ_AHEAD, len(free)))
                self._ahead, count = False, len(ahead)
                free[:count] = ahead
            else:
                count = self._connection._sock.recv_into(free)
        except OSError as error:
            raise self._broken(f"was lost ({type(error).__name__})") from error
        if not count:
            raise self._broken("was lost")
        self._filled += count

    def _broken(self, what: str) -> SourceUnavailable:
        return SourceUnavailable(
            f"the connection {what} within a result",
            where=self._where,
            remedy="see the server's error log if it stays so",
        )
