"""Compaction: a closed window's segments become Parquet files any engine can query.

In: the segments of a window. Out: one file per table and schema version, rows in log order,
recorded as one part of the window in one transaction.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import update

from resources.errors import ContinuityBroken
from resources.failpoints import failpoint
from resources.model.change import change_schema
from resources.model.table import TableId, TableSchema
from resources.stores.database import StateDatabase
from resources.stores.leases import LeaseStore
from resources.stores.log_files import LogFiles, crc_of
from resources.stores.log_reader import LogReader
from resources.stores.parquet_parts import ParquetFile, ParquetParts
from resources.stores.segment_rows import table_key
from resources.stores.segments import Segment, SegmentStore
from resources.stores.tables import segments

PARQUET = "parquet"
_GROUP_ROWS = 131_072
_GROUP_BYTES = 32 << 20
_FOLDER_BYTES = 200


class Compaction:
    """Compacts windows of one pipeline.

    Args:
        db: The state database.
        store: The segment rows.
        parts: The compactions.
        reader: Reads the segments.
        files: The change log's files.
    """

    def __init__(
        self,
        db: StateDatabase,
        store: SegmentStore,
        parts: ParquetParts,
        reader: LogReader,
        files: LogFiles,
    ) -> None:
        self._db, self._store, self._parts = db, store, parts
        self._reader, self._files = reader, files
        self._leases = LeaseStore(db)

    def compact(self, window: str) -> list[str]:
        """Write what is not compacted yet and return all files; see `ChangeLog.compact`."""
        holder = f"{socket.gethostname()}:{os.getpid()}"
        with self._leases.held(f"compact:{self._store.pipeline}", holder) as lease:
            pending = [s for s in self._store.list_segments(window=window) if s.file and not s.part]
            part = self._parts.last_part(window)
            if pending:
                part += 1
                files = [
                    file
                    for table in sorted({t.table for s in pending for t in s.tables.values()})
                    for file in self._write_table(pending, table, part)
                ]
                s = segments.c
                with self._db.begin() as conn:
                    self._leases.verify(conn, lease)
                    self._parts.record(conn, window, part, files)
                    conn.execute(
                        update(segments)
                        .where(
                            s.pipeline == self._store.pipeline,
                            s.commit_window == window,
                            s.part == 0,
                            s.file != "",
                            s.number <= pending[-1].number,
                        )
                        .values(part=part)
                    )
                failpoint("compact.after_commit")
        return [
            file.name
            for number in range(1, part + 1)
            for file in self._parts.files_of(window, number)
        ]

    def _write_table(
        self, pending: list[Segment], table: TableId, part: int
    ) -> Iterator[ParquetFile]:
        key = table_key(table)
        holding = [s for s in pending if key in s.tables and s.tables[key].total]
        writers: dict[str, _ParquetWriter] = {}
        try:
            for batch in self._reader.read(holding, table):
                fingerprint = batch.schema.fingerprint()
                if fingerprint not in writers:
                    name = _file_name(table, pending[0].window, part, fingerprint)
                    metadata = _metadata(self._store.pipeline, batch.schema, pending)
                    writers[fingerprint] = _ParquetWriter(self._files, name, batch.schema, metadata)
                writers[fingerprint].write(batch.rows)
            self._require_all(holding, table, sum(w.rows for w in writers.values()))
            for fingerprint, writer in writers.items():
                yield writer.publish(table, fingerprint)
        finally:
            for writer in writers.values():
                writer.discard()

    def _require_all(self, holding: list[Segment], table: TableId, rows: int) -> None:
        counted = sum(s.tables[table_key(table)].total for s in holding)
        if rows != counted:
            raise ContinuityBroken(
                f"segments {holding[0].number} to {holding[-1].number} hold {rows} rows of "
                f"{table}, their state rows say {counted}; the window was not compacted",
                where=self._store.pipeline,
                remedy="run the change log's full check",
            )


@dataclass
class _ParquetWriter:
    """One Parquet file that is being written, in row groups of bounded size."""

    files: LogFiles
    name: str
    schema: TableSchema
    metadata: dict[str, str]
    rows: int = 0
    _waiting: list[pa.RecordBatch] = field(default_factory=list)
    _file: IO[bytes] = field(init=False)
    _temporary: Path | None = field(init=False)

    def __post_init__(self) -> None:
        self._file, self._temporary = self.files.create_temporary(self.name)
        arrow = change_schema(self.schema)
        self._writer = pq.ParquetWriter(
            self._file, arrow.with_metadata(self.metadata), compression="zstd"
        )

    def write(self, rows: pa.RecordBatch) -> None:
        self._waiting.append(rows)
        self.rows += rows.num_rows
        waiting = sum(batch.num_rows for batch in self._waiting)
        if waiting >= _GROUP_ROWS or sum(b.nbytes for b in self._waiting) >= _GROUP_BYTES:
            self._flush()

    def publish(self, table: TableId, fingerprint: str) -> ParquetFile:
        assert self._temporary is not None
        with self.files.translated_errors(self.name):
            self._flush()
            self._writer.close()
            size = self._file.seek(0, os.SEEK_END)
            checksum = crc_of(self._file)
        self.files.publish(self._file, self._temporary, self.name, "compact")
        self._temporary = None
        return ParquetFile(self.name, table, fingerprint, self.rows, size, checksum)

    def discard(self) -> None:
        if self._temporary is not None:
            self._writer.close()
            self._file.close()
            self._temporary.unlink(missing_ok=True)

    def _flush(self) -> None:
        if self._waiting:
            table = pa.Table.from_batches(self._waiting)
            self._waiting = []
            with self.files.translated_errors(self.name):
                self._writer.write_table(table, row_group_size=table.num_rows)


def _metadata(pipeline: str, schema: TableSchema, pending: list[Segment]) -> dict[str, str]:
    return {
        "cdc.pipeline": pipeline,
        "cdc.table": str(schema.table),
        "cdc.fingerprint": schema.fingerprint(),
        "cdc.key": json.dumps(schema.key),
        "cdc.window": pending[0].window,
        "cdc.segments": f"{pending[0].number}-{pending[-1].number}",
        "cdc.start": json.dumps(pending[0].start.to_json()),
        "cdc.end": json.dumps(pending[-1].end.to_json()),
    }


def _file_name(table: TableId, window: str, part: int, fingerprint: str) -> str:
    # the fingerprint covers the table's name, so names that differ in case only stay apart on
    # file systems that fold case
    stem = window.replace(":", "") if part == 1 else f"{window.replace(':', '')}.{part}"
    return f"{PARQUET}/{_folder(table)}/{stem}-{fingerprint}.parquet"


def _folder(table: TableId) -> str:
    name = f"{_quoted(table.database)}.{_quoted(table.table)}"
    if len(name.encode()) <= _FOLDER_BYTES:
        return name
    return hashlib.blake2b(name.encode(), digest_size=16).hexdigest()


def _quoted(name: str) -> str:
    return "".join(
        c if c.isalnum() or c in "_-$" else quote(c, safe="").replace(".", "%2E") for c in name
    )
