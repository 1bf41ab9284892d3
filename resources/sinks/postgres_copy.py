"""Arrow tables as PostgreSQL's binary COPY format.

In: rows of a target's schema. Out: buffers for COPY … FROM STDIN (FORMAT BINARY), and the rows
that cannot be written. docs/decisions/0008-postgres-copy.md says why we write the format ourselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from resources.errors import DirtyRowError
from resources.sinks.contract import RejectedWrite
from resources.sinks.postgres_cells import Cells, cells_of, jsonb_cells
from resources.sinks.postgres_kernels import put_cells

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
SLICE_BYTES = 2 << 20
"""Arrow bytes that are encoded together: they and their copy stay in the processor's cache, and the
server does not wait long for the first ones."""
SLICE_ROWS = 16_384


def encode(
    rows: pa.Table, where: str, jsonb: frozenset[str] = frozenset()
) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield a table's rows without header and trailer, some thousand rows at a time.

    Args:
        rows: Columns of types `postgres_types` takes.
        where: The table concerned, for errors.
        jsonb: The text columns that go into `jsonb`, which has a version before its text.

    Raises:
        DirtyRowError: A value has no form in PostgreSQL; names its column.
    """
    for batch in _slices(rows):
        yield _encode(batch, where, jsonb)


def find_unwritable(rows: pa.Table) -> list[RejectedWrite]:
    """Return every row with a value that PostgreSQL has no form for, in order."""
    found: dict[int, RejectedWrite] = {}
    start = 0
    for batch in _slices(rows):
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            cells = cells_of(column)
            for row in () if cells.bad is None else np.flatnonzero(cells.bad):
                index = start + int(row)
                found.setdefault(index, RejectedWrite(index, name, cells.reason))
        start += batch.num_rows
    return [found[index] for index in sorted(found)]


def _slices(rows: pa.Table) -> Iterator[pa.RecordBatch]:
    for batch in rows.to_batches():
        size = SLICE_BYTES * batch.num_rows // max(batch.nbytes, 1)
        step = min(max(size, 1), SLICE_ROWS)
        for start in range(0, batch.num_rows, step):
            yield batch.slice(start, step)


def _encode(batch: pa.RecordBatch, where: str, jsonb: frozenset[str]) -> npt.NDArray[np.uint8]:
    columns: list[Cells] = []
    sizes: npt.NDArray[Any] = np.full(batch.num_rows, 2 + 4 * batch.num_columns, np.int64)
    for name, values in zip(batch.schema.names, batch.columns, strict=True):
        cells = jsonb_cells(values) if name in jsonb else cells_of(values)
        if cells.bad is not None:
            raise DirtyRowError(cells.reason, field=name, where=where)
        columns.append(cells)
        sizes += np.maximum(cells.lengths, 0)
    ends = np.cumsum(sizes)
    at = ends - sizes
    out = np.empty(int(ends[-1]), np.uint8)
    out[at] = len(columns) >> 8
    out[at + 1] = len(columns) & 255
    at += 2
    for cells in columns:
        data = cells.data.view()
        data.flags.writeable = False  # one kind of argument, so one compiled kernel
        put_cells(data, cells.starts, cells.lengths, at, out)
    return out
