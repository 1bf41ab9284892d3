"""Result sets as Arrow, streamed in bounded parts straight from the socket.

In: a SELECT whose list `select_list` wrote. Out: `ChunkRows`. PyMySQL sends the query and reads
the column definitions; the rows are cut by numpy and converted by Arrow, a column at a time.

Source: MySQL internals, "ProtocolText::Resultset".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pymysql
from pymysql.connections import Connection

from resources.errors import SchemaMismatch, SourceUnavailable
from resources.model.change import RejectedRow, RowKind
from resources.model.keys import key_text
from resources.model.source import ChunkRows
from resources.model.table import Column, TableSchema
from resources.mysql.cells import Ints, Mask, convert, split_column
from resources.mysql.connection import mapped_errors
from resources.mysql.identifiers import quote_identifier

ZeroDates = Literal["null", "dirty"]
BATCH_ROWS = 20_000
_BATCH_BYTES = 8 << 20
_READ_BYTES = 1 << 18
_HEADER = struct.Struct("<IB")
_SIZE = struct.Struct("<I")
_FULL_PACKET = 0xFFFFFF
_EOF, _ERROR = 0xFE, 0xFF


def select_expression(column: Column) -> str:
    """Return what to select so that the text protocol carries the column's exact value.

    FLOAT prints six digits and DOUBLE(m,d) rounds; as a product with a double both print the
    shortest text that reads back equal, the sign of a zero included.
    """
    name = quote_identifier(column.name)
    return f"{name} * 1e0" if pa.types.is_floating(column.type) else name


def select_list(schema: TableSchema) -> str:
    """Return the select list of all columns in the schema's order, invisible ones included."""
    return ", ".join(select_expression(column) for column in schema.columns)


def select_arrow(
    connection: Connection[Any],
    sql: str,
    params: Sequence[Any],
    schema: TableSchema,
    *,
    zero_dates: ZeroDates = "null",
    batch_rows: int = BATCH_ROWS,
    where: str = "",
) -> Iterator[ChunkRows]:
    """Run a SELECT and yield its rows as record batches of `schema.arrow()`, all nullable.

    Args:
        connection: Of `connection.connect`; its session state is part of the exactness. Closed
            if the iteration is given up before its end.
        sql: A SELECT whose list is `select_list(schema)`.
        params: Values for its `%s` marks; none are looked for if this is empty.
        schema: The columns selected.
        zero_dates: `null` reads dates that do not exist (zero in month or day, 30 February) as
            NULL, `dirty` sets the row aside.
        batch_rows: Rows of a batch at most; a batch also ends at 8 MiB of packets.
        where: Chunk or table in words, for rejected rows and errors.

    Raises:
        SchemaMismatch: The table no longer has these columns.
        SourceUnavailable: The connection was lost.
        ConfigError: SELECT is not granted.
    """
    with connection.cursor() as cursor:
        statement = cursor.mogrify(sql, tuple(params)) if params else sql
    reader = _Rows(connection, schema, where or str(schema.table))
    try:
        with mapped_errors(reader.where):
            reader.begin(statement)
        while part := reader.read(batch_rows):
            yield _to_batch(part, schema, zero_dates, reader.where)
    finally:
        reader.end()


@dataclass(frozen=True)
class _Packets:
    """Rows of a result set as they came: the bytes, where each row begins, where it ends."""

    data: npt.NDArray[np.uint8]
    begin: Ints
    end: Ints


class _Rows:
    """The rows of one unbuffered result, read past PyMySQL's per-cell parser."""

    def __init__(self, connection: Connection[Any], schema: TableSchema, where: str) -> None:
        self.where = where
        self._connection: Any = connection
        self._columns = len(schema.columns)
        self._buffer = bytearray()
        self._scanned = 0
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._done = True

    def begin(self, statement: str) -> None:
        """Send the query and read its column definitions."""
        self._connection.query(statement, unbuffered=True)
        self._done = False
        if self._connection._result.field_count != self._columns:
            message = "the select list does not fit the table's columns"
            raise SchemaMismatch(message, where=self.where, remedy="read the schema again")

    def read(self, batch_rows: int) -> _Packets | None:
        """Return the next rows, None after the last."""
        with mapped_errors(self.where):
            while not self._done and not self._scan(batch_rows):
                chunk = self._connection._rfile.read1(_READ_BYTES)
                if not chunk:
                    message = "the connection was lost within a result"
                    raise SourceUnavailable(message, where=self.where)
                self._buffer += chunk
        if not self._starts:
            return None
        data = np.frombuffer(bytes(memoryview(self._buffer)[: self._scanned]), np.uint8)
        del self._buffer[: self._scanned]
        part = _Packets(data, np.array(self._starts, np.int64), np.array(self._ends, np.int64))
        self._scanned, self._starts, self._ends = 0, [], []
        return part

    def end(self) -> None:
        """Leave the connection ready for its next query, or closed if rows are still to come."""
        result = self._connection._result
        if result is not None:
            result.unbuffered_active = False
        if not self._done:
            # Not close(): that would say goodbye into the stream, and forbid the owner's own.
            self._connection._force_close()
        self._connection._result = None

    def _scan(self, batch_rows: int) -> bool:
        """Find row boundaries in the buffer; True when the batch is full or the result ended."""
        buffer, position, limit = self._buffer, self._scanned, len(self._buffer)
        starts, ends = self._starts, self._ends
        full = False
        while position + 5 <= limit and not full:
            head, lead = _HEADER.unpack_from(buffer, position)
            size = head & _FULL_PACKET
            if size == _FULL_PACKET:
                size = self._join(position)
                limit = len(buffer)
            next_position = position + 4 + size
            if size < 0 or next_position > limit:
                break
            if lead >= _EOF and (lead == _ERROR or size < 9):
                self._finish(lead, position, next_position)
                break
            starts.append(position + 4)
            ends.append(next_position)
            position = next_position
            full = len(starts) >= batch_rows or position >= _BATCH_BYTES
        self._scanned = position
        return full or self._done

    def _finish(self, lead: int, position: int, next_position: int) -> None:
        self._done = True
        if lead == _ERROR:
            pymysql.err.raise_mysql_exception(bytes(self._buffer[position + 4 : next_position]))

    def _join(self, position: int) -> int:
        """Take the inner headers out of a row of 16 MiB or more; its size, -1 if incomplete."""
        sizes = [_FULL_PACKET]
        at = position + 4 + _FULL_PACKET
        while sizes[-1] == _FULL_PACKET:
            if at + 4 > len(self._buffer):
                return -1
            sizes.append(_SIZE.unpack_from(self._buffer, at)[0] & _FULL_PACKET)
            at += 4 + sizes[-1]
        if at > len(self._buffer):
            return -1
        for size in reversed(sizes[1:]):
            at -= 4 + size
            del self._buffer[at : at + 4]
        return sum(sizes)


def _to_batch(part: _Packets, schema: TableSchema, zero_dates: ZeroDates, where: str) -> ChunkRows:
    arrays: list[pa.Array] = []
    bad: dict[str, Mask] = {}
    position = part.begin
    for column in schema.columns:
        cells, position = split_column(part.data, position)
        array, faults = convert(column, cells)
        arrays.append(array)
        if faults is not None and (zero_dates == "dirty" or _is_text(column)):
            bad[column.name] = faults
    if (position != part.end).any():
        message = "rows do not have the number of columns asked for"
        raise SchemaMismatch(message, where=where, remedy="read the schema again")
    fields = [field.with_nullable(True) for field in schema.arrow()]
    batch = pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))
    if not bad:
        return ChunkRows(batch)
    faulty = np.logical_or.reduce(list(bad.values()))
    rejected = [_reject(part, schema, batch, bad, int(i), where) for i in np.flatnonzero(faulty)]
    return ChunkRows(batch.filter(pa.array(~faulty)), rejected)


def _is_text(column: Column) -> bool:
    text: bool = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    return text


def _reject(
    part: _Packets,
    schema: TableSchema,
    batch: pa.RecordBatch,
    bad: dict[str, Mask],
    row: int,
    where: str,
) -> RejectedRow:
    names = [name for name, mask in bad.items() if mask[row]]
    reason = "text that is not UTF-8" if _is_text(schema.column(names[0])) else "no such date"
    image = pa.BufferOutputStream()
    with pa.ipc.new_stream(image, batch.schema) as writer:
        writer.write_batch(batch.slice(row, 1))
    key = {name: batch.column(name)[row].as_py() for name in schema.key if name not in names}
    return RejectedRow(
        table=schema.table,
        seq=0,
        op=RowKind.INSERT,
        ts_us=0,
        position=where,
        key=key_text(key) if len(key) == len(schema.key) else "",
        field=names[0],
        error="DirtyRowError",
        message=f"column {', '.join(names)}: {reason}",
        raw=part.data[int(part.begin[row]) : int(part.end[row])].tobytes(),
        image=image.getvalue().to_pybytes(),
    )
