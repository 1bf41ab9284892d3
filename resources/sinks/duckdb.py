"""The DuckDB sink: one database file, one schema per namespace, watermarks in schema `_cdc`.

In: reduced changes, appended changes, snapshot chunks as Arrow tables. Out: tables without
indexes, merged by DELETE USING + INSERT (docs/decisions/0002-duckdb-merge.md says why).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from resources.failpoints import failpoint
from resources.model.column_change import ColumnChange
from resources.model.source import Finding
from resources.model.table import TableId
from resources.sinks import shape
from resources.sinks.contract import (
    Capabilities,
    Feed,
    Fence,
    RejectedWrite,
    TargetId,
    TargetTable,
    Watermark,
    Written,
)
from resources.sinks.create_table import create_rules
from resources.sinks.create_template import PLACES
from resources.sinks.decimal_text import keeps_as_text
from resources.sinks.duckdb_alter import KINDS, DuckDBColumns
from resources.sinks.duckdb_catalog import DuckDBCatalog
from resources.sinks.duckdb_connection import DuckDBFile
from resources.sinks.duckdb_load import DuckDBLoads
from resources.sinks.duckdb_rows import DuckDBRows, keys_of
from resources.sinks.duckdb_types import from_storage, read_expression
from resources.sinks.duckdb_watermarks import DuckDBWatermarks
from resources.sinks.loading import LoadingSink
from resources.sinks.sql import select


class DuckDBSink(LoadingSink):
    """Target tables in a DuckDB file.

    The file is opened by the first call that needs it and held until `close`; meanwhile no
    other process can open it.

    Args:
        path: The database file; it is created if missing, its folder is not.
        lock_timeout: Seconds to wait while another process has the file open.
        memory_limit: DuckDB's `memory_limit`, e.g. `2GB`; None leaves its default.
        threads: DuckDB's `threads`; None leaves its default.
        types: `{"decimal_overflow": "text"}` keeps DECIMAL beyond 38 digits as VARCHAR; without
            it such columns are refused before start.
        create_table: How tables are created, as mappings of `CreateRule` without `options`.

    Raises:
        ConfigError: `types` holds something else.
    """

    _loads: DuckDBLoads

    def __init__(
        self,
        path: str,
        *,
        lock_timeout: float = 30,
        memory_limit: str | None = None,
        threads: int | None = None,
        types: Mapping[str, str] | None = None,
        create_table: Sequence[Mapping[str, object]] = (),
    ) -> None:
        text_decimals = keeps_as_text("DuckDB", types)
        self._file = DuckDBFile(path, lock_timeout, memory_limit, threads)
        self._catalog = DuckDBCatalog(self._file, text_decimals, create_rules(create_table, PLACES))
        self._columns = DuckDBColumns(self._file, self._catalog)
        self._rows = DuckDBRows(self._file, self._catalog)
        self._watermarks = DuckDBWatermarks(self._file)
        self._loads = DuckDBLoads(self._file, self._catalog, self._watermarks)
        self.capabilities = Capabilities(
            schema_changes=KINDS,
            folds_case=True,
            max_connections=1,
            decimal_precision=76 if types else 38,
            refused_types=frozenset() if types else frozenset({"decimal256"}),
        )

    def check_table(self, target: TargetTable) -> list[Finding]:
        """Return findings about names, types, key, and a table there that does not fit."""
        return self._catalog.check(target)

    def read_schema(self, target: TargetId) -> pa.Schema | None:
        """Return the columns there are now, in the Arrow types they were made for."""
        return self._catalog.read_schema(target)

    def create_table(self, target: TargetTable) -> None:
        """Create the table and its schema if they are missing; key columns are NOT NULL."""
        with self._file.transaction(str(target.id)):
            if self._catalog.columns(target.id) is None:
                self._catalog.create(target, target.id.table)
                self._catalog.store_schema(target.id, shape.target_schema(target))

    def drop_table(self, target: TargetId) -> None:
        """Drop the table, its watermarks and loads."""
        with self._file.transaction(str(target)) as connection:
            self._loads.drop_all(target)
            connection.execute(f"DROP TABLE IF EXISTS {self._catalog.name(target)}")
            self._catalog.forget(target)

    def read_table(self, target: TargetId) -> pa.Table:
        """Return all rows in the Arrow types the table was made for."""
        schema = self._catalog.read_schema(target)
        if schema is None:
            raise shape.no_table(target)
        columns = ", ".join(read_expression(f) for f in schema)
        query = select(columns, self._catalog.name(target))
        return from_storage(self._file.connection.sql(query).to_arrow_table(), schema)

    def count_rows(self, target: TargetId) -> int:
        """Return the number of rows."""
        if self._catalog.columns(target) is None:
            raise shape.no_table(target)
        query = select("count(*)", self._catalog.name(target))
        return int(self._file.connection.execute(query).fetchall()[0][0])

    def alter_table(self, target: TargetId, changes: Sequence[ColumnChange]) -> None:
        """Change a table's columns in one transaction; see `Sink.alter_table`."""
        self._columns.alter(target, changes)

    def render_changes(self, target: TargetId, changes: Sequence[ColumnChange]) -> list[str]:
        """Return the statements `alter_table` would run, for a person to read."""
        return self._columns.render(target, changes)

    def execute(self, statements: Sequence[str]) -> None:
        """Run statements a person gave, in one transaction; see `Sink.execute`."""
        self._columns.execute(statements)

    def read_watermark(self, target: TargetId, feed: Feed) -> Watermark | None:
        """Return a feed's watermark, None if there is none."""
        return self._watermarks.read(target, feed)

    def list_watermarks(self, pipeline: str) -> dict[tuple[TargetId, TableId], Watermark]:
        """Return every watermark of a pipeline, by target and source table."""
        return self._watermarks.list(pipeline)

    def list_feeds(self, target: TargetId) -> list[Feed]:
        """Return every feed that has a watermark in a table, sorted."""
        return list(self._watermarks.feeds(target))

    def merge(
        self, target: TargetTable, upserts: pa.Table, deletes: pa.Table, fence: Fence
    ) -> Written:
        """Delete and upsert by key in one transaction; see `Sink.merge`."""
        shape.check_merge(target, upserts, deletes, fence.feed)
        with self._file.transaction(str(target.id), alone=_contended(target)):
            self._move_watermark(target, fence)
            touched = pa.concat_tables([keys_of(target, upserts), deletes])
            self._rows.delete(target, touched, fence.feed)
            failpoint("sink.after_delete")
            self._rows.refuse_foreign(target, upserts)
            self._rows.insert(target, upserts)
            failpoint("sink.after_insert")
        failpoint("sink.after_commit")
        return Written(upserts.num_rows, deletes.num_rows)

    def truncate(self, target: TargetTable, fence: Fence) -> int:
        """Delete all rows, of a shared table the feed's, in one transaction."""
        with self._file.transaction(str(target.id)):
            self._move_watermark(target, fence)
            deleted = self._rows.delete_all(target, fence.feed)
            failpoint("sink.after_delete")
        failpoint("sink.after_commit")
        return deleted

    def append(self, target: TargetTable, rows: pa.Table, fence: Fence) -> Written:
        """Insert rows in one transaction; see `Sink.append`."""
        shape.check_append(target, rows, fence.feed)
        with self._file.transaction(str(target.id)):
            self._move_watermark(target, fence)
            self._rows.insert(target, rows)
            failpoint("sink.after_insert")
        failpoint("sink.after_commit")
        return Written(rows.num_rows)

    def find_rejected(self, target: TargetTable, rows: pa.Table) -> list[RejectedWrite]:
        """Try the rows in transactions that are rolled back and name those refused."""
        shape.check_rows(target, rows, shape.target_schema(target))
        return self._rows.find_rejected(target, rows)

    def close(self) -> None:
        """Release the file, so that other processes can open it."""
        self._file.close()

    def _move_watermark(self, target: TargetTable, fence: Fence) -> None:
        """Compare and set within the open transaction; a racing writer fails at its commit."""
        self._catalog.require_fit(target, target.id.table)
        self._catalog.store_schema(target.id, shape.target_schema(target))
        self._watermarks.move(target.id, fence)
        failpoint("sink.after_fence")


def _contended(target: TargetTable) -> TargetId | None:
    """Return the table where merges of several feeds may bring the same new key at once."""
    return target.id if target.owner else None
