"""Upkeep of Paimon tables: files of a bucket merged, old snapshots expired, leftovers deleted.

In: a table. Out: one commit of the same rows in fewer files; then what no snapshot younger than the
history, no tag and no load needs is gone. Readers and writers may go on meanwhile.

The newest files of a bucket are merged with each other while they are few beside the older ones,
and all of them once they are a fourth: so each row is written anew a few times and not every day.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from resources.sinks.contract import TargetId
from resources.sinks.lake_commit import against
from resources.sinks.lake_compact import SMALL_BYTES
from resources.sinks.lake_files import GROUP_ROWS
from resources.sinks.lake_format import DataFile, LostRace
from resources.sinks.maintenance import Upkeep
from resources.sinks.paimon_entries import added, removed
from resources.sinks.paimon_expire import expire
from resources.sinks.paimon_files import KIND, SEQUENCE, PaimonWriter, file_keys
from resources.sinks.paimon_options import MERGED_ELSEWHERE, PRODUCER
from resources.sinks.paimon_read import MEMORY, PaimonReader
from resources.sinks.paimon_snapshot import BucketFile, PaimonSnapshot
from resources.sinks.parquet_store import ParquetStore
from resources.sinks.sql import select

if TYPE_CHECKING:
    from resources.sinks.paimon_table import PaimonTables

_TOP_LEVEL = 5
"""The highest level of a table that says nothing else."""
_SHARE = 4
"""The newest files are merged with all others once they are one part in so many of them."""


def maintain(
    store: ParquetStore, tables: PaimonTables, target: TargetId, keep_seconds: float
) -> Upkeep:
    """Merge files, expire snapshots, delete leftovers; see `Maintained.maintain`.

    Raises:
        LostRace: Another commit came between; nothing was changed.
        SinkUnavailable: The storage failed; the next call goes on.
    """
    live = tables.read(target)
    if live is None:
        return Upkeep()
    joined, written = _compact(store, tables, target, live)
    tables.cut_tags(live)
    now = tables.read(target)
    if now is None:
        return Upkeep(joined, written)
    try:
        return Upkeep(joined, written, expire(store, now, keep_seconds))
    except FileNotFoundError:
        raise LostRace from None  # another engine expires snapshots at the moment


def _compact(
    store: ParquetStore, tables: PaimonTables, target: TargetId, live: PaimonSnapshot
) -> tuple[int, int]:
    """Commit fewer files in place of many; returns how many went and came."""
    if live.merges or live.table.options.get(PRODUCER, "none") in MERGED_ELSEWHERE:
        return 0, 0  # a compaction by another engine merges the rows, or makes the change log
    writer = PaimonWriter(store, live.folder, live.table)
    reader = PaimonReader(store, target, live)
    old: list[BucketFile] = []
    new: list[tuple[DataFile, int]] = []
    try:
        with against(tables, target, live):
            for files in live.buckets.values():
                chosen, level = _chosen(files, bool(live.table.primary_keys))
                if chosen:
                    rows = _sorted_rows(reader, live, chosen, level)
                    entry = chosen[0].entry
                    place = tuple(entry.partition.values), int(entry.bucket)
                    new += [(file, level) for file in writer.write_sorted(place, rows)]
                    old += chosen
        writer.finish()
        if old:
            tables.compact(
                live,
                [added(file, live.table, level) for file, level in new],
                [removed(file.entry) for file in old],
            )
    except LostRace:
        writer.abandon()
        raise
    return len(old), len(new)


def _chosen(files: Sequence[BucketFile], keyed: bool) -> tuple[list[BucketFile], int]:
    """Return which files of a bucket are merged, and into which level."""
    if not keyed:
        small = [f for f in files if f.entry.file.file_size < SMALL_BYTES]
        return (small if len(small) > 1 else []), 0
    newest = [f for f in files if f.entry.file.level == 0]
    if not newest:
        return [], 0
    size = sum(int(f.entry.file.file_size) for f in newest)
    rest = sum(int(f.entry.file.file_size) for f in files) - size
    if _SHARE * size >= rest:
        is_merged = len(files) == 1 and not files[0].entry.file.delete_row_count
        return ([] if is_merged else list(files)), _TOP_LEVEL
    return (newest if len(newest) > 1 else []), 0


def _sorted_rows(
    reader: PaimonReader, live: PaimonSnapshot, files: Sequence[BucketFile], level: int
) -> Iterator[pa.Table]:
    """Yield the rows that count, by key; deletions stay where older files may have their keys."""
    keys = file_keys(live.table)
    schema = reader.merged_schema()
    plain = pa.schema([(f"c{i}", f.type) for i, f in enumerate(schema)])

    def batches() -> Iterator[pa.RecordBatch]:
        for part in reader.merged(files, keep_deleted=level == 0):
            yield from part.rename_columns(plain.names).cast(plain).to_batches()

    source = pa.RecordBatchReader.from_batches(plain, batches())
    if not keys:
        for batch in source:
            yield pa.Table.from_batches([batch]).rename_columns(schema.names)
        return
    order = ", ".join(f"c{schema.get_field_index(n)}" for n in keys)
    with duckdb.connect(
        config={"memory_limit": MEMORY, "temp_directory": tempfile.gettempdir()}
    ) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("source", source)
        found = connection.sql(select("*", "source", f"ORDER BY {order}"))
        for batch in found.to_arrow_reader(GROUP_ROWS):
            rows = pa.Table.from_batches([batch]).cast(plain).rename_columns(schema.names)
            columns = [*(rows[n] for n in keys), rows[SEQUENCE], rows[KIND]]
            columns += [rows[n] for n in schema.names if n not in (SEQUENCE, KIND)]
            yield pa.table(columns, schema=reader.file_schema)
