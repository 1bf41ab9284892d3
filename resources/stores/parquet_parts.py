"""The Parquet files of compacted windows: their records, and reading them in log order.

In: rows of the table `compactions`. Out: rows of one table between two `_cdc_seq`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Connection, delete, func, insert, select

from resources.errors import ContinuityBroken
from resources.model.arrays import to_numbers
from resources.model.change import SEQ
from resources.model.table import TableId
from resources.stores.database import StateDatabase
from resources.stores.log_files import LogFiles
from resources.stores.tables import compactions

_BATCH_ROWS = 65_536


@dataclass(frozen=True)
class ParquetFile:
    """One file of a part.

    Args:
        name: Relative to the change log's location.
        table: Whose rows.
        fingerprint: Their schema version.
        rows: Their number.
        size_bytes: The file's size.
        checksum: `crc32:` and 8 hex digits over all its bytes.
    """

    name: str
    table: TableId
    fingerprint: str
    rows: int
    size_bytes: int
    checksum: str


class ParquetParts:
    """The compactions of one pipeline; a part is what one compaction of a window wrote.

    Args:
        db: The state database.
        pipeline: The pipeline's name.
        files: The change log's files.
    """

    def __init__(self, db: StateDatabase, pipeline: str, files: LogFiles) -> None:
        self._db = db
        self._pipeline = pipeline
        self._files = files
        self._known: dict[tuple[str, int], list[ParquetFile]] = {}

    def list_parts(self) -> list[tuple[str, int]]:
        """Return window and number of every part."""
        c = compactions.c
        query = select(c.commit_window, c.part).where(c.pipeline == self._pipeline)
        with self._db.read() as conn:
            return [(window, part) for window, part in conn.execute(query)]

    def last_part(self, window: str) -> int:
        """Return the number of a window's last part, 0 if it was never compacted."""
        c = compactions.c
        query = select(func.max(c.part)).where(
            c.pipeline == self._pipeline, c.commit_window == window
        )
        with self._db.read() as conn:
            return conn.scalar(query) or 0

    def files_of(self, window: str, part: int) -> list[ParquetFile]:
        """Return the files of a part; none if there is no such part."""
        known = self._known.get((window, part))
        if known is not None:
            return known
        c = compactions.c
        query = select(c.files).where(
            c.pipeline == self._pipeline, c.commit_window == window, c.part == part
        )
        with self._db.read() as conn:
            text = conn.scalar(query)
        if text is None:
            return []
        files = [ParquetFile(**(f | {"table": TableId(**f["table"])})) for f in json.loads(text)]
        self._known[window, part] = files
        return files

    def record(self, conn: Connection, window: str, part: int, files: list[ParquetFile]) -> None:
        """Record a part in the caller's transaction."""
        row = {
            "pipeline": self._pipeline,
            "commit_window": window,
            "part": part,
            "files": json.dumps([asdict(file) for file in files]),
            "committed_us": self._db.now_us(conn),
        }
        conn.execute(insert(compactions), row)

    def remove(self, window: str, part: int) -> None:
        """Remove the record of a part whose segments are all gone."""
        c = compactions.c
        with self._db.begin() as conn:
            conn.execute(
                delete(compactions).where(
                    c.pipeline == self._pipeline, c.commit_window == window, c.part == part
                )
            )
        self._known.pop((window, part), None)

    def read(
        self,
        window: str,
        part: int,
        table: TableId,
        low: int,
        high: int,
        names: Callable[[str], list[str]],
    ) -> Iterator[tuple[str, pa.RecordBatch]]:
        """Yield fingerprint and rows of one table with `low <= _cdc_seq <= high`, in log order.

        Args:
            window: The part's window.
            part: Its number.
            table: The source table.
            low: The least `_cdc_seq`.
            high: The greatest.
            names: Gives the columns to read for a schema version's fingerprint.

        Raises:
            ContinuityBroken: A file is gone.
        """
        streams = [
            (file.fingerprint, self._read_file(file, low, high, names(file.fingerprint)))
            for file in self.files_of(window, part)
            if file.table == table
        ]
        yield from _merge(streams)

    def _read_file(
        self, file: ParquetFile, low: int, high: int, names: list[str]
    ) -> Iterator[pa.RecordBatch]:
        try:
            source = self._files.open(file.name)
        except FileNotFoundError:
            raise ContinuityBroken(
                f"the compacted changes of {file.table} are gone",
                where=self._files.path(file.name),
                remedy=f"put the file back from a copy, or snapshot {file.table} again",
            ) from None
        with source, pq.ParquetFile(source) as reader:
            groups = [
                n
                for n in range(reader.metadata.num_row_groups)
                if _overlaps(reader.metadata.row_group(n), low, high)
            ]
            for batch in reader.iter_batches(_BATCH_ROWS, row_groups=groups, columns=names):
                seqs = to_numbers(batch.column(SEQ))
                first, end = seqs.searchsorted([low, high + 1])
                if end > first:
                    yield batch.slice(first, end - first)


def _overlaps(group: pq.RowGroupMetaData, low: int, high: int) -> bool:
    for index in range(group.num_columns):
        column = group.column(index)
        if column.path_in_schema == SEQ:
            return bool(column.statistics.min <= high and column.statistics.max >= low)
    raise ValueError(f"no column {SEQ}")


def _merge(
    streams: list[tuple[str, Iterator[pa.RecordBatch]]],
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Interleave streams that are each in log order, cutting batches where they overlap."""
    heads = [(name, batch, rest) for name, rest in streams if (batch := next(rest, None))]
    while heads:
        heads.sort(key=lambda head: _first(head[1]))
        name, batch, rest = heads.pop(0)
        end = batch.num_rows
        if heads:
            end = int(to_numbers(batch.column(SEQ)).searchsorted(_first(heads[0][1])))
        yield name, batch.slice(0, end)
        left = batch.slice(end) if end < batch.num_rows else next(rest, None)
        if left is not None:
            heads.append((name, left, rest))


def _first(batch: pa.RecordBatch) -> int:
    return int(batch.column(SEQ)[0].as_py())
