"""Reads one table's rows out of given segments, from wherever they are now.

In: segments in order. Out: their rows of one table in log order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby

import pyarrow as pa

from resources.errors import ContinuityBroken
from resources.model.arrays import to_numbers
from resources.model.change import SEQ, ChangeBatch, change_schema, first_seq, last_seq
from resources.model.table import TableId
from resources.stores.log_files import LogFiles
from resources.stores.parquet_parts import ParquetParts
from resources.stores.segment_file import Block, SegmentFileReader
from resources.stores.segments import Segment, SegmentStore

_INDEXES = 64


class LogReader:
    """Reads rows from segment files, or from Parquet where those were dropped.

    Args:
        segments: The segment rows.
        parts: The compactions.
        files: The change log's files.
    """

    def __init__(self, segments: SegmentStore, parts: ParquetParts, files: LogFiles) -> None:
        self._segments = segments
        self._parts = parts
        self._files = files
        # a run reads many tables of the same few files, and files never change
        self._blocks = lru_cache(maxsize=_INDEXES)(self._load_blocks)

    def read(
        self,
        wanted: Sequence[Segment],
        table: TableId,
        after_seq: int = 0,
        upto_seq: int | None = None,
    ) -> Iterator[ChangeBatch]:
        """Yield the rows of one table with `after_seq < _cdc_seq <= upto_seq`.

        Args:
            wanted: Segments in order.
            table: The source table.
            after_seq: Exclusive lower bound.
            upto_seq: Inclusive upper bound, None for none.

        Raises:
            ContinuityBroken: A file is gone.
            CorruptEvent: A file is damaged.
        """
        # a run of dropped segments lies in one part and is read with one pass over its file
        for _, group in groupby(wanted, key=_place):
            run = list(group)
            low = max(after_seq + 1, first_seq(run[0].number))
            high = last_seq(run[-1].number)
            if upto_seq is not None:
                high = min(high, upto_seq)
            for fingerprint, rows in self._read_run(run, table, low, high):
                schema = self._segments.load_schema(fingerprint, table)
                yield ChangeBatch(
                    schema, pa.RecordBatch.from_arrays(rows.columns, schema=change_schema(schema))
                )

    def _read_run(
        self, run: list[Segment], table: TableId, low: int, high: int
    ) -> Iterator[tuple[str, pa.RecordBatch]]:
        segment = run[0]
        if not segment.purged:
            try:
                for block, rows in self._read_file(segment, table, low, high):
                    yield block.schema, rows
                    low = block.last_seq + 1
            except FileNotFoundError:
                segment = self._dropped_meanwhile(segment)
            else:
                return
        yield from self._parts.read(segment.window, segment.part, table, low, high)

    def _read_file(
        self, segment: Segment, table: TableId, low: int, high: int
    ) -> Iterator[tuple[Block, pa.RecordBatch]]:
        place = (segment.file, segment.size_bytes, segment.checksum)
        wanted = [
            block
            for block in self._blocks(*place).get(table, [])
            if block.last_seq >= low and block.first_seq <= high
        ]
        for block, rows in SegmentFileReader(self._files, *place).read_blocks(wanted):
            first, end = to_numbers(rows.column(SEQ)).searchsorted([low, high + 1])
            if end > first:  # a block's rows may lie on both sides of the range
                yield block, rows.slice(first, end - first)

    def _load_blocks(self, file: str, size_bytes: int, checksum: str) -> dict[TableId, list[Block]]:
        blocks: dict[TableId, list[Block]] = {}
        for block in SegmentFileReader(self._files, file, size_bytes, checksum).index().blocks:
            blocks.setdefault(block.table, []).append(block)
        return blocks

    def _dropped_meanwhile(self, segment: Segment) -> Segment:
        now = self._segments.list_segments(segment.number - 1, segment.number)
        if now and now[0].purged:
            return now[0]
        raise ContinuityBroken(
            f"the file of {segment} is gone",
            where=self._files.path(segment.file),
            remedy="put the file back from a copy, or snapshot again: "
            + ", ".join(sorted(segment.tables)),
        )


def _place(segment: Segment) -> tuple[int, str, int]:
    if segment.purged:
        return 0, segment.window, segment.part
    return segment.number, "", 0
