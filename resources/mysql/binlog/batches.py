"""Rows the walk found, converted into Arrow: a batch per table, bad rows set aside.

In: bytes, where rows and their cells lie in them, the shapes of their tables. Out: batches of
`change_schema` and `RejectedRow`s; nothing of them refers to the bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from resources.model.arrays import from_mask, from_numbers
from resources.model.change import OP, SEQ, TS, RejectedRow, RowKind
from resources.model.keys import key_text
from resources.model.table import TableSchema
from resources.mysql.binlog.array_pool import ArrayPool
from resources.mysql.binlog.known_tables import Shape
from resources.mysql.binlog.row_images import Images, RowColumns, convert_images
from resources.mysql.kernels import walk_state as w
from resources.mysql.kernels.cells import Bytes, Converted, Ints, Mask
from resources.mysql.kernels.walk_rows import pick

_TIME = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class FoundRows:
    """What the walk found and nobody converted yet; its arrays are nobody else's.

    Args:
        data: The bytes all cells lie in.
        rows: int64, where images begin, and their kinds; see `walk_state`.
        runs: int64 by run and `RUN_` column of `walk_state`, more of them than are used.
        used: Number of runs.
        shapes: Shape by table slot.
        file: The log file, for rejected rows.
        pool: Where the arrays go once the rows are converted.
    """

    data: Bytes
    rows: Ints
    runs: Ints
    used: int
    shapes: Sequence[Shape]
    file: str
    pool: ArrayPool

    def release(self) -> None:
        """Let the arrays be used again."""
        for array in (self.data, self.rows, self.runs):
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


@dataclass(frozen=True)
class TablePart:
    """Rows found of one shape of a table.

    Args:
        shape: The shape.
        data: The bytes they lie in.
        rows: See `FoundRows`.
        runs: int64, the runs of this shape alone, in counter order.
        file: The log file.
        pool: Where memory for columns comes from.
    """

    shape: Shape
    data: Bytes
    rows: Ints
    runs: Ints
    file: str
    pool: ArrayPool

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.runs[:, w.RUN_ROWS].sum())


def parts(found: FoundRows) -> Iterator[TablePart]:
    """Yield the rows found, those of one table slot together."""
    runs = found.runs[: found.used]
    slots = runs[:, w.RUN_SLOT]
    groups = [runs]
    if (slots != slots[0]).any():
        order = np.argsort(slots, kind="stable")
        groups = np.split(runs[order], np.flatnonzero(np.diff(slots[order])) + 1)
    for group in groups:
        shape = found.shapes[group[0, w.RUN_SLOT]]
        yield TablePart(shape, found.data, found.rows, group, found.file, found.pool)


class OpenBatch:
    """A batch that rows of one shape are added to, as long as they fit in.

    Args:
        shape: The shape.
        capacity: The most rows.
        pool: Where memory comes from.
    """

    def __init__(self, shape: Shape, capacity: int, pool: ArrayPool) -> None:
        self.shape = shape
        self._columns = RowColumns(shape.steps, capacity, pool)
        marks = pool.lend((8 + 8 + 1) * capacity)
        self._seqs = marks[: 8 * capacity].view(np.uint64)
        self._times = marks[8 * capacity : 16 * capacity].view(np.int64)
        self._kinds = marks[16 * capacity :]

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._columns.rows

    @property
    def size(self) -> int:
        """Bytes of strings in it."""
        return self._columns.size

    def takes(self, part: TablePart) -> bool:
        """Return whether rows are of this shape and fit in."""
        return part.shape is self.shape and self._columns.has_room(len(part))

    def add(self, part: TablePart) -> bool:
        """Add rows, unless one of them is bad; returns whether it did."""
        count, rows = len(part), self._columns.rows
        begins, here = np.empty(count, np.int64), slice(rows, rows + count)
        kinds, seqs, times = self._kinds[here], self._seqs[here], self._times[here]
        pick(part.rows, part.runs, begins, kinds, seqs, times)
        return self._columns.add(Images(part.data, begins)) is None

    def cut(self, seq: int) -> None:
        """Drop the rows from a counter value on."""
        rows = self._columns.rows
        self._columns.cut(int(np.searchsorted(self._seqs[:rows], seq)))

    def batch(self) -> pa.RecordBatch:
        """Return the rows so far; none can be added then."""
        rows, schema = self._columns.rows, self.shape.table.schema
        cells = enumerate(self.shape.table.columns[: len(schema.columns)])
        arrays = [self._columns.array(index, cell.convert) for index, cell in cells]
        arrays += _marks(self._kinds[:rows], self._seqs[:rows], self._times[:rows])
        return pa.RecordBatch.from_arrays(arrays, schema=self.shape.arrow)


def convert(part: TablePart) -> TableRows:
    """Return rows as a batch of their own, bad ones set aside."""
    shape, runs, count = part.shape, part.runs, len(part)
    schema = shape.table.schema
    begins, times = np.empty(count, np.int64), np.empty(count, np.int64)
    kinds, seqs = np.empty(count, np.uint8), np.empty(count, np.uint64)
    pick(part.rows, runs, begins, kinds, seqs, times)
    converters = [column.convert for column in shape.table.columns[: len(schema.columns)]]
    images = Images(part.data, begins)
    converted, ends = convert_images(images, shape.steps, converters, part.pool)
    arrays = [column.array for column in converted] + _marks(kinds, seqs, times)
    batch = pa.RecordBatch.from_arrays(arrays, schema=shape.arrow)
    bad = _bad_rows(converted)
    if bad is None:
        return TableRows(schema, batch)
    rows, offsets = np.flatnonzero(bad), np.repeat(runs[:, w.RUN_AT], runs[:, w.RUN_ROWS])
    rejected = [
        _rejected(
            schema,
            converted,
            batch.slice(row, 1),
            row,
            f"{part.file}:{offset}",
            part.data[begins[row] : ends[row]].tobytes(),
        )
        for row, offset in zip(rows.tolist(), offsets[rows].tolist(), strict=True)
    ]
    good = batch.filter(from_mask(~bad)) if not bad.all() else None
    return TableRows(schema, good, rejected)


def _marks(kinds: Bytes, seqs: npt.NDArray[np.uint64], times: Ints) -> list[pa.Array]:
    """Return the columns behind those of the table."""
    marks = ((pa.uint8(), kinds), (pa.uint64(), seqs), (_TIME, times))
    return [from_numbers(arrow, values) for arrow, values in marks]


def _bad_rows(converted: Sequence[Converted]) -> Mask | None:
    """Return which rows have a bad cell, None if no row has."""
    masks = [column.bad for column in converted if column.bad is not None and column.bad.any()]
    return np.logical_or.reduce(masks) if masks else None


def _rejected(
    schema: TableSchema,
    converted: Sequence[Converted],
    row: pa.RecordBatch,
    index: int,
    position: str,
    raw: bytes,
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
        schema=schema,
        seq=row.column(SEQ)[0].as_py(),
        op=RowKind(row.column(OP)[0].as_py()),
        ts_us=row.column(TS)[0].value,
        position=position,
        key="" if set(schema.key) & set(fields) else _key_json(schema, image),
        field=fields[0],
        error="DirtyRowError",
        message=f"column {', '.join(fields)}: {converted[faulty[0]].reason}",
        raw=raw,
        image=sink.getvalue().to_pybytes(),
    )


def _key_json(schema: TableSchema, image: pa.RecordBatch) -> str:
    """Return the key's values as a JSON object, empty where there is no key."""
    key = {name: image.column(name)[0].as_py() for name in schema.key}
    return key_text(key) if key else ""
