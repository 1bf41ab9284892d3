"""Rows gathered until a slice of the log is full.

In: decoded rows, notices, ends of transactions. Out: `LogSlice` values. What a transaction added
since its last mark can be taken back, for when its connection is lost halfway.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

import pyarrow as pa

from resources.model.change import ChangeBatch, LogSlice, RejectedRow, RowKind, TableNotice
from resources.model.keys import key_text
from resources.model.position import BinlogPosition
from resources.model.table import TableId, TableSchema
from resources.mysql.binlog.arrow_columns import change_batch
from resources.mysql.binlog.rows import Row, Values

HOUR_US = 3_600_000_000


@dataclass
class _TableRows:
    """Rows of one table in one schema."""

    schema: TableSchema
    rows: list[Values] = field(default_factory=list)
    ops: list[int] = field(default_factory=list)
    seqs: list[int] = field(default_factory=list)
    times: list[int] = field(default_factory=list)

    def cut(self, seq: int) -> None:
        """Drop the rows from a counter value on."""
        size = bisect_left(self.seqs, seq)
        for values in (self.rows, self.ops, self.seqs, self.times):
            del values[size:]


@dataclass(frozen=True)
class _Mark:
    """How much there was when a transaction began."""

    seq: int
    rows: int
    image_bytes: int
    bytes_read: int
    rejected: int
    notices: int


class SliceBuilder:
    """Gathers one slice after the other; the row counter runs on through all of them.

    Attributes:
        rows: Rows in the slice so far, rejected ones included.
        image_bytes: Bytes of their images.
        bytes_read: Log bytes the slice stands for.
        seq: Counter value of the next row.
        transactions: Transactions that ended in the slice.
    """

    def __init__(self) -> None:
        self.seq = 0
        self._clear()

    def _clear(self) -> None:
        self.rows = 0
        self.image_bytes = 0
        self.bytes_read = 0
        self.transactions = 0
        self._tables: dict[TableId, list[_TableRows]] = {}
        self._last: _TableRows | None = None
        self._times: list[int] = []
        self._rejected: list[RejectedRow] = []
        self._notices: list[TableNotice] = []
        self.mark()

    @property
    def hour(self) -> int | None:
        """UTC hour of the commit time of the slice's rows, None if it has none."""
        return self._times[0] // HOUR_US if self._times else None

    @property
    def empty(self) -> bool:
        """Whether nothing of a wanted table is in the slice."""
        return not self.rows and not self._notices

    def add(self, schema: TableSchema, row: Row, time_us: int, where: str) -> None:
        """Take a row; a bad one is set aside and keeps its place in the order."""
        self._saw(time_us)
        if row.bad:
            self._rejected.append(_rejected(schema, row, self.seq, time_us, where))
        else:
            table = self._last
            if table is None or table.schema is not schema:
                table = self._last = self._rows_of(schema)
            table.rows.append(row.values)
            table.ops.append(row.kind)
            table.seqs.append(self.seq)
            table.times.append(time_us)
        self.seq += 1
        self.rows += 1
        self.image_bytes += row.size

    def _rows_of(self, schema: TableSchema) -> _TableRows:
        versions = self._tables.setdefault(schema.table, [])
        if not versions or versions[-1].schema is not schema:
            versions.append(_TableRows(schema))
        return versions[-1]

    def notice(self, notice: TableNotice) -> None:
        """Take a notice."""
        self._notices.append(notice)

    def _saw(self, time_us: int) -> None:
        times = self._times
        if not times:
            times += (time_us, time_us)
        elif time_us < times[0]:
            times[0] = time_us
        elif time_us > times[1]:
            times[1] = time_us

    def mark(self) -> None:
        """Remember this moment: a transaction begins, or a part of one was just taken."""
        self._mark = _Mark(
            self.seq,
            self.rows,
            self.image_bytes,
            self.bytes_read,
            len(self._rejected),
            len(self._notices),
        )

    def since_mark(self) -> int:
        """Return how many rows came since the mark."""
        return self.seq - self._mark.seq

    def back_to_mark(self) -> None:
        """Forget everything that came since the mark."""
        mark = self._mark
        self._last = None
        self.seq, self.rows, self.image_bytes = mark.seq, mark.rows, mark.image_bytes
        self.bytes_read = mark.bytes_read
        del self._rejected[mark.rejected :]
        del self._notices[mark.notices :]
        if not self.rows:
            self._times = []
        for table, versions in list(self._tables.items()):
            for version in versions:
                version.cut(mark.seq)
            self._tables[table] = [v for v in versions if v.rows]

    def take(self, end: BinlogPosition, complete: bool) -> LogSlice:
        """Return the slice and begin the next one.

        Args:
            end: The last transaction boundary.
            complete: Whether nothing of a transaction beyond it is in the slice.
        """
        batches = [
            ChangeBatch(t.schema, change_batch(t.schema, t.rows, t.ops, t.seqs, t.times))
            for versions in self._tables.values()
            for t in versions
        ]
        first, last = self._times or (0, 0)
        taken = LogSlice(
            batches=batches,
            end=end,
            rows=self.rows,
            first_ts_us=first,
            last_ts_us=last,
            complete=complete,
            transactions=self.transactions,
            rejected=self._rejected,
            notices=self._notices,
            bytes_read=self.bytes_read,
        )
        self._clear()
        return taken


def _rejected(schema: TableSchema, row: Row, seq: int, time_us: int, where: str) -> RejectedRow:
    names = schema.names
    faulty = [names[index] for index, _ in row.bad]
    batch = change_batch(schema, [row.values], [row.kind], [seq], [time_us])
    image = batch.select(list(names))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, image.schema) as writer:
        writer.write_batch(image)
    return RejectedRow(
        table=schema.table,
        seq=seq,
        op=RowKind(row.kind),
        ts_us=time_us,
        position=where,
        key="" if set(schema.key) & set(faulty) else _key_json(schema, image),
        field=faulty[0],
        error="DirtyRowError",
        message=f"column {', '.join(faulty)}: {row.bad[0][1]}",
        raw=row.raw,
        image=sink.getvalue().to_pybytes(),
    )


def _key_json(schema: TableSchema, image: pa.RecordBatch) -> str:
    """Return the key's values as a JSON object, empty where there is no key."""
    key = {name: image.column(name)[0].as_py() for name in schema.key}
    return key_text(key) if key else ""
