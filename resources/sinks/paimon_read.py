"""Rows of a Paimon table that count: of each key the one with the greatest sequence number.

In: a snapshot. Out: the rows of one bucket at a time, in stored types, as if they were one file.
DuckDB finds the winners by key, and spills what memory does not hold; rows are then read as
streams. Files of older columns are read by the ids of columns.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from resources.sinks.contract import TargetId
from resources.sinks.lake_convert import convert_exactly
from resources.sinks.lake_files import FileReader
from resources.sinks.lake_format import DataFile
from resources.sinks.paimon_files import KIND, SEQUENCE, file_keys, file_schema
from resources.sinks.paimon_io import readable
from resources.sinks.paimon_schema import ids_of, stored_as
from resources.sinks.paimon_snapshot import BucketFile, PaimonSnapshot
from resources.sinks.parquet_store import ParquetStore
from resources.sinks.sql import insert, select, where_all

Mask = npt.NDArray[np.bool_]
MEMORY = "1GB"
"""What DuckDB may take before it spills."""
_NUMBER_BITS = 40


class PaimonReader(FileReader):
    """Rows of one snapshot's buckets; a bucket is told by its file in `PaimonSnapshot.files`.

    Args:
        store: The place.
        target: The table.
        snapshot: The snapshot.
    """

    def __init__(self, store: ParquetStore, target: TargetId, snapshot: PaimonSnapshot) -> None:
        super().__init__(store, snapshot.folder, stored_as(snapshot.table))
        self._place = store
        self._target = target
        self._snapshot = snapshot
        self._keys = file_keys(snapshot.table)
        self._ids = ids_of(snapshot.table)
        self._readers: dict[int, FileReader] = {}
        self._known: dict[str, list[Mask | None]] = {}

    def batches(self, file: DataFile, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield the rows of a bucket, in stored types; see `FileReader.batches`."""
        names = self._schema.names if columns is None else list(columns)
        files = self._snapshot.buckets[file.path]
        if self._snapshot.merges:
            yield self._merged_by_engine(files).select(names)
            return
        for one, mask in zip(files, self._masks(file), strict=True):
            start = 0
            for part in self.raw(one, names):
                if mask is None:
                    yield part
                else:
                    yield part.filter(pa.array(mask[start : start + part.num_rows]))
                start += part.num_rows

    def count(self, file: DataFile) -> int:
        """Return how many rows of a bucket count."""
        files = self._snapshot.buckets[file.path]
        if self._snapshot.merges:
            return int(self._merged_by_engine(files).num_rows)
        rows = (int(f.entry.file.row_count) for f in files)
        return sum(
            n if mask is None else int(mask.sum())
            for n, mask in zip(rows, self._masks(file), strict=True)
        )

    def _merged_by_engine(self, files: Sequence[BucketFile]) -> pa.Table:
        """Return the rows of a bucket as pypaimon's reader merges them."""
        entry = files[0].entry
        table = readable(self._place, self._snapshot.folder, self._snapshot.snapshot)
        builder = table.new_read_builder()
        splits = [
            split
            for split in builder.new_scan().plan().splits()
            if split.bucket == entry.bucket and split.partition.values == entry.partition.values
        ]
        return builder.new_read().to_arrow(splits).cast(self._schema)

    @property
    def file_schema(self) -> pa.Schema:
        """The columns of files that are written now."""
        return file_schema(self._snapshot.table)

    def merged_schema(self) -> pa.Schema:
        """The columns of `merged`: the table's, in a keyed table with `SEQUENCE` and `KIND`."""
        system = [pa.field(SEQUENCE, pa.int64()), pa.field(KIND, pa.int8())]
        return pa.schema([*self._schema, *(system if self._keys else [])])

    def merged(self, files: Sequence[BucketFile], *, keep_deleted: bool) -> Iterator[pa.Table]:
        """Yield the rows of some files of a bucket that win over the others among these.

        Args:
            files: The files, the oldest first.
            keep_deleted: Whether deletions that win are yielded, too.
        """
        names = self.merged_schema().names
        for file, mask in zip(files, self._found(files, keep_deleted), strict=True):
            start = 0
            for part in self.raw(file, names):
                chosen = None if mask is None else pa.array(mask[start : start + part.num_rows])
                yield part if chosen is None else part.filter(chosen)
                start += part.num_rows

    def raw(self, file: BucketFile, names: Sequence[str]) -> Iterator[pa.Table]:
        """Yield all rows of one data file in order; columns it lacks are NULL.

        Args:
            file: The file.
            names: Columns of the table, or `SEQUENCE` and `KIND`.
        """
        schema = self._snapshot.schemas.get(file.entry.file.schema_id)
        inside = {f.id: f.name for f in schema.fields}
        held = {n: inside.get(self._ids[n]) if n in self._ids else n for n in names}
        reader = self._readers.get(schema.id)
        if reader is None:
            reader = FileReader(self._place, self._snapshot.folder, file_schema(schema))
            self._readers[schema.id] = reader
        wanted = [name for name in held.values() if name is not None]
        one = DataFile(file.path, int(file.entry.file.row_count), int(file.entry.file.file_size))
        for part in reader.batches(one, wanted or [schema.fields[0].name]):
            yield self._shaped(part, held)

    def _shaped(self, part: pa.Table, held: dict[str, str | None]) -> pa.Table:
        columns: dict[str, Any] = {}
        for name, inside in held.items():
            if name not in self._ids:
                columns[name] = part[inside]
                continue
            wanted = self._schema.field(name).type
            if inside is None:
                columns[name] = pa.nulls(part.num_rows, wanted)
            else:
                columns[name] = convert_exactly(self._target, name, part[inside], wanted)
        if not columns:
            return pa.table({})
        return pa.table(list(columns.values()), names=list(columns))

    def _masks(self, file: DataFile) -> list[Mask | None]:
        """Return which rows of each data file of a bucket count, None for all."""
        if file.path not in self._known:
            self._known[file.path] = self._found(self._snapshot.buckets[file.path])
        return self._known[file.path]

    def _found(self, files: Sequence[BucketFile], keep_deleted: bool = False) -> list[Mask | None]:
        if not self._keys or (keep_deleted and self._apart(files)):
            return [None for _ in files]
        if self._apart(files):
            return [self._rows_kept(f) for f in files]
        counts = [int(f.entry.file.row_count) for f in files]
        ends = np.cumsum(counts)
        whole = np.zeros(int(ends[-1]), np.bool_)
        whole[self._winners(files, keep_deleted)] = True
        return list(np.split(whole, ends[:-1]))

    def _apart(self, files: Sequence[BucketFile]) -> bool:
        """Return whether no key is in two of the files."""
        if len(files) == 1:
            return True
        types = [self._schema.field(n).type for n in self._keys]
        if any(t.is_floating(type_) for type_ in types):
            return False
        ends = sorted(
            (tuple(m.min_key.values), tuple(m.max_key.values))
            for m in (f.entry.file for f in files)
        )
        return all(a[1] < b[0] for a, b in pairwise(ends))

    def _rows_kept(self, file: BucketFile) -> Mask | None:
        """Return which rows of a file are no deletions, None if none is one."""
        if file.entry.file.delete_row_count == 0:
            return None
        parts = [_is_row(part[KIND]) for part in self.raw(file, [KIND])]
        return np.concatenate(parts) if parts else np.zeros(0, np.bool_)

    def _winners(self, files: Sequence[BucketFile], keep_deleted: bool) -> npt.NDArray[np.int64]:
        """Return the numbers of the rows that count, over all files one after the other."""
        names = [f"k{i}" for i in range(len(self._keys))]
        with duckdb.connect(
            config={"memory_limit": MEMORY, "temp_directory": tempfile.gettempdir()}
        ) as connection:
            start = 0
            for file in files:
                for part in self.raw(file, [*self._keys, SEQUENCE, KIND]):
                    if not part.num_rows:
                        continue
                    numbers = pa.array(np.arange(start, start + part.num_rows, dtype=np.int64))
                    keys = [part[n] for n in self._keys]
                    more = pa.table(
                        [*keys, part[SEQUENCE], part[KIND], numbers],
                        names=[*names, "sequence", "kind", "number"],
                    )
                    connection.register("more", more)
                    rows = select("*", "more")
                    made = insert("held", "", rows) if start else f"CREATE TABLE held AS {rows}"
                    connection.execute(made)
                    connection.unregister("more")
                    start += part.num_rows
            best = select(
                f"max((sequence::HUGEINT << {_NUMBER_BITS + 2}) + (number::HUGEINT << 2) + kind) "
                "AS best",
                "held",
                f"GROUP BY {', '.join(names)}",
            )
            number = f"((best >> 2) & ((1::HUGEINT << {_NUMBER_BITS}) - 1))::BIGINT AS number"
            is_wanted = "" if keep_deleted else "(best & 3)::TINYINT IN (0, 2)"
            found = connection.sql(select(number, f"({best})", where_all(is_wanted)))
            numbers = found.to_arrow_table()["number"].to_numpy()
        return np.asarray(numbers, np.int64)


def _is_row(kinds: pa.ChunkedArray) -> Mask:
    """Return which row kinds are rows: `+I` and `+U`, not `-U` and `-D`."""
    return np.asarray(pc.is_in(kinds, pa.array([0, 2], pa.int8())).to_numpy())
