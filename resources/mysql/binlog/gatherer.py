"""Rows converted and put into the slices of the log they belong to.

In: what the walk found, in log order. Out: whole `LogSlice` values. It may run in another thread
than the walk: rows are converted while those after them are found.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from resources.model.arrays import from_numbers, to_numbers
from resources.model.change import SEQ, ChangeBatch, LogSlice, RejectedRow
from resources.model.table import TableId, TableSchema
from resources.mysql.binlog.batches import FoundRows, OpenBatch, TablePart, convert, parts
from resources.mysql.kernels.cells import Ints

_WORTH_A_BATCH = 4096
_WORTH_BYTES = 2 << 20
"""So many rows, or so large ones, are not copied together with more."""
_GROWTH = 4
_MOST_ROWS = 1 << 15
"""Rows that a batch has room for: some more than came first, or than the one before it had."""


@dataclass(frozen=True)
class TakenBack:
    """The rows from a counter value on were lost with a connection and come again.

    Args:
        seq: The first one's.
    """

    seq: int


Piece: TypeAlias = FoundRows | TakenBack | LogSlice
"""What the walk gives: rows found, or rows taken back, or the end of a slice: the slice without
the rows that came before it."""


class Gatherer:
    """Gathers one slice after the other."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._tables: dict[TableId, list[_Version]] = {}
        self._rejected: list[RejectedRow] = []

    def take(self, piece: Piece) -> LogSlice | None:
        """Take the next piece; returns the slice that it ends, if any."""
        if isinstance(piece, FoundRows):
            for part in parts(piece):
                self._rejected += self._version(part.shape.table.schema).add(part)
            piece.release()
        elif isinstance(piece, TakenBack):
            self._take_back(piece.seq)
        else:
            return self._whole(piece)
        return None

    def _version(self, schema: TableSchema) -> _Version:
        versions = self._tables.setdefault(schema.table, [])
        if not versions or versions[-1].schema is not schema:
            versions.append(_Version(schema))
        return versions[-1]

    def _take_back(self, seq: int) -> None:
        self._rejected = [row for row in self._rejected if row.seq < seq]
        for table, versions in list(self._tables.items()):
            for version in versions:
                version.cut(seq)
            self._tables[table] = [v for v in versions if v.batches or v.open]

    def _whole(self, end: LogSlice) -> LogSlice:
        batches = [
            ChangeBatch(version.schema, batch)
            for versions in self._tables.values()
            for version in versions
            for batch in version.merged()
        ]
        rejected = sorted(self._rejected, key=lambda row: row.seq)
        self._clear()
        return replace(end, batches=batches, rejected=rejected)


@dataclass
class _Version:
    """Batches of one table in one schema, the last one often still open."""

    schema: TableSchema
    batches: list[pa.RecordBatch] = field(default_factory=list)
    open: OpenBatch | None = None

    def add(self, part: TablePart) -> list[RejectedRow]:
        """Add rows; returns those with bad cells instead of adding them."""
        if not part.shape.steps.whole:
            return self._convert(part)
        if self.open is None or not self.open.takes(part):
            self.open = self._next(part)
        if not self.open.add(part):
            return self._convert(part)
        if self.open.size >= _WORTH_BYTES:
            self.close()
        return []

    def _next(self, part: TablePart) -> OpenBatch:
        """Return another batch, with room for more than the rows to come or the batch before."""
        count = len(part)
        wanted = _GROWTH * max(count, len(self.open or ()))
        self.close()
        return OpenBatch(part.shape, max(count, min(wanted, _MOST_ROWS)), part.pool)

    def _convert(self, part: TablePart) -> list[RejectedRow]:
        self.close()
        rows = convert(part)
        if rows.batch is not None:
            self.batches.append(rows.batch)
        return rows.rejected

    def close(self) -> None:
        """Let the next rows begin another batch."""
        if self.open is not None and len(self.open):
            self.batches.append(self.open.batch())
        self.open = None

    def cut(self, seq: int) -> None:
        """Drop the rows from a counter value on."""
        if self.open is not None:
            self.open.cut(seq)
        self.batches = [
            batch.slice(0, size)
            for batch in self.batches
            if (size := int(np.searchsorted(_seqs(batch), seq)))
        ]

    def merged(self) -> list[pa.RecordBatch]:
        """Return the rows in counter order, in batches large enough to be worth a call."""
        self.close()
        if len(self.batches) == 1:
            return self.batches
        edges = [seq for batch in self.batches for seq in _seqs(batch)[[0, -1]].tolist()]
        if edges != sorted(edges):  # two maps of the table took turns
            batch = pa.concat_batches(self.batches)
            return [batch.take(from_numbers(pa.int64(), np.argsort(_seqs(batch))))]
        out: list[pa.RecordBatch] = []
        small: list[pa.RecordBatch] = []
        rows = size = 0
        for batch in self.batches:
            small.append(batch)
            # Totals are kept: a slice of one-row transactions may be thousands of batches.
            rows, size = rows + batch.num_rows, size + batch.get_total_buffer_size()
            if rows >= _WORTH_A_BATCH or size >= _WORTH_BYTES:
                out.append(pa.concat_batches(small) if len(small) > 1 else batch)
                small, rows, size = [], 0, 0
        return [*out, pa.concat_batches(small)] if small else out


def _seqs(batch: pa.RecordBatch) -> Ints:
    seqs: Ints = to_numbers(batch.column(SEQ))
    return seqs
