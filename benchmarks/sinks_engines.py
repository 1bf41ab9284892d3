"""Bare loads and merges by engines that run in this process: DuckDB, ClickHouse's (chDB).

In: Arrow tables. Out: what their own fastest statements took, see `benchmarks.sinks_bare`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from benchmarks.clock import Clock, Spent
from benchmarks.sinks_bare import Closing

if TYPE_CHECKING:
    from resources.sinks.contract import Sink


class BareDuckDB(Closing):
    """A DuckDB file: INSERT … SELECT from Arrow, DELETE … USING and INSERT."""

    dlt = "duckdb"

    def __enter__(self) -> Self:
        """Open the file."""
        import duckdb

        self.db = self.stack.enter_context(duckdb.connect(str(self.folder / "bare.duckdb")))
        return self

    def open_sink(self) -> Sink:
        """Return our sink on a file of its own."""
        from resources.sinks.duckdb import DuckDBSink

        return DuckDBSink(str(self.folder / "ours.duckdb"))

    def load(self, rows: Sequence[pa.Table]) -> Spent:
        """Create and fill in one statement."""
        self.db.register("given", pa.concat_tables(rows))
        with Clock() as clock:
            self.db.execute("CREATE OR REPLACE TABLE t AS SELECT * FROM given")
        return clock.spent

    def merge(self, upserts: pa.Table, deletes: pa.Table) -> Spent:
        """Delete all touched keys, insert what is left."""
        keys = pa.concat_tables([upserts.select(["id"]), deletes])
        self.db.register("touched", keys)
        self.db.register("given", upserts)
        with Clock() as clock:
            self.db.execute(
                "BEGIN; DELETE FROM t USING touched k WHERE t.id = k.id; "
                "INSERT INTO t SELECT * FROM given; COMMIT"
            )
        return clock.spent

    def count(self) -> int:
        """Return the rows."""
        ((rows,),) = self.db.sql("SELECT count(*) FROM t").fetchall()
        return int(rows)


class BareClickHouse(Closing):
    """ClickHouse's engine (chDB): Arrow inserts into a ReplacingMergeTree."""

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

    def load(self, rows: Sequence[pa.Table]) -> Spent:
        """Insert into a new table, part by part."""
        self.client.command("DROP TABLE IF EXISTS bare")
        self.client.command(
            f"CREATE TABLE bare ({self._COLUMNS}, version UInt64 DEFAULT 0, gone UInt8 DEFAULT 0) "
            "ENGINE = ReplacingMergeTree(version, gone) ORDER BY id"
        )
        self._version = 0
        with Clock() as clock:
            for part in rows:
                self.client.insert_arrow("bare", part)
        return clock.spent

    def merge(self, upserts: pa.Table, deletes: pa.Table) -> Spent:
        """Insert what is new and a tombstone of what is gone, with a higher version."""
        self._version += 1
        marked = []
        for rows, gone in ((upserts, 0), (deletes, 1)):
            versions = pa.repeat(pa.scalar(self._version, pa.uint64()), rows.num_rows)
            flags = pa.repeat(pa.scalar(gone, pa.uint8()), rows.num_rows)
            marked.append(rows.append_column("version", versions).append_column("gone", flags))
        with Clock() as clock:
            for rows in marked:
                self.client.insert_arrow("bare", rows)
        return clock.spent

    def count(self) -> int:
        """Return the rows."""
        return int(self.client.command("SELECT count() FROM bare FINAL"))
