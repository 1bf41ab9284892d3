"""Data files of Paimon tables: rows by partition and bucket, sorted by key where there is one.

In: rows in stored types. Out: Parquet files as Paimon lays them out, and what manifests say of
each. A file of a primary-key table has the key again as `_KEY_<name>`, then `_SEQUENCE_NUMBER` (the
greater one wins) and `_VALUE_KIND` (a row, or that its key is deleted), then all columns.

Until a file is committed it is told by a `DataFile`, whose bounds have three meanings here: of
`_KEY_<name>` the first and last key, of a key column its least and greatest value, of
`_SEQUENCE_NUMBER` those of the rows; `nulls` has under `_VALUE_KIND` how many keys it deletes.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pypaimon.schema.table_schema import TableSchema

from resources.sinks.lake_files import FILE_BYTES, GROUP_BYTES, GROUP_ROWS, FileWriter, repeating
from resources.sinks.lake_format import DataFile
from resources.sinks.paimon_buckets import buckets_of
from resources.sinks.paimon_io import table_of
from resources.sinks.paimon_schema import layout_of, stored_as
from resources.sinks.parquet_store import ParquetStore

SEQUENCE = "_SEQUENCE_NUMBER"
KIND = "_VALUE_KIND"
KEY = "_KEY_"
PUT, DELETED = 0, 3
"""Row kinds `+I` and `-D`."""
_HELD_BYTES = 2 * FILE_BYTES
"""Rows are kept in memory up to so many bytes, of all partitions and buckets."""

Place = tuple[tuple[Any, ...], int]
"""The values of a partition, and a bucket of it."""


def file_schema(schema: TableSchema) -> pa.Schema:
    """Return the columns of a table's data files."""
    stored = stored_as(schema)
    keys = file_keys(schema)
    if not schema.primary_keys:
        return stored
    system = [(SEQUENCE, pa.int64()), (KIND, pa.int8())]
    first = [(f"{KEY}{name}", stored.field(name).type) for name in keys]
    return pa.schema([*(pa.field(n, t, nullable=False) for n, t in (*first, *system)), *stored])


def file_keys(schema: TableSchema) -> list[str]:
    """Return the key columns that files are sorted by: those of no partition."""
    return [n for n in schema.primary_keys if n not in schema.partition_keys]


class PaimonWriter(FileWriter):
    """Files of one write; none of them counts before a commit names it.

    Args:
        store: The place.
        folder: The table's folder.
        table: The schema the files are of.
        sequence: Sequence number of deletions, greater than that of any row before; rows have the
            next one.
    """

    def __init__(
        self, store: ParquetStore, folder: str, table: TableSchema, sequence: int = 0
    ) -> None:
        super().__init__(store, folder, stored_as(table))
        self.schema = file_schema(table)
        self.sequence = sequence
        self._place = store
        self._table = table
        self._keys = file_keys(table)
        self._layout = layout_of(table)
        self._paths = table_of(store, folder, table).path_factory()
        self._key_fields = [f for n in self._keys for f in table.fields if f.name == n]
        self._held: dict[Place, list[pa.Table]] = {}
        self._bytes: dict[Place, int] = {}
        self._begun: list[str] = []

    def write(self, rows: pa.Table, kind: int = PUT) -> None:
        """Add rows.

        Args:
            rows: Columns by name; those that are missing are NULL.
            kind: `PUT`, or `DELETED` for keys that go.
        """
        stored = stored_as(self._table)
        for place, part in self._placed(rows):
            columns = [
                part[f.name] if f.name in part.column_names else pa.nulls(part.num_rows, f.type)
                for f in stored
            ]
            whole = pa.table(columns, schema=stored)
            if self._keys:
                kinds = pa.array(np.full(part.num_rows, kind, np.int8))
                whole = whole.append_column(KIND, kinds)
            self._held.setdefault(place, []).append(whole)
            self._bytes[place] = self._bytes.get(place, 0) + whole.nbytes
            if self._bytes[place] >= FILE_BYTES:
                self._flush(place)
        while sum(self._bytes.values()) > _HELD_BYTES:
            self._flush(max(self._bytes, key=self._bytes.__getitem__))

    def write_sorted(self, place: Place, parts: Iterator[pa.Table]) -> tuple[DataFile, ...]:
        """Write rows of one bucket that have all columns of a file and come by key.

        Args:
            place: The values of the partition, and the bucket.
            parts: The rows, each key once.

        Returns:
            The files, which hold no key in common; `finish` returns them, too.
        """
        done: list[DataFile] = []
        file: _KeyFile | None = None
        for part in parts:
            file = file or self._open_file(place)
            file.write(part)
            if file.bytes >= FILE_BYTES:
                done.append(file.end())
                file = None
        if file is not None:
            done.append(file.end())
        self._done += done
        return tuple(done)

    def finish(self) -> tuple[DataFile, ...]:
        """End every file and return them all; what is named after this does not lack them."""
        for place in list(self._held):
            self._flush(place)
        self._place.persist(f"{self._folder}/{file.path}" for file in self._done)
        return tuple(self._done)

    def abandon(self) -> None:
        """Delete what was written."""
        for path in self._begun:
            with suppress(Exception):
                self._place.delete(f"{self._folder}/{path}")
        self._held, self._bytes, self._begun, self._done = {}, {}, [], []

    def _placed(self, rows: pa.Table) -> Iterator[tuple[Place, pa.Table]]:
        """Yield the rows of each partition and bucket."""
        if not rows.num_rows:
            return
        numbers = buckets_of(rows.select(self._keys), self._key_fields, self._layout.buckets)
        columns = [rows[n].combine_chunks() for n in self._layout.partition_by]
        codes = numbers
        for column in columns:
            encoded = column.dictionary_encode(null_encoding="encode")
            codes = codes * (len(encoded.dictionary) + 1) + encoded.indices.to_numpy()
        if (codes == codes[0]).all():
            yield (tuple(c[0].as_py() for c in columns), int(numbers[0])), rows
            return
        order = np.argsort(codes, kind="stable")
        starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
        for start, stop in zip(starts, [*starts[1:], len(order)], strict=True):
            first = int(order[start])
            place = tuple(c[first].as_py() for c in columns), int(numbers[first])
            yield place, rows.take(pa.array(order[start:stop]))

    def _flush(self, place: Place) -> None:
        rows = pa.concat_tables(self._held.pop(place))
        del self._bytes[place]
        if self._keys:
            rows = _sorted(rows, self._keys)
            is_put = rows[KIND].combine_chunks().to_numpy() == PUT
            numbers = pa.array(self.sequence + is_put.astype(np.int64))
            keys = [rows[n] for n in self._keys]
            own = [rows[n] for n in stored_as(self._table).names]
            rows = pa.table([*keys, numbers, rows[KIND], *own], schema=self.schema)
        file = self._open_file(place)
        file.write(rows)
        self._done.append(file.end())

    def _open_file(self, place: Place) -> _KeyFile:
        partition, bucket = place
        folder = self._paths.relative_bucket_path(partition, bucket, canonical_partition=True)
        path = f"{folder}/data-{uuid.uuid4()}-0.parquet"
        self._begun.append(path)
        values = dict(zip(self._layout.partition_by, partition, strict=True))
        return _KeyFile(self._place, self._folder, path, self.schema, self._keys, values)


class _KeyFile:
    """One file being written, and what manifests will say of it."""

    def __init__(
        self,
        store: ParquetStore,
        folder: str,
        path: str,
        schema: pa.Schema,
        keys: Sequence[str],
        partition: dict[str, Any],
    ) -> None:
        self.bytes = 0
        self._store = store
        self._path = path
        self._keys = keys
        self._partition = partition
        self._rows = self._deleted = 0
        self._bounds: dict[str, tuple[Any, Any]] = {}
        self._sink = store.create(f"{folder}/{path}")
        self._schema = schema
        self._writer: pq.ParquetWriter | None = None

    def write(self, rows: pa.Table) -> None:
        if not rows.num_rows:
            return
        if self._keys:
            self._note(rows)
        self._rows += rows.num_rows
        self.bytes += rows.nbytes
        group = max(1, min(GROUP_ROWS, GROUP_BYTES * rows.num_rows // max(rows.nbytes, 1)))
        with self._store.translated(self._path):
            self._opened(rows).write_table(rows, row_group_size=group)

    def end(self) -> DataFile:
        with self._store.translated(self._path):
            self._opened(self._schema.empty_table()).close()
            size = self._sink.tell()
            self._sink.close()
        nulls = {KIND: self._deleted}
        return DataFile(self._path, self._rows, size, self._partition, self._bounds, nulls)

    def _opened(self, rows: pa.Table) -> pq.ParquetWriter:
        """Return the writer; the first rows say which columns get dictionaries."""
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self._sink,
                self._schema,
                compression="zstd",
                compression_level=1,
                use_dictionary=repeating(rows) or False,
            )
        return self._writer

    def _note(self, rows: pa.Table) -> None:
        for name in self._keys:
            key = f"{KEY}{name}"
            first, last = rows[key][0].as_py(), rows[key][-1].as_py()
            self._bounds[key] = (self._bounds.get(key, (first, last))[0], last)
        for name, column in [*((n, f"{KEY}{n}") for n in self._keys), (SEQUENCE, SEQUENCE)]:
            ends = pc.min_max(rows[column])
            low, high = ends["min"].as_py(), ends["max"].as_py()
            before = self._bounds.get(name, (low, high))
            self._bounds[name] = (min(before[0], low), max(before[1], high))
        deleted = pc.sum(pc.equal(rows[KIND], DELETED)).as_py()
        self._deleted += int(deleted or 0)


def _sorted(rows: pa.Table, keys: Sequence[str]) -> pa.Table:
    """Return rows by key; where one is deleted and put, only what is put: a file has a key once."""
    rows = rows.sort_by([*((n, "ascending") for n in keys), (KIND, "descending")])
    kinds = rows[KIND].combine_chunks().to_numpy()
    if rows.num_rows < 2 or (kinds == kinds[0]).all():
        return rows
    again = np.ones(rows.num_rows - 1, np.bool_)
    for name in keys:
        column = rows[name].combine_chunks()
        again &= pc.equal(column[:-1], column[1:]).to_numpy(zero_copy_only=False)
    return rows.filter(pa.array(np.append(~(again & (kinds[:-1] == DELETED)), True)))
