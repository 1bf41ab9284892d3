"""Bare loads and merges by the libraries of lake formats: delta-rs, pyiceberg, pyarrow.

In: Arrow tables. Out: what their own fastest calls took, see `benchmarks.sinks_bare`.

Iceberg and Parquet: a library that merges by reading, filtering and writing all rows is the limit
of their merges, with the table in memory whole; pyiceberg's own `upsert` takes a multiple of it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.clock import Clock, Spent
from benchmarks.sinks_bare import Closing
from resources.sinks.lake_files import repeating

if TYPE_CHECKING:
    from resources.sinks.contract import Sink


class BareDelta(Closing):
    """delta-rs: `write_deltalake`, and its MERGE."""

    dlt = "delta"

    def open_sink(self) -> Sink:
        """Return our sink in a folder of its own."""
        from resources.sinks.delta import DeltaSink

        return DeltaSink(str(self.folder / "ours"))

    @property
    def _place(self) -> str:
        return str(self.folder / "bare")

    def load(self, rows: Sequence[pa.Table]) -> Spent:
        """Write a new table in one commit."""
        from deltalake import write_deltalake

        reader = pa.RecordBatchReader.from_batches(
            rows[0].schema, (batch for part in rows for batch in part.to_batches())
        )
        with Clock() as clock:
            write_deltalake(self._place, reader, mode="overwrite")
        return clock.spent

    def merge(self, upserts: pa.Table, deletes: pa.Table) -> Spent:
        """One MERGE of both."""
        from deltalake import DeltaTable

        given = pa.concat_tables(
            [
                upserts.append_column("gone", pa.array([False] * upserts.num_rows)),
                deletes.append_column("gone", pa.array([True] * deletes.num_rows)),
            ],
            promote_options="default",
        )
        values = {name: f"s.{name}" for name in upserts.column_names}
        with Clock() as clock:
            merger = DeltaTable(self._place).merge(
                given, "t.id = s.id", source_alias="s", target_alias="t"
            )
            merger = merger.when_matched_delete("s.gone").when_matched_update(values)
            merger.when_not_matched_insert(values, predicate="NOT s.gone").execute()
        return clock.spent

    def count(self) -> int:
        """Return the rows."""
        from deltalake import DeltaTable

        return int(DeltaTable(self._place).to_pyarrow_dataset().count_rows())


class BareIceberg(Closing):
    """pyiceberg with a SQLite catalog: `append`, and `overwrite` with the merged rows."""

    dlt = "iceberg"
    _NAME = "bench.bare"

    def __enter__(self) -> Self:
        """Create the catalog."""
        from pyiceberg.catalog.sql import SqlCatalog

        place = self.folder / "bare"
        place.mkdir()
        self.catalog: Any = SqlCatalog(
            "bare", uri=f"sqlite:///{place}/catalog.db", warehouse=f"file://{place}"
        )
        self.stack.callback(self.catalog.close)
        self.catalog.create_namespace("bench")
        return self

    def open_sink(self) -> Sink:
        """Return our sink with a folder and catalog of its own."""
        from resources.sinks.iceberg import IcebergSink

        return IcebergSink(str(self.folder / "ours"))

    def load(self, rows: Sequence[pa.Table]) -> Spent:
        """Write a new table in one commit."""
        given = pa.concat_tables(rows)
        if self.catalog.table_exists(self._NAME):
            self.catalog.purge_table(self._NAME)
        with Clock() as clock:
            self.catalog.create_table(self._NAME, schema=given.schema).append(given)
        return clock.spent

    def merge(self, upserts: pa.Table, deletes: pa.Table) -> Spent:
        """Read the table, write it again merged, commit."""
        with Clock() as clock:
            table = self.catalog.load_table(self._NAME)
            table.overwrite(_merged(table.scan().to_arrow(), upserts, deletes))
        return clock.spent

    def count(self) -> int:
        """Return the rows."""
        return int(self.catalog.load_table(self._NAME).scan().count())


class BareParquet(Closing):
    """pyarrow: one file, written again merged; it is there once it would outlive a power cut."""

    def open_sink(self) -> Sink:
        """Return our sink in a folder of its own."""
        from resources.sinks.parquet import ParquetSink

        return ParquetSink(str(self.folder / "ours"))

    @property
    def _file(self) -> str:
        return str(self.folder / "bare.parquet")

    def load(self, rows: Sequence[pa.Table]) -> Spent:
        """Write a file with the encodings our sink takes."""
        given = pa.concat_tables(rows)
        with Clock() as clock:
            self._write(given)
        return clock.spent

    def merge(self, upserts: pa.Table, deletes: pa.Table) -> Spent:
        """Read the file, write it again merged."""
        with Clock() as clock:
            self._write(_merged(pq.read_table(self._file), upserts, deletes))
        return clock.spent

    def count(self) -> int:
        """Return the rows."""
        return int(pq.read_metadata(self._file).num_rows)

    def _write(self, rows: pa.Table) -> None:
        pq.write_table(rows, self._file, use_dictionary=repeating(rows) or False)
        for path in (self._file, self.folder):
            opened = os.open(path, os.O_RDONLY)
            os.fsync(opened)
            os.close(opened)


def _merged(rows: pa.Table, upserts: pa.Table, deletes: pa.Table) -> pa.Table:
    touched = pa.concat_tables([upserts.select(["id"]), deletes])["id"]
    stay = rows.filter(pc.invert(pc.is_in(rows["id"], touched.combine_chunks())))
    return pa.concat_tables([stay.cast(upserts.schema), upserts])
