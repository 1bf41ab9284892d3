"""A table read each way: by snapshot, from the log, by polling, and as the server prints it.

In: a table on a real server. Out: plain values per row and column, equal if the readings are.
A plain value is an int (days or microseconds too), a Decimal, str or bytes; the bits of a float
in hexadecimal; SRID and WKB of a geometry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pyarrow as pa

from resources.model.change import LogSlice, RejectedRow, RowKind
from resources.model.position import PollPosition
from resources.model.table import TableSchema
from resources.mysql.catalog import read_schemas
from resources.mysql.connection import connect
from resources.mysql.result_set import select_arrow, select_list
from resources.sql.source import SqlPollingSource
from tests.mysql.binlog.log import Log
from tests.mysql.differential.columns import NoSuchDate
from tests.mysql.differential.tables import TableCase
from tests.mysql.room import settings_for

Row = dict[str, Any]
_SESSION = "SET sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00', NAMES utf8mb4"
_COMPRESS = {
    "mysql": "SET SESSION binlog_transaction_compression = %d",
    "mariadb": "SET GLOBAL log_bin_compress = %d, GLOBAL log_bin_compress_min_len = 10",
}
_GENERATED: dict[str, tuple[pa.DataType, Callable[[str], Any]]] = {
    "BIGINT": (pa.int64(), int),
    "VARCHAR": (pa.string(), str),
    "INT": (pa.int32(), int),
    "DECIMAL": (pa.decimal128(30, 10), Decimal),
}


@dataclass(frozen=True)
class Image:
    """One change row of the log: its kind, and its values or the row that was set aside."""

    kind: RowKind
    values: Row
    rejected: RejectedRow | None = None


@dataclass(frozen=True)
class Reading:
    """Rows in order of their id, and those set aside by id with their column at fault."""

    schema: TableSchema
    rows: dict[int, Row]
    rejected: dict[int, str] = field(default_factory=dict)


@contextmanager
def writer(log: Log, compressed: bool) -> Iterator[Any]:
    """A cursor that takes invalid dates and logs compressed where asked."""
    with closing(log.server.connect(database=log.database)) as connection:
        cursor = connection.cursor()
        cursor.execute(_SESSION)
        cursor.execute(_COMPRESS[log.flavor] % compressed)
        try:
            yield cursor
        finally:
            cursor.execute(_COMPRESS[log.flavor] % 0)


def printed_rows(cursor: Any, case: TableCase) -> dict[int, Row]:
    """What the server prints for each row, parsed by the column's own rule."""
    columns = [(c.name, c.case.printed.format(c=c.quoted), c.case.parse) for c in case.columns]
    columns += [(name, f"CAST({name} AS CHAR)", parse) for name, _, parse in unlisted(case)]
    listed = ", ".join(["id", *(expression for _, expression, _ in columns)])
    cursor.execute(f"SELECT {listed} FROM {case.name} ORDER BY id")
    out = {}
    for key, *texts in cursor.fetchall():
        values = zip(columns, texts, strict=True)
        row = {name: None if text is None else parse(text) for (name, _, parse), text in values}
        out[key] = {"id": key, **row}
    return out


def unlisted(case: TableCase) -> list[tuple[str, pa.DataType, Callable[[str], Any]]]:
    """Name, Arrow type and parser of the generated columns and of what they come from."""
    words = [text.split()[0].split("(")[0] for text in case.generated]
    found = [(f"g{i}", *_GENERATED[word]) for i, word in enumerate(words)]
    return [("n", *_GENERATED["INT"]), *found] if found else []


def plain_values(array: pa.Array) -> list[Any]:
    """An Arrow column as plain values."""
    kind, t = array.type, pa.types
    if t.is_date32(kind):
        return list(array.view(pa.int32()).to_pylist())
    if t.is_timestamp(kind) or t.is_duration(kind):
        return list(array.view(pa.int64()).to_pylist())
    if t.is_floating(kind):
        width = pa.uint32() if t.is_float32(kind) else pa.uint64()
        size = kind.bit_width // 8
        bits = array.view(width).to_pylist()
        return [None if b is None else b.to_bytes(size, "little").hex() for b in bits]
    if t.is_list(kind):
        # Children of one list at a time: a sliced array's offsets do not begin at zero.
        return [None if not v.is_valid else tuple(plain_values(v.values)) for v in array]
    if t.is_struct(kind):
        return [None if v is None else tuple(v.values()) for v in array.to_pylist()]
    return list(array.to_pylist())


def plain_rows(batch: pa.RecordBatch) -> list[Row]:
    """The rows of a batch as plain values by column."""
    batch.validate(full=True)
    columns = [plain_values(column) for column in batch.columns]
    names = batch.schema.names
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def by_snapshot(log: Log, case: TableCase, zero_dates: Any) -> Reading:
    """The table by `select_arrow`."""
    with closing(connect(settings_for(log.server))) as connection:
        found = read_schemas(connection, [log.table(case.name)])
        assert not found.findings, found.findings
        schema = found.schemas[log.table(case.name)]
        sql = f"SELECT {select_list(schema)} FROM `{log.database}`.`{case.name}` ORDER BY id"
        parts = list(select_arrow(connection, sql, (), schema, zero_dates=zero_dates))
    batches = [part.rows for part in parts]
    return _reading(schema, batches, [r for part in parts for r in part.rejected])


def by_polling(log: Log, case: TableCase, zero_dates: Any) -> Reading:
    """The table by `resources.sql`, all of its history."""
    source = SqlPollingSource(
        log.server.url,
        pipeline="test",
        include=[f"{log.database}.{case.name}"],
        zero_dates=zero_dates,
        connect_args={"tls": "off"},
    )
    with closing(source):
        schema = source.read_schemas([log.table(case.name)])[log.table(case.name)]
        stream = source.stream_changes(PollPosition(), source.current_position(), lambda: False)
        slices = list(stream)
    batches = [b.rows.select(schema.names) for piece in slices for b in piece.batches]
    return _reading(schema, batches, [r for piece in slices for r in piece.rejected])


def _reading(
    schema: TableSchema, batches: Sequence[pa.RecordBatch], rejected: Iterable[RejectedRow]
) -> Reading:
    for batch in batches:
        assert batch.schema.types == [c.type for c in schema.columns]
    rows = {row["id"]: row for batch in batches for row in plain_rows(batch)}
    return Reading(schema, rows, {_key_of(row): row.field for row in rejected})


def _key_of(row: RejectedRow) -> int:
    with pa.ipc.open_stream(row.image) as reader:
        return int(reader.read_all().column("id")[0].as_py())


@contextmanager
def nameless(log: Log) -> Iterator[None]:
    """The server's log does not name columns inside, as servers are set by default."""
    default = "MINIMAL" if log.flavor == "mysql" else "NO_LOG"
    log.run(f"SET GLOBAL binlog_row_metadata = {default}", database=False)
    try:
        yield
    finally:
        log.run("SET GLOBAL binlog_row_metadata = FULL", database=False)


def by_log(slices: Sequence[LogSlice]) -> tuple[list[TableSchema], list[Image]]:
    """The schemas and the change rows of a stream, in log order."""
    schemas: list[TableSchema] = []
    images: dict[int, Image] = {}
    for piece in slices:
        for batch in piece.batches:
            names = list(batch.schema.names)
            schemas.append(batch.schema)
            assert batch.rows.schema.types[: len(names)] == [c.type for c in batch.schema.columns]
            found = plain_rows(batch.rows.select(names))
            ops, seqs = batch.rows.column("_cdc_op"), batch.rows.column("_cdc_seq")
            for op, seq, row in zip(ops.to_pylist(), seqs.to_pylist(), found, strict=True):
                images[seq] = Image(RowKind(op), row)
        for bad in piece.rejected:
            images[bad.seq] = Image(bad.op, {"id": _key_of(bad)}, bad)
    assert sorted(images) == list(range(len(images))), "the counter has holes"
    return schemas, [images[seq] for seq in sorted(images)]


def bad_columns(row: Row) -> list[str]:
    """Columns of a printed row that hold no date there is."""
    return [name for name, value in row.items() if isinstance(value, NoSuchDate)]


def as_read(row: Row) -> Row:
    """A printed row as a lenient reader gives it: no such date is NULL."""
    return {k: None if isinstance(v, NoSuchDate) else v for k, v in row.items()}
