"""Converted rows gathered until a slice of the log is full.

In: batches, rejected rows, notices; counts the walk keeps. Out: `LogSlice` values. What a
transaction added since its last mark can be taken back, for when its connection is lost halfway.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from resources.model.change import SEQ, ChangeBatch, LogSlice, RejectedRow, TableNotice
from resources.model.position import BinlogPosition
from resources.model.table import TableId, TableSchema
from resources.mysql.binlog.batches import TableRows
from resources.mysql.kernels import walk_state as w
from resources.mysql.kernels.cells import Ints

_WORTH_A_BATCH = 4096
_COUNTS = (w.ROWS, w.IMAGE_BYTES, w.BYTES_READ, w.TRANSACTIONS, w.NOTICES, w.FIRST_US, w.LAST_US)
_MARKED = {
    w.SEQ: w.MARK_SEQ,
    w.ROWS: w.MARK_ROWS,
    w.IMAGE_BYTES: w.MARK_IMAGE_BYTES,
    w.BYTES_READ: w.MARK_BYTES_READ,
    w.NOTICES: w.MARK_NOTICES,
    w.FIRST_US: w.MARK_FIRST_US,
    w.LAST_US: w.MARK_LAST_US,
}


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
            return [batch.take(pa.array(np.argsort(_seqs(batch))))]
        out: list[pa.RecordBatch] = []
        small: list[pa.RecordBatch] = []
        for batch in self.batches:
            small.append(batch)
            if sum(b.num_rows for b in small) >= _WORTH_A_BATCH:
                out.append(pa.concat_batches(small) if len(small) > 1 else batch)
                small = []
        return [*out, pa.concat_batches(small)] if small else out


def _seqs(batch: pa.RecordBatch) -> Ints:
    seqs: Ints = batch.column(SEQ).to_numpy()
    return seqs


class SliceBuilder:
    """Gathers one slice after the other; the row counter runs on through all of them.

    Attributes:
        numbers: The walk's state, see `walk_state`; the counts of the slice are in it.
        state: The same as plain integers.
    """

    def __init__(self) -> None:
        self.numbers: Ints = np.zeros(w.SIZE, np.int64)
        self.state = self.numbers.data
        self._clear()

    def _clear(self) -> None:
        for count in _COUNTS:
            self.state[count] = 0
        self._tables: dict[TableId, list[_Version]] = {}
        self._rejected: list[RejectedRow] = []
        self._notices: list[TableNotice] = []
        self.mark()

    def add(self, rows: TableRows) -> None:
        """Take converted rows; the walk has counted them."""
        self._rejected += rows.rejected
        if rows.batch is None:
            return
        versions = self._tables.setdefault(rows.schema.table, [])
        if not versions or versions[-1].schema is not rows.schema:
            versions.append(_Version(rows.schema))
        versions[-1].batches.append(rows.batch)

    def notice(self, notice: TableNotice) -> None:
        """Take a notice."""
        self._notices.append(notice)
        self.state[w.NOTICES] += 1

    def noticed(self, table: TableId, kind: str) -> bool:
        """Return whether the slice has a notice of this kind of a table."""
        return any(n.table == table and n.kind == kind for n in self._notices)

    def mark(self) -> None:
        """Remember this moment: a transaction begins, or a part of one was just taken."""
        state = self.state
        for count, mark in _MARKED.items():
            state[mark] = state[count]

    def since_mark(self) -> int:
        """Return how many rows came since the mark."""
        return self.state[w.SEQ] - self.state[w.MARK_SEQ]

    def back_to_mark(self) -> None:
        """Forget everything that came since the mark; all rows found are converted."""
        state = self.state
        for count, mark in _MARKED.items():
            state[count] = state[mark]
        seq = state[w.SEQ]
        self._rejected = [row for row in self._rejected if row.seq < seq]
        del self._notices[state[w.NOTICES] :]
        for table, versions in list(self._tables.items()):
            for version in versions:
                version.cut(seq)
            self._tables[table] = [v for v in versions if v.batches]

    def take(self, end: BinlogPosition, complete: bool) -> LogSlice:
        """Return the slice and begin the next one; all rows found are converted.

        Args:
            end: The last transaction boundary.
            complete: Whether nothing of a transaction beyond it is in the slice.
        """
        state = self.state
        taken = LogSlice(
            batches=[
                ChangeBatch(version.schema, batch)
                for versions in self._tables.values()
                for version in versions
                for batch in version.merged()
            ],
            end=end,
            rows=state[w.ROWS],
            first_ts_us=state[w.FIRST_US],
            last_ts_us=state[w.LAST_US],
            complete=complete,
            transactions=state[w.TRANSACTIONS],
            rejected=sorted(self._rejected, key=lambda row: row.seq),
            notices=self._notices,
            bytes_read=state[w.BYTES_READ],
        )
        self._clear()
        return taken
