"""Data files of a lake table: written in row groups and by partition, read back by columns.

In: Arrow tables of stored types. Out: Parquet files beside those of the table, with what is known
of each; tables of their rows, in whatever shape other writers of the table left them.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pyarrow.types as t

from resources.errors import SinkUnavailable
from resources.sinks.lake_format import DataFile
from resources.sinks.lake_store import OWN_FOLDER, LakeStore

GROUP_ROWS = 1 << 18
GROUP_BYTES = 32 << 20
"""A row group is written once so much is there."""
FILE_BYTES = 128 << 20
"""A file is ended once so many bytes of Arrow data went into it: what a merge rewrites at least."""
OPEN_FILES = 32
"""Partitions written to at the same time by one writer."""
_SAMPLE = 4096
"""Rows of a file by which it is decided how it is written."""
_STATISTICS = 32
"""Columns whose bounds are kept, as readers of Delta expect of the first ones."""

Partition = tuple[Any, ...]


class FileGone(SinkUnavailable):
    """A data file of a snapshot is not there any more."""


class FileWriter:
    """Files of one write; none of them counts before a commit names it.

    Args:
        store: The place.
        folder: The table's folder.
        schema: The columns of the table, in stored types.
        partition_by: Columns by whose values files are set apart, and which files do not hold.
        prefix: Begins the files' names, within the folder. Below `_cdc` they lack the ending
            `.parquet`, by which some readers find files wherever they are.
    """

    def __init__(
        self,
        store: LakeStore,
        folder: str,
        schema: pa.Schema,
        partition_by: Sequence[str] = (),
        prefix: str = "part-",
    ) -> None:
        self._store = store
        self._folder = folder
        self._partition_by = tuple(partition_by)
        self._schema = pa.schema([f for f in schema if f.name not in self._partition_by])
        self._prefix = prefix
        self._ending = "" if prefix.startswith(OWN_FOLDER) else ".parquet"
        self._open: dict[Partition, _OpenFile] = {}
        self._done: list[DataFile] = []

    def write(self, rows: pa.Table) -> None:
        """Add rows; columns go by name."""
        with self._store.translated(self._folder):
            for partition, part in self._split(rows):
                file = self._open.pop(partition, None) or self._begin(partition)
                self._open[partition] = file  # the last in order is the one used last
                file.write(part.select(self._schema.names))
                if file.bytes >= FILE_BYTES:
                    self._end(partition)
                elif len(self._open) > OPEN_FILES:
                    self._end(next(iter(self._open)))

    def end_large(self) -> None:
        """End files that are large enough already, so that other rows go to others."""
        for partition in [p for p, file in self._open.items() if 2 * file.bytes >= FILE_BYTES]:
            self._end(partition)

    def finish(self) -> tuple[DataFile, ...]:
        """End every file and return them all; what is named after this does not lack them."""
        for partition in list(self._open):
            self._end(partition)
        self._store.persist(f"{self._folder}/{file.path}" for file in self._done)
        return tuple(self._done)

    def abandon(self) -> None:
        """Delete what was written."""
        for file in self._open.values():
            with suppress(Exception):
                file.close()
        paths = [f.path for f in self._open.values()] + [f.path for f in self._done]
        for path in paths:
            with suppress(Exception):
                self._store.delete(f"{self._folder}/{path}")
        self._open, self._done = {}, []

    @contextmanager
    def abandoned_on_error(self) -> Iterator[None]:
        """Delete what was written if the work within fails: no commit will name it."""
        try:
            yield
        except BaseException:
            self.abandon()
            raise

    def _split(self, rows: pa.Table) -> Iterator[tuple[Partition, pa.Table]]:
        if not self._partition_by or not rows.num_rows:
            if rows.num_rows:
                yield (), rows
            return
        codes = np.zeros(rows.num_rows, np.int64)
        for name in self._partition_by:
            encoded = rows[name].combine_chunks().dictionary_encode(null_encoding="encode")
            codes = codes * (len(encoded.dictionary) + 1) + encoded.indices.to_numpy()
        order = np.argsort(codes, kind="stable")
        starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
        for start, stop in zip(starts, [*starts[1:], len(order)], strict=True):
            part = rows.take(pa.array(order[start:stop]))
            yield tuple(part[name][0].as_py() for name in self._partition_by), part

    def _begin(self, partition: Partition) -> _OpenFile:
        path = f"{self._prefix}{uuid.uuid4().hex}{self._ending}"
        file = self._store.create(f"{self._folder}/{path}")
        values = dict(zip(self._partition_by, partition, strict=True))
        return _OpenFile(file, path, self._schema, values)

    def _end(self, partition: Partition) -> None:
        file = self._open[partition]
        with self._store.translated(file.path):
            done = file.end()
        del self._open[partition]
        self._done.append(done)


class _OpenFile:
    def __init__(
        self, sink: pa.NativeFile, path: str, schema: pa.Schema, partition: dict[str, Any]
    ) -> None:
        self.path = path
        self.bytes = 0
        self._partition = partition
        self._schema = schema
        self._sink = sink
        self._footer: list[pq.FileMetaData] = []
        self._writer: pq.ParquetWriter | None = None
        self._held: list[pa.Table] = []
        self._held_rows = self._held_bytes = 0

    def write(self, rows: pa.Table) -> None:
        self._held.append(rows)
        self._held_rows += rows.num_rows
        self._held_bytes += rows.nbytes
        self.bytes += rows.nbytes
        if self._held_rows >= GROUP_ROWS or self._held_bytes >= GROUP_BYTES:
            self._flush()

    def end(self) -> DataFile:
        self._flush()
        assert self._writer is not None  # no file is begun without a row
        self._writer.close()
        size = self._sink.tell() if not self._sink.closed else 0
        self._sink.close()
        (footer,) = self._footer
        bounds, nulls = _statistics(footer, self._schema)
        return DataFile(self.path, footer.num_rows, size, self._partition, bounds, nulls)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._sink.close()

    def _flush(self) -> None:
        if self._held:
            rows = pa.concat_tables(self._held).combine_chunks()
            if self._writer is None:
                self._writer = pq.ParquetWriter(
                    self._sink,
                    self._schema,
                    compression="snappy",
                    use_dictionary=repeating(rows) or False,
                    metadata_collector=self._footer,
                )
            self._writer.write_table(rows, row_group_size=GROUP_ROWS)
            self._held, self._held_rows, self._held_bytes = [], 0, 0


class FileReader:
    """Rows of data files.

    Args:
        store: The place.
        folder: The table's folder.
        schema: The columns of the table, in stored types.
    """

    def __init__(self, store: LakeStore, folder: str, schema: pa.Schema) -> None:
        self._store = store
        self._folder = folder
        self._schema = schema

    def batches(self, file: DataFile, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield a file's rows in order, in stored types; columns it lacks are NULL.

        Args:
            file: The file.
            columns: Those wanted, all if left out.
        """
        names = self._schema.names if columns is None else list(columns)
        held = [n for n in names if n not in file.partition]
        inside = pa.schema([f for f in self._schema if f.name not in file.partition])
        with self._reading(file):
            fragment = self._fragment(file)
            for batch in fragment.to_batches(schema=inside, columns=held, batch_size=GROUP_ROWS):
                yield self._complete(pa.Table.from_batches([batch]), file, names)

    def read(self, file: DataFile, columns: Sequence[str] | None = None) -> pa.Table:
        """Return a file's rows at once; see `batches`."""
        names = self._schema.names if columns is None else list(columns)
        empty = pa.schema([self._schema.field(n) for n in names]).empty_table()
        return pa.concat_tables([empty, *self.batches(file, columns)])

    def count(self, file: DataFile) -> int:
        """Return a file's number of rows."""
        if file.rows is not None:
            return file.rows
        with self._reading(file):
            return int(self._fragment(file).count_rows())

    @contextmanager
    def _reading(self, file: DataFile) -> Iterator[None]:
        """Turn failures of the storage into errors to act on, a missing file too."""
        try:
            with self._store.translated(f"{self._folder}/{file.path}"):
                yield
        except FileNotFoundError:
            raise FileGone(
                "a data file of the table is not there any more",
                where=self._store.url(f"{self._folder}/{file.path}"),
                remedy="run again: a clean-up may have come between; if it stays, restore the file "
                "or materialize the table's snapshot partition",
            ) from None

    def _fragment(self, file: DataFile) -> ds.Fragment:
        path = self._store.path(f"{self._folder}/{file.path}")
        return ds.ParquetFileFormat().make_fragment(path, filesystem=self._store.filesystem)

    def _complete(self, rows: pa.Table, file: DataFile, names: Sequence[str]) -> pa.Table:
        columns = []
        for name in names:
            field = self._schema.field(name)
            if name in file.partition:
                value = pa.scalar(file.partition[name], field.type)
                columns.append(pa.chunked_array([pa.repeat(value, rows.num_rows)], field.type))
            else:
                columns.append(rows[name])
        return pa.table(columns, schema=pa.schema([self._schema.field(n) for n in names]))


def repeating(rows: pa.Table) -> list[str]:
    """Return the columns that dictionaries pay for: text with values that come again.

    Numbers are written three times as fast without, and so is text that is different in each row.
    """
    first = rows.slice(0, _SAMPLE)
    texts = (f.name for f in rows.schema if t.is_string(f.type))
    return [n for n in texts if 2 * pc.count_distinct(first[n]).as_py() <= first.num_rows]


def may_hold(file: DataFile, keys: pa.Table) -> bool:
    """Return whether a file may hold one of some keys, as far as its bounds and partition tell.

    Args:
        file: The file.
        keys: Key columns, in stored types.
    """
    possible = None
    for name in keys.column_names:
        low, high = file.bounds.get(name, (None, None))
        if name in file.partition:
            low = high = file.partition[name]
            if low is None:
                return False
        if low is None or high is None or t.is_floating(keys[name].type):
            continue
        least, most = pa.scalar(low, keys[name].type), pa.scalar(high, keys[name].type)
        inside = pc.and_(pc.greater_equal(keys[name], least), pc.less_equal(keys[name], most))
        possible = inside if possible is None else pc.and_(possible, inside)
    return possible is None or bool(pc.any(possible).as_py())


def _statistics(
    footer: pq.FileMetaData, schema: pa.Schema
) -> tuple[dict[str, tuple[Any, Any]], dict[str, int]]:
    """Return bounds and NULLs of the plain columns among the first ones, from a file's footer."""
    bounds: dict[str, tuple[Any, Any]] = {}
    nulls: dict[str, int] = {}
    groups = [footer.row_group(i) for i in range(footer.num_row_groups)]
    leaf = 0
    for position, field in enumerate(schema):
        leaves = _leaves(field.type)
        if leaves == 1 and not t.is_nested(field.type) and position < _STATISTICS:
            found = [g.column(leaf).statistics for g in groups]
            if all(s is not None and s.has_null_count for s in found):
                nulls[field.name] = sum(s.null_count for s in found)
            filled = [s for s, g in zip(found, groups, strict=True) if not _all_null(s, g)]
            if filled and all(s.has_min_max for s in filled) and not t.is_floating(field.type):
                bounds[field.name] = min(s.min for s in filled), max(s.max for s in filled)
        leaf += leaves
    return bounds, nulls


def _all_null(statistics: Any, group: Any) -> bool:  # noqa: ANN401 - no types in pyarrow
    return statistics is not None and statistics.null_count == group.num_rows


def _leaves(type_: pa.DataType) -> int:
    if t.is_struct(type_):
        return sum(_leaves(f.type) for f in type_)
    return _leaves(type_.value_type) if t.is_list(type_) else 1
