"""Result sets as Arrow, streamed in bounded parts straight from the socket.

In: a SELECT whose list `select_list` wrote. Out: `ChunkRows`. Rows come in the binary protocol
where the server can prepare the statement, else as text; a compiled loop finds the cells, and
each column is converted at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pymysql.connections import Connection

from resources.errors import SchemaMismatch
from resources.model.arrays import from_mask
from resources.model.change import RejectedRow, RowKind
from resources.model.keys import key_text
from resources.model.source import ChunkRows
from resources.model.table import Column, TableId, TableSchema
from resources.mysql.connection import mapped_errors
from resources.mysql.identifiers import quote_identifier
from resources.mysql.kernels.cells import Converted, Converter
from resources.mysql.result_columns import (
    ResultColumns,
    binary_columns,
    text_columns,
    value_columns,
    wrong_type,
)
from resources.mysql.result_rows import RowReader, Rows
from resources.mysql.statement import Statement, end_statement, run_statement
from resources.mysql.types import GEOMETRY

ZeroDates = Literal["null", "dirty"]
BATCH_ROWS = 20_000


def select_list(schema: TableSchema) -> str:
    """Return the select list of all columns in the schema's order, invisible ones included."""
    return ", ".join(quote_identifier(column.name) for column in schema.columns)


def printed_list(schema: TableSchema) -> str:
    """Return the select list whose text carries every column's exact value.

    FLOAT prints six digits and DOUBLE(m,d) rounds; as a product with a double both print the
    shortest text that reads back equal, the sign of a zero included.
    """
    return ", ".join(
        quote_identifier(column.name) + (" * 1e0" if pa.types.is_floating(column.type) else "")
        for column in schema.columns
    )


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
        batch_rows: Rows of a batch at most; a batch also ends at 8 MiB of packets and at about a
            million cells.
        where: Chunk or table in words, for rejected rows and errors.

    Raises:
        SchemaMismatch: The table no longer has these columns.
        SourceUnavailable: The connection was lost, or brought what no server sends.
        ConfigError: SELECT is not granted.
    """
    where = where or str(schema.table)
    printed = sql.replace(select_list(schema), printed_list(schema), 1)
    with connection.cursor() as cursor, mapped_errors(where):
        sql, printed = (cursor.mogrify(text, tuple(params) or None) for text in (sql, printed))
        statement = run_statement(connection, sql, printed)
    yield from _stream(connection, statement, schema, zero_dates, batch_rows, where)


def select_values(
    connection: Connection[Any], sql: str, params: Sequence[Any], where: str
) -> Iterator[tuple[Any, ...]]:
    """Run a SELECT of texts and integers and yield its rows as Python's values.

    For what a catalog says of thousands of tables.

    Args:
        connection: Of `connection.connect`, as in `select_arrow`.
        sql: A SELECT.
        params: Values for its `%s` marks.
        where: What is read, in words, for errors.

    Raises:
        pymysql.err.MySQLError: The server refused it.
        SourceUnavailable: The connection was lost, or brought what no server sends.
        SchemaMismatch: A column is neither text nor integer, or its text is not the session's.
    """
    with connection.cursor() as cursor:
        sql = cursor.mogrify(sql, tuple(params))
    statement = run_statement(connection, sql, sql)
    schema = TableSchema(TableId("", where), value_columns(statement.fields))
    for part in _stream(connection, statement, schema, "null", BATCH_ROWS, where):
        if part.rejected:
            raise SchemaMismatch(part.rejected[0].message, where=where)
        yield from zip(*(column.to_pylist() for column in part.rows.columns), strict=True)


def _stream(
    connection: Connection[Any],
    statement: Statement,
    schema: TableSchema,
    zero_dates: ZeroDates,
    batch_rows: int,
    where: str,
) -> Iterator[ChunkRows]:
    """Yield a statement's rows; give the connection back at its end."""
    reader = None
    try:
        columns = _columns(statement, schema, zero_dates, where)
        reader = RowReader(connection, columns.forms, statement.binary, batch_rows, where)
        while rows := reader.read():
            yield _to_batch(rows, columns.converters, schema, where)
    finally:
        end_statement(connection, statement, whole=reader is not None and reader.done)


def _columns(
    statement: Statement, schema: TableSchema, zero_dates: ZeroDates, where: str
) -> ResultColumns:
    if len(statement.fields) != len(schema.columns):
        message = "the select list does not fit the table's columns"
        raise SchemaMismatch(message, where=where, remedy="read the schema again")
    reject = zero_dates == "dirty"
    if statement.binary:
        return binary_columns(schema.columns, statement.fields, reject, where)
    return text_columns(schema.columns, reject)


def _to_batch(
    rows: Rows, converters: Sequence[Converter], schema: TableSchema, where: str
) -> ChunkRows:
    columns = [
        _convert(rows, number, converter, schema.columns[number], where)
        for number, converter in enumerate(converters)
    ]
    fields = [field.with_nullable(True) for field in schema.arrow()]
    batch = pa.RecordBatch.from_arrays([c.array for c in columns], schema=pa.schema(fields))
    bad = {
        column.name: converted
        for column, converted in zip(schema.columns, columns, strict=True)
        if converted.bad is not None
    }
    if not bad:
        return ChunkRows(batch)
    faulty = np.logical_or.reduce([c.bad for c in bad.values() if c.bad is not None])
    rejected = [_reject(rows, schema, batch, bad, int(i), where) for i in np.flatnonzero(faulty)]
    return ChunkRows(batch.filter(from_mask(~faulty)), rejected)


def _convert(
    rows: Rows, number: int, converter: Converter, column: Column, where: str
) -> Converted:
    try:
        converted = converter(rows.column(number))
    except pa.ArrowInvalid:
        # Arrow's message would quote the value.
        raise wrong_type(column, where) from None
    if converted.bad is not None and not _may_be_bad(column.type):
        raise wrong_type(column, where)
    return converted


def _may_be_bad(arrow: pa.DataType) -> bool:
    """Return whether a column of a type can hold, on the server, what the type cannot."""
    text: bool = pa.types.is_string(arrow) or pa.types.is_large_string(arrow)
    temporal = pa.types.is_date(arrow) or pa.types.is_timestamp(arrow)
    # MariaDB keeps an empty geometry where a session without strict mode leaves one out.
    return text or temporal or arrow == GEOMETRY


def _reject(
    rows: Rows,
    schema: TableSchema,
    batch: pa.RecordBatch,
    bad: Mapping[str, Converted],
    row: int,
    where: str,
) -> RejectedRow:
    names = [name for name, column in bad.items() if column.bad is not None and column.bad[row]]
    image = pa.BufferOutputStream()
    with pa.ipc.new_stream(image, batch.schema) as writer:
        writer.write_batch(batch.slice(row, 1))
    key = {name: batch.column(name)[row].as_py() for name in schema.key if name not in names}
    return RejectedRow(
        schema=schema,
        seq=0,
        op=RowKind.INSERT,
        ts_us=0,
        position=where,
        key=key_text(key) if len(key) == len(schema.key) else "",
        field=names[0],
        error="DirtyRowError",
        message=f"column {', '.join(names)}: {bad[names[0]].reason}",
        raw=rows.packet(row),
        image=image.getvalue().to_pybytes(),
    )
