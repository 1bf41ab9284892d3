"""Bare loads and merges by engines that run in this process: ClickHouse's, delta-rs.

In: Arrow tables. Out: the seconds of their own fastest statements, see `benchmarks.sinks_bare`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from benchmarks.sinks_bare import Closing

if TYPE_CHECKING:
    from resources.sinks.contract import Sink


class BareClickHouse(Closing):
    """ClickHouse's engine (chDB): Arrow inserts into a ReplacingMergeTree."""

    dlt = ""
    _COLUMNS = (
        "id Int64, code String, n0 Nullable(Int64), n1 Nullable(Int64), n2 Nullable(Int64), "
        "n3 Nullable(Int64), s0 Nullable(String), s1 Nullable(String), "
        "price Nullable(Decimal(21, 2)), at Nullable(DateTime64(6))"
    )

    def __enter__(self) -> Self:
        """Open the engine; a process has one folder of it, which our sink uses too."""
        import clickhouse_connect

        self._path = str(self.folder / "clickhouse")
        client = clickhouse_connect.get_client(interface="chdb", path=self._path)
        self.client: Any = client
        self.stack.callback(client.close)
        return self

    def open_sink(self) -> Sink:
        """Return our sink in another database of the same folder."""
        from resources.sinks.clickhouse import ClickHouseSink

        return ClickHouseSink(self._path)

    def load(self, rows: Sequence[pa.Table]) -> float:
        """Insert into a new table, part by part."""
        self.client.command("DROP TABLE IF EXISTS bare")
        self.client.command(
            f"CREATE TABLE bare ({self._COLUMNS}, version UInt64 DEFAULT 0, gone UInt8 DEFAULT 0) "
            "ENGINE = ReplacingMergeTree(version, gone) ORDER BY id"
        )
        self._version = 0
        began = time.perf_counter()
        for part in rows:
            self.client.insert_arrow("bare", part)
        return time.perf_counter() - began

    def merge(self, upserts: pa.Table, deletes: pa.Table) -> float:
        """Insert what is new and a tombstone of what is gone, with a higher version."""
        self._version += 1
        began = time.perf_counter()
        for rows, gone in ((upserts, 0), (deletes, 1)):
            count = rows.num_rows
            marked = rows.append_column("version", pa.array([self._version] * count, pa.uint64()))
            marked = marked.append_column("gone", pa.array([gone] * count, pa.uint8()))
            self.client.insert_arrow("bare", marked)
        return time.perf_counter() - began

    def count(self) -> int:
        """Return the rows."""
        return int(self.client.command("SELECT count() FROM bare FINAL"))


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

    def load(self, rows: Sequence[pa.Table]) -> float:
        """Write a new table in one commit."""
        from deltalake import write_deltalake

        reader = pa.RecordBatchReader.from_batches(
            rows[0].schema, (batch for part in rows for batch in part.to_batches())
        )
        began = time.perf_counter()
        write_deltalake(self._place, reader, mode="overwrite")
        return time.perf_counter() - began

    def merge(self, upserts: pa.Table, deletes: pa.Table) -> float:
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
        began = time.perf_counter()
        merger = DeltaTable(self._place).merge(
            given, "t.id = s.id", source_alias="s", target_alias="t"
        )
        merger = merger.when_matched_delete("s.gone").when_matched_update(values)
        merger.when_not_matched_insert(values, predicate="NOT s.gone").execute()
        return time.perf_counter() - began

    def count(self) -> int:
        """Return the rows."""
        from deltalake import DeltaTable

        return int(DeltaTable(self._place).to_pyarrow_dataset().count_rows())
