"""The change log: what was captured, readable per table for as long as it is kept.

In: segments, in order. Out: the changes of one table in log order, from segment files or, where
those were dropped after compaction, from the Parquet files of their window.
"""

from __future__ import annotations

from collections.abc import Iterator

from resources.errors import ContinuityBroken
from resources.model.change import ChangeBatch, TableNotice, segment_of
from resources.model.table import TableId
from resources.stores.compaction import Compaction
from resources.stores.database import StateDatabase
from resources.stores.leases import Lease
from resources.stores.log_files import LogFiles
from resources.stores.log_reader import Columns, LogReader, all_columns
from resources.stores.parquet_parts import ParquetParts
from resources.stores.retention import Retention
from resources.stores.segment_rows import table_key
from resources.stores.segment_writer import BLOCK_ROWS, MEMORY_BYTES, SegmentWriter
from resources.stores.segments import Segment, SegmentStore

__all__ = ["ChangeLog", "SegmentWriter"]


class ChangeLog:
    """The change log of one pipeline.

    Args:
        db: The state database.
        pipeline: The pipeline's name.
        location: Folder of its files: a path or an fsspec URL.
    """

    def __init__(self, db: StateDatabase, pipeline: str, location: str) -> None:
        self.segments = SegmentStore(db, pipeline)
        self._files = LogFiles(location)
        parts = ParquetParts(db, pipeline, self._files)
        self._reader = LogReader(self.segments, parts, self._files)
        self._compaction = Compaction(db, self.segments, parts, self._reader, self._files)
        self._retention = Retention(db, self.segments, parts, self._files)

    def begin_segment(
        self,
        lease: Lease,
        run_id: str,
        capture_filter: str,
        *,
        block_rows: int = BLOCK_ROWS,
        memory_bytes: int = MEMORY_BYTES,
    ) -> SegmentWriter:
        """Begin the segment that continues the log.

        Args:
            lease: The capture lease.
            run_id: The run that captures.
            capture_filter: What it captures, in the engine's words.
            block_rows: Rows of one table that make a block.
            memory_bytes: Arrow bytes held over all tables before blocks are written.

        Raises:
            ContinuityBroken: The log has no origin.
        """
        return SegmentWriter(
            self.segments,
            self._files,
            lease,
            run_id,
            capture_filter,
            block_rows=block_rows,
            memory_bytes=memory_bytes,
        )

    def read(
        self,
        table: TableId,
        after_seq: int,
        upto_seq: int | None = None,
        columns: Columns = all_columns,
    ) -> Iterator[ChangeBatch]:
        """Yield a table's changes in log order, block by block.

        Args:
            table: The source table.
            after_seq: Only rows with a greater `_cdc_seq`.
            upto_seq: Only rows up to this one, inclusive; None for all there are now.
            columns: Says which columns of a schema version to read, besides those of changes.

        Raises:
            ContinuityBroken: Rows of that range were removed by retention, or a file is gone.
            CorruptEvent: A file is damaged.
        """
        wanted = [
            segment
            for segment in self._segments_of(table, after_seq, upto_seq)
            if segment.tables[table_key(table)].total
        ]
        yield from self._reader.read(wanted, table, after_seq, upto_seq, columns)

    def notices(
        self, table: TableId, after_seq: int, upto_seq: int | None = None
    ) -> list[TableNotice]:
        """Return a table's notices in log order; arguments and errors as `read`."""
        return [
            notice
            for segment in self._segments_of(table, after_seq, upto_seq)
            for notice in segment.tables[table_key(table)].noticed
            if notice.seq > after_seq and (upto_seq is None or notice.seq <= upto_seq)
        ]

    def touched(self, after_seq: int) -> dict[TableId, int]:
        """Return rows per table in segments that reach past `after_seq`, without reading files.

        Whole segments count, so it is exact where `after_seq` is a segment's last one. Tables
        with nothing but notices are there with 0.
        """
        return self.segments.count_rows(_segment_before(after_seq))

    def compact(self, window: str) -> list[str]:
        """Write a closed window's rows as one Parquet file per table and schema version.

        Repeating it changes nothing. Rows that reach the window afterwards make a further part.

        Args:
            window: A window of commit time as segments carry it.

        Returns:
            Every Parquet file of the window, relative to the location.

        Raises:
            LeaseHeld: Another process compacts this log now.
        """
        return self._compaction.compact(window)

    def purge(
        self, before_window: str, *, keep_parquet: bool = True, upto: int | None = None
    ) -> list[str]:
        """Delete files of old windows.

        Args:
            before_window: Only windows that sort before this one.
            keep_parquet: Delete segment files of compacted windows alone: every row stays
                readable. False is retention: rows, Parquet files and what was never compacted go
                for good, from the log's start up to the first segment of a later window.
            upto: With `keep_parquet` false, no segment past this one either; None for no bound.

        Returns:
            The deleted files, relative to the location.
        """
        if keep_parquet:
            return self._retention.drop_compacted(before_window)
        return self._retention.forget(before_window, upto)

    def sweep_orphans(self, older_than_seconds: float) -> list[str]:
        """Delete files that no row refers to, left by killed or defeated writers.

        Args:
            older_than_seconds: Only files older than this, so that a segment being written is
                left alone; longer than any segment takes.

        Returns:
            The deleted files.
        """
        return self._retention.sweep(older_than_seconds)

    def check(self, full: bool = False) -> list[str]:
        """Return every hole, overlap, and missing or damaged file; empty means the log is whole.

        Args:
            full: Read every byte and compare checksums, instead of existence and size alone.
        """
        return self._retention.check(full)

    def _segments_of(self, table: TableId, after_seq: int, upto_seq: int | None) -> list[Segment]:
        before = _segment_before(after_seq)
        upto = None if upto_seq is None else segment_of(upto_seq)
        found = self.segments.list_of_table(table, before, upto)
        # asked afterwards: what retention removed before that query is then known
        floor = self.segments.table_floor(table)
        if before < floor:
            raise ContinuityBroken(
                f"changes of {table} up to segment {floor} were removed by retention, the reader "
                f"is at segment {before}",
                where=self.segments.pipeline,
                remedy=f"snapshot {table} again; keep the log longer than targets may lag",
            )
        return found


def _segment_before(after_seq: int) -> int:
    """Return the last segment that lies wholly at or before a `_cdc_seq`, 0 if none does."""
    return max(0, segment_of(after_seq + 1) - 1)
