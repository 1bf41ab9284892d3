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
from resources.mysql.binlog.batches import FoundRows, TableRows, convert
from resources.mysql.kernels.cells import Ints

_WORTH_A_BATCH = 4096
_WORTH_BYTES = 1 << 20
"""So many rows, or so large ones, are not copied together with more."""


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
            for rows in convert(piece):
                self._add(rows)
            piece.release()
        elif isinstance(piece, TakenBack):
            self._take_back(piece.seq)
        else:
            return self._whole(piece)
        return None

    def _add(self, rows: TableRows) -> None:
        self._rejected += rows.rejected
        if rows.batch is None:
            return
        versions = self._tables.setdefault(rows.schema.table, [])
        if not versions or versions[-1].schema is not rows.schema:
            versions.append(_Version(rows.schema))
        versions[-1].batches.append(rows.batch)

    def _take_back(self, seq: int) -> None:
        self._rejected = [row for row in self._rejected if row.seq < seq]
        for table, versions in list(self._tables.items()):
            for version in versions:
                version.cut(seq)
            self._tables[table] = [v for v in versions if v.batches]

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
    """Batches of one table in one schema."""

    schema: TableSchema
    batches: list[pa.RecordBatch] = field(default_factory=list)

    def cut(self, seq: int) -> None:
        """Drop the rows from a counter value on."""
        self.batches = [
            batch.slice(0, size)
            for batch in self.batches
            if (size := int(np.searchsorted(_seqs(batch), seq)))
        ]

    def merged(self) -> list[pa.RecordBatch]:
        """Return the rows in counter order, in batches large enough to be worth a call."""
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
            rows, size = rows + batch.num_rows, size + batch.nbytes
            if rows >= _WORTH_A_BATCH or size >= _WORTH_BYTES:
                out.append(pa.concat_batches(small) if len(small) > 1 else batch)
                small, rows, size = [], 0, 0
        return [*out, pa.concat_batches(small)] if small else out


def _seqs(batch: pa.RecordBatch) -> Ints:
    seqs: Ints = to_numbers(batch.column(SEQ))
    return seqs
