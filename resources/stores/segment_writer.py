"""Writes one segment: rows into blocks, blocks into a file, the file into the log.

In: change batches and notices, `_cdc_seq` in segment form. Out: a committed segment or nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa

from resources.errors import ContinuityBroken, TerminalError
from resources.failpoints import failpoint
from resources.model.arrays import to_numbers
from resources.model.change import (
    OP,
    SEQ,
    ChangeBatch,
    ShapeRecord,
    TableNotice,
    change_schema,
    segment_of,
)
from resources.model.position import Position
from resources.model.table import TableId, TableSchema
from resources.stores.dirty_rows import DirtyRow
from resources.stores.leases import Lease
from resources.stores.log_files import LogFiles
from resources.stores.segment_file import SegmentFileWriter
from resources.stores.segment_rows import table_key
from resources.stores.segments import Segment, SegmentStore, TableStats

BLOCK_ROWS = 65_536
MEMORY_BYTES = 8 << 20
SEGMENTS = "segments"


@dataclass
class _TableBuffer:
    """Rows of one table that are not in a block yet, and what the segment has of it."""

    given: TableSchema | None = None  # as it came with the last batch
    schema: TableSchema | None = None  # the first one seen of the same fingerprint
    fingerprint: str = ""
    batches: list[pa.RecordBatch] = field(default_factory=list)
    rows: int = 0
    size_bytes: int = 0
    last_seq: int = -1
    kinds: np.ndarray = field(default_factory=lambda: np.zeros(4, np.int64))
    versions: dict[str, TableSchema] = field(default_factory=dict)
    notices: list[TableNotice] = field(default_factory=list)


class SegmentWriter:
    """One segment that is being written; commit or abandon it.

    Args:
        store: The segment rows.
        files: The change log's files.
        lease: The capture lease.
        run_id: The run that captures.
        capture_filter: What it captures.
        block_rows: Rows of one table that make a block.
        memory_bytes: Rows held over all tables before blocks are written, in Arrow bytes.
    """

    def __init__(
        self,
        store: SegmentStore,
        files: LogFiles,
        lease: Lease,
        run_id: str,
        capture_filter: str,
        *,
        block_rows: int = BLOCK_ROWS,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        number, start = store.next()
        self.number = number
        self.rows = 0
        self._store, self._files, self._lease = store, files, lease
        self._run_id, self._capture_filter, self._start = run_id, capture_filter, start
        self._block_rows, self._memory_bytes = block_rows, memory_bytes
        self._tables: dict[TableId, _TableBuffer] = {}
        self._notices: list[TableNotice] = []
        self._buffered = 0
        self._name = f"{SEGMENTS}/{number:08d}-{lease.token}-{secrets.token_hex(4)}.seg"
        self._output: SegmentFileWriter | None = None
        self._temporary: Path | None = None

    @property
    def bytes(self) -> int:
        """Bytes of the segment so far: those buffered (Arrow) and those written (compressed)."""
        return self._buffered + (self._output.size_bytes if self._output else 0)

    def write(self, batch: ChangeBatch) -> None:
        """Take the next rows.

        Args:
            batch: Rows of one table; `_cdc_seq` is in segment form and grows per table.

        Raises:
            ContinuityBroken: The rows are of another segment or out of order.
        """
        if not batch.rows.num_rows:
            return
        table = batch.schema.table
        buffer = self._tables.setdefault(table, _TableBuffer())
        self._require_order(table, buffer, batch.rows)
        if buffer.given is not batch.schema:
            self._change_schema(buffer, batch.schema)
        buffer.kinds += np.bincount(to_numbers(batch.rows.column(OP)), minlength=4)[:4]
        self.rows += batch.rows.num_rows
        assert buffer.schema is not None
        rows = pa.RecordBatch.from_arrays(batch.rows.columns, schema=change_schema(buffer.schema))
        while rows.num_rows:
            part = rows.slice(0, self._block_rows - buffer.rows)
            rows = rows.slice(part.num_rows)
            self._buffer(buffer, part)

    def note(self, notice: TableNotice) -> None:
        """Take a notice; its `seq` is in segment form.

        Raises:
            ContinuityBroken: It is of another segment.
        """
        if segment_of(notice.seq) != self.number:
            raise self._misplaced(notice.table, notice.seq)
        self._tables.setdefault(notice.table, _TableBuffer()).notices.append(notice)
        self._notices.append(notice)

    def commit(
        self,
        end: Position,
        window: str,
        transactions: int,
        first_ts_us: int,
        last_ts_us: int,
        *,
        dirty: Sequence[DirtyRow] = (),
        shapes: Sequence[ShapeRecord] = (),
    ) -> Segment:
        """Make the segment part of the log: its file first, then its row.

        A segment without rows, notices and dirty rows only moves the log's end.

        Args:
            end: Position of the transaction boundary it ends at.
            window: The window of commit time it lies in.
            transactions: Transactions that ended in it.
            first_ts_us: Smallest commit time, microseconds since the epoch.
            last_ts_us: Greatest commit time.
            dirty: Rows of the segment that could not be decoded; set aside in the transaction
                that commits the segment.
            shapes: What the source wants to be told again at `end`, kept in that transaction.

        Returns:
            The log's last segment.

        Raises:
            FencedOut: The lease was taken over; the file is removed.
            ContinuityBroken: The log was continued by somebody else; the file is removed.
        """
        for row in dirty:  # so that the table is looked at, and its limit judged
            self._tables.setdefault(row.table, _TableBuffer())
        if not self.rows and not self._notices and not dirty:
            return self._store.extend_empty(
                end, self._lease, self._run_id, self._capture_filter, shapes
            )
        segment = replace(
            self._publish(end, window),
            transactions=transactions,
            first_ts_us=first_ts_us,
            last_ts_us=last_ts_us,
        )
        versions = [s for t in sorted(self._tables) for s in self._tables[t].versions.values()]
        try:
            committed = self._store.commit(segment, self._lease, versions, dirty, shapes)
        except TerminalError:  # refused for good; after any other error the row may be there
            self._files.delete([self._name])
            raise
        failpoint("segment.after_commit")
        return committed

    def _publish(self, end: Position, window: str) -> Segment:
        """Put the whole file in its place; returns the segment, without transactions and times."""
        for buffer in self._tables.values():
            self._flush(buffer)
        output = self._open()
        with self._files.translated_errors(self._name):
            checksum = output.finish(self._store.pipeline, self.number, self._notices)
        assert self._temporary is not None
        self._files.publish(output.file, self._temporary, self._name, "segment")
        self._temporary = None
        return Segment(
            pipeline=self._store.pipeline,
            number=self.number,
            start=self._start,
            end=end,
            window=window,
            file=self._name,
            size_bytes=output.size_bytes,
            rows=self.rows,
            transactions=0,
            tables={table_key(t): _stats(t, self._tables[t]) for t in sorted(self._tables)},
            first_ts_us=0,
            last_ts_us=0,
            checksum=checksum,
            capture_filter=self._capture_filter,
            committed_us=0,
            run_id=self._run_id,
            token=self._lease.token,
        )

    def abandon(self) -> None:
        """Drop everything that was written; the log is as before. May be called twice."""
        if self._output is not None:
            self._output.file.close()
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)
        self._output = self._temporary = None
        self._tables.clear()

    def _require_order(self, table: TableId, buffer: _TableBuffer, rows: pa.RecordBatch) -> None:
        seqs = to_numbers(rows.column(SEQ))
        first, last = int(seqs[0]), int(seqs[-1])
        if segment_of(first) != self.number or segment_of(last) != self.number:
            raise self._misplaced(table, first)
        if first <= buffer.last_seq or (len(seqs) > 1 and not (seqs[1:] > seqs[:-1]).all()):
            raise ContinuityBroken(
                f"rows of {table} are not in log order after {max(buffer.last_seq, first)}",
                where=f"segment {self.number} of {self._store.pipeline}",
            )
        buffer.last_seq = last

    def _misplaced(self, table: TableId, seq: int) -> ContinuityBroken:
        return ContinuityBroken(
            f"row {seq} of {table} belongs to segment {segment_of(seq)}",
            where=f"segment {self.number} of {self._store.pipeline}",
        )

    def _change_schema(self, buffer: _TableBuffer, schema: TableSchema) -> None:
        fingerprint = schema.fingerprint()
        if fingerprint != buffer.fingerprint:
            self._flush(buffer)  # so that a table's blocks stay in log order
            buffer.fingerprint = fingerprint
        buffer.given = schema
        buffer.schema = buffer.versions.setdefault(fingerprint, schema)

    def _buffer(self, buffer: _TableBuffer, rows: pa.RecordBatch) -> None:
        buffer.batches.append(rows)
        buffer.rows += rows.num_rows
        buffer.size_bytes += rows.nbytes
        self._buffered += rows.nbytes
        if buffer.rows >= self._block_rows:
            self._flush(buffer)
        if self._buffered > self._memory_bytes:
            self._flush_largest()

    def _flush_largest(self) -> None:
        # the largest make the fewest blocks; half is freed, so that this is not done per batch
        for buffer in sorted(self._tables.values(), key=lambda b: b.size_bytes, reverse=True):
            if self._buffered <= self._memory_bytes // 2:
                return
            self._flush(buffer)

    def _flush(self, buffer: _TableBuffer) -> None:
        if not buffer.batches:
            return
        assert buffer.schema is not None
        rows = pa.concat_batches(buffer.batches)
        seqs = to_numbers(rows.column(SEQ))
        with self._files.translated_errors(self._name):
            self._open().write_block(
                buffer.schema.table, buffer.fingerprint, rows, int(seqs[0]), int(seqs[-1])
            )
        self._buffered -= buffer.size_bytes
        buffer.batches, buffer.rows, buffer.size_bytes = [], 0, 0

    def _open(self) -> SegmentFileWriter:
        if self._output is None:
            file: IO[bytes]
            file, self._temporary = self._files.create_temporary(self._name)
            self._output = SegmentFileWriter(file)
        return self._output


def _stats(table: TableId, buffer: _TableBuffer) -> TableStats:
    insert, before, after, delete = (int(n) for n in buffer.kinds)
    rows = {"insert": insert, "update": after, "delete": delete}
    if before:
        rows["update_before"] = before
    noticed = tuple(buffer.notices)
    return TableStats(rows, tuple(buffer.versions), len(noticed), table, noticed)
