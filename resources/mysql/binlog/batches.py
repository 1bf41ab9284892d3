"""Rows the walk found, converted into Arrow: a batch per table, bad rows set aside.

In: bytes, where rows and their cells lie in them, the shapes of their tables. Out: batches of
`change_schema` and `RejectedRow`s; nothing of them refers to the bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from resources.model.arrays import from_mask, from_numbers
from resources.model.change import RejectedRow, RowKind
from resources.model.keys import key_text
from resources.model.table import TableSchema
from resources.mysql.binlog.array_pool import ArrayPool
from resources.mysql.binlog.known_tables import Shape
from resources.mysql.kernels import walk_state as w
from resources.mysql.kernels.cells import Bytes, Converted, Ints, Mask, locate
from resources.mysql.kernels.walk_rows import lay_out

_TIME = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class FoundRows:
    """What the walk found and nobody converted yet; its arrays are nobody else's.

    Args:
        data: The bytes all cells lie in.
        rows: int64 by row and `OUT_` column of `walk_state`, more of them than are used.
        cells: int64, where cells begin, row by row; -1 for NULL.
        used: Number of rows.
        shapes: Shape by table slot.
        file: The log file, for rejected rows.
        pool: Where the arrays go once the rows are converted.
    """

    data: Bytes
    rows: Ints
    cells: Ints
    used: int
    shapes: Sequence[Shape]
    file: str
    pool: ArrayPool

    def release(self) -> None:
        """Let the arrays be used again."""
        for array in (self.data, self.rows, self.cells):
            self.pool.give(array)


@dataclass(frozen=True)
class TableRows:
    """Converted rows of one shape of a table.

    Args:
        schema: The table's.
        batch: The good ones, of `change_schema(schema)`, in counter order; None if there is none.
        rejected: The others, in counter order.
    """

    schema: TableSchema
    batch: pa.RecordBatch | None
    rejected: list[RejectedRow] = field(default_factory=list)


def convert(found: FoundRows) -> Iterator[TableRows]:
    """Yield the rows found, those of one table slot together."""
    for slot, picks in _by_slot(found.rows[: found.used, w.OUT_SLOT]):
        yield _convert_shape(found, picks, found.shapes[slot])


def _by_slot(slots: Ints) -> Iterator[tuple[int, Ints]]:
    """Yield each slot and the indexes of its rows."""
    if (slots == slots[0]).all():
        yield int(slots[0]), np.arange(len(slots))
        return
    order = np.argsort(slots, kind="stable")
    edges = np.flatnonzero(np.diff(slots[order])) + 1
    for picks in np.split(order, edges):
        yield int(slots[picks[0]]), picks


def _convert_shape(found: FoundRows, picks: Ints, shape: Shape) -> TableRows:
    schema, columns, count = shape.table.schema, shape.table.columns, len(picks)
    begins = np.empty((len(columns), count), np.int64)
    kinds, seqs = np.empty(count, np.uint8), np.empty(count, np.uint64)
    times = np.empty(count, np.int64)
    lay_out(found.cells, found.rows, picks, begins, kinds, seqs, times)
    converted = [
        column.convert(locate(found.data, begins[index], column.prefix, column.width))
        for index, column in enumerate(columns[: len(schema.columns)])
    ]
    arrays = [column.array for column in converted]
    marks = ((pa.uint8(), kinds), (pa.uint64(), seqs), (_TIME, times))
    arrays += [from_numbers(arrow, values) for arrow, values in marks]
    batch = pa.RecordBatch.from_arrays(arrays, schema=shape.arrow)
    bad = _bad_rows(converted)
    if bad is None:
        return TableRows(schema, batch)
    rejected = [
        _rejected(schema, converted, batch.slice(row, 1), row, found.rows[picks[row]], found)
        for row in np.flatnonzero(bad).tolist()
    ]
    good = batch.filter(from_mask(~bad)) if not bad.all() else None
    return TableRows(schema, good, rejected)


def _bad_rows(converted: Sequence[Converted]) -> Mask | None:
    """Return which rows have a bad cell, None if no row has."""
    masks = [column.bad for column in converted if column.bad is not None and column.bad.any()]
    return np.logical_or.reduce(masks) if masks else None


def _rejected(
    schema: TableSchema,
    converted: Sequence[Converted],
    row: pa.RecordBatch,
    index: int,
    out: Ints,
    found: FoundRows,
) -> RejectedRow:
    """Return a row with bad cells as what is kept of it; `row` is it as a batch of one."""
    names = schema.names
    faulty = [
        i for i, column in enumerate(converted) if column.bad is not None and column.bad[index]
    ]
    fields = [names[i] for i in faulty]
    image = row.select(list(names))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, image.schema) as writer:
        writer.write_batch(image)
    return RejectedRow(
        table=schema.table,
        seq=int(out[w.OUT_SEQ]),
        op=RowKind(int(out[w.OUT_KIND])),
        ts_us=int(out[w.OUT_US]),
        position=f"{found.file}:{out[w.OUT_AT]}",
        key="" if set(schema.key) & set(fields) else _key_json(schema, image),
        field=fields[0],
        error="DirtyRowError",
        message=f"column {', '.join(fields)}: {converted[faulty[0]].reason}",
        raw=found.data[out[w.OUT_BEGIN] : out[w.OUT_END]].tobytes(),
        image=sink.getvalue().to_pybytes(),
    )


def _key_json(schema: TableSchema, image: pa.RecordBatch) -> str:
    """Return the key's values as a JSON object, empty where there is no key."""
    key = {name: image.column(name)[0].as_py() for name in schema.key}
    return key_text(key) if key else ""
