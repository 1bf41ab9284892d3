"""Reads one table's rows out of given segments, from wherever they are now.

In: segments in order. Out: their rows of one table in log order.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import lru_cache, partial
from itertools import groupby
from typing import TypeAlias

import pyarrow as pa

from resources.errors import ContinuityBroken
from resources.model.arrays import to_numbers
from resources.model.change import (
    CHANGE_FIELDS,
    SEQ,
    ChangeBatch,
    change_schema,
    first_seq,
    last_seq,
)
from resources.model.table import TableId, TableSchema
from resources.stores.log_files import LogFiles
from resources.stores.parquet_parts import ParquetParts
from resources.stores.segment_file import Block, Picked, SegmentFileReader
from resources.stores.segments import Segment, SegmentStore

_INDEXES = 64
Columns: TypeAlias = Callable[[TableSchema], Collection[str]]
"""Says which columns of a schema version are to be read."""


def all_columns(schema: TableSchema) -> Collection[str]:
    """Return every column of a schema version."""
    return schema.names


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
        columns: Columns = all_columns,
    ) -> Iterator[ChangeBatch]:
        """Yield the rows of one table with `after_seq < _cdc_seq <= upto_seq`.

        Args:
            wanted: Segments in order.
            table: The source table.
            after_seq: Exclusive lower bound.
            upto_seq: Inclusive upper bound, None for none.
            columns: Which columns to read; others are not decoded at all.

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
            picked = partial(self._picked, table, columns)
            for fingerprint, rows in self._read_run(run, table, low, high, picked):
                schema = self._segments.load_schema(fingerprint, table)
                whole = change_schema(schema)
                fields = [whole.field(place) for place in picked(fingerprint)]
                arrays = [rows.column(field.name) for field in fields]
                found = pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))
                yield ChangeBatch(schema, found)

    def _picked(self, table: TableId, columns: Columns, fingerprint: str) -> list[int]:
        """Return the places of the columns to read of a schema version, those of changes last."""
        schema = self._segments.load_schema(fingerprint, table)
        wanted = set(columns(schema))
        count = len(schema.columns)
        places = [i for i, name in enumerate(schema.names) if name in wanted]
        return [*places, *range(count, count + len(CHANGE_FIELDS))]

    def _names(self, table: TableId, picked: Picked, fingerprint: str) -> list[str]:
        names = change_schema(self._segments.load_schema(fingerprint, table)).names
        return [names[place] for place in picked(fingerprint)]

    def _read_run(
        self, run: list[Segment], table: TableId, low: int, high: int, picked: Picked
    ) -> Iterator[tuple[str, pa.RecordBatch]]:
        segment = run[0]
        if not segment.purged:
            try:
                for block, rows in self._read_file(segment, table, low, high, picked):
                    yield block.schema, rows
                    low = block.last_seq + 1
            except FileNotFoundError:
                segment = self._dropped_meanwhile(segment)
            else:
                return
        names = partial(self._names, table, picked)
        yield from self._parts.read(segment.window, segment.part, table, low, high, names)

    def _read_file(
        self, segment: Segment, table: TableId, low: int, high: int, picked: Picked
    ) -> Iterator[tuple[Block, pa.RecordBatch]]:
        place = (segment.file, segment.size_bytes, segment.checksum)
        wanted = [
            block
            for block in self._blocks(*place).get(table, [])
            if block.last_seq >= low and block.first_seq <= high
        ]
        for block, rows in SegmentFileReader(self._files, *place).read_blocks(wanted, picked):
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
