"""The DuckDB sink: one database file, one schema per namespace, watermarks in schema `_cdc`.

In: reduced changes, appended changes, snapshot chunks as Arrow tables. Out: tables without
indexes, merged by DELETE USING + INSERT (docs/decisions/0002-duckdb-merge.md says why).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Self

import pyarrow as pa

from resources.errors import ConfigError, DirtyRowError
from resources.failpoints import failpoint
from resources.model.source import Finding
from resources.sinks import shape
from resources.sinks.bisect import Refusal, Rows, bisect_rejected
from resources.sinks.contract import (
    Capabilities,
    Fence,
    RejectedWrite,
    TargetId,
    TargetTable,
    Watermark,
    Written,
)
from resources.sinks.duckdb_catalog import DuckDBCatalog
from resources.sinks.duckdb_connection import DuckDBFile
from resources.sinks.duckdb_load import DuckDBLoads
from resources.sinks.duckdb_names import quote, quote_all
from resources.sinks.duckdb_types import from_storage, read_expression, to_storage
from resources.sinks.fence import moved_watermark


class DuckDBSink:
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

    Raises:
        ConfigError: `types` holds something else.
    """

    def __init__(
        self,
        path: str,
        *,
        lock_timeout: float = 30,
        memory_limit: str | None = None,
        threads: int | None = None,
        types: Mapping[str, str] | None = None,
    ) -> None:
        if types and dict(types) != {"decimal_overflow": "text"}:
            raise ConfigError(
                f"the DuckDB sink does not know the type settings {sorted(types)} as given",
                remedy="types: {decimal_overflow: text}",
            )
        self._file = DuckDBFile(path, lock_timeout, memory_limit, threads)
        self._catalog = DuckDBCatalog(self._file, text_decimals=bool(types))
        self._loads = DuckDBLoads(self._file, self._catalog)
        self.capabilities = Capabilities(
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
                self._catalog.store_schema(target)

    def drop_table(self, target: TargetId) -> None:
        """Drop the table, its watermarks and loads."""
        with self._file.transaction(str(target)) as connection:
            self._loads.drop_any(target)
            connection.execute(f"DROP TABLE IF EXISTS {self._catalog.name(target)}")
            self._catalog.forget(target)

    def read_table(self, target: TargetId) -> pa.Table:
        """Return all rows in the Arrow types the table was made for."""
        schema = self._catalog.read_schema(target)
        if schema is None:
            raise shape.no_table(target)
        columns = ", ".join(read_expression(f) for f in schema)
        query = f"SELECT {columns} FROM {self._catalog.name(target)}"  # noqa: S608 - quoted names
        return from_storage(self._file.connection.sql(query).to_arrow_table(), schema)

    def count_rows(self, target: TargetId) -> int:
        """Return the number of rows."""
        if self._catalog.columns(target) is None:
            raise shape.no_table(target)
        query = f"SELECT count(*) FROM {self._catalog.name(target)}"  # noqa: S608 - quoted name
        return int(self._file.connection.execute(query).fetchall()[0][0])

    def read_watermark(self, target: TargetId, pipeline: str) -> Watermark | None:
        """Return the watermark, None if there is none."""
        return self._catalog.read_watermark(target, pipeline)

    def list_watermarks(self, pipeline: str) -> dict[TargetId, Watermark]:
        """Return every watermark of a pipeline."""
        return self._catalog.list_watermarks(pipeline)

    def merge(
        self, target: TargetTable, upserts: pa.Table, deletes: pa.Table, fence: Fence
    ) -> Written:
        """Delete and upsert by key in one transaction; see `Sink.merge`."""
        shape.check_mode(target, "merge")
        shape.check_rows(target, upserts, shape.target_schema(target))
        shape.check_rows(target, deletes, shape.key_schema(target))
        with self._file.transaction(str(target.id)):
            self._move_watermark(target, fence)
            self._delete_keys(target, pa.concat_tables([_keys(target, upserts), deletes]))
            failpoint("sink.after_delete")
            self._insert(target, upserts)
            failpoint("sink.after_insert")
        failpoint("sink.after_commit")
        return Written(upserts.num_rows, deletes.num_rows)

    def append(self, target: TargetTable, rows: pa.Table, fence: Fence) -> Written:
        """Insert rows in one transaction; see `Sink.append`."""
        shape.check_mode(target, "append")
        shape.check_rows(target, rows, shape.target_schema(target))
        with self._file.transaction(str(target.id)):
            self._move_watermark(target, fence)
            self._insert(target, rows)
            failpoint("sink.after_insert")
        failpoint("sink.after_commit")
        return Written(rows.num_rows)

    def find_rejected(self, target: TargetTable, rows: pa.Table) -> list[RejectedWrite]:
        """Try the rows in transactions that are rolled back and name those refused.

        Where the table does not exist yet (a first load), one of the target's shape stands in.
        """
        shape.check_rows(target, rows, shape.target_schema(target))

        def trial(indices: Rows) -> Refusal | None:
            return self._try(target, rows.take(pa.array(indices)))

        return bisect_rejected(rows.num_rows, trial)

    def begin_load(self, target: TargetTable, load_id: str) -> None:
        """Prepare a load beside the live table; see `Sink.begin_load`."""
        self._loads.begin(target, load_id)

    def loaded_chunks(self, target: TargetId, load_id: str) -> dict[int, int]:
        """Return the chunks that are in, and their row counts."""
        return self._loads.chunks(target, load_id)

    def load_chunk(
        self, target: TargetTable, load_id: str, chunk: int, rows: Iterable[pa.Table]
    ) -> int:
        """Write one chunk and its mark in one transaction; see `Sink.load_chunk`."""
        return self._loads.write_chunk(target, load_id, chunk, rows)

    def finish_load(
        self, target: TargetTable, load_id: str, fence: Fence, consistent_from: int
    ) -> int:
        """Put the loaded rows in the live table's place; see `Sink.finish_load`."""
        return self._loads.finish(target, load_id, fence, consistent_from)

    def abandon_load(self, target: TargetId, load_id: str) -> None:
        """Drop a load that will not be finished."""
        self._loads.abandon(target, load_id)

    def close(self) -> None:
        """Release the file, so that other processes can open it."""
        self._file.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def _move_watermark(self, target: TargetTable, fence: Fence) -> None:
        """Compare and set within the open transaction; a racing writer fails at its commit."""
        self._catalog.require_fit(target, target.id.table)
        self._catalog.store_schema(target)
        found = self._catalog.read_watermark(target.id, fence.pipeline)
        mark = moved_watermark(target.id, found, fence)
        self._catalog.write_watermark(target.id, fence.pipeline, mark)
        failpoint("sink.after_fence")

    def _delete_keys(self, target: TargetTable, keys: pa.Table) -> None:
        if not keys.num_rows:
            return
        match = " AND ".join(f"live.{quote(k)} = gone.{quote(k)}" for k in target.schema.key)
        with self._file.registered("cdc_keys", to_storage(keys)) as gone:
            self._file.connection.execute(
                f"DELETE FROM {self._catalog.name(target.id)} AS live "  # noqa: S608 - quoted names
                f"USING {gone} AS gone WHERE {match}"
            )

    def _insert(self, target: TargetTable, rows: pa.Table) -> None:
        if not rows.num_rows:
            return
        columns = quote_all(rows.column_names)
        with self._file.registered("cdc_rows", to_storage(rows)) as view:
            self._file.connection.execute(
                f"INSERT INTO {self._catalog.name(target.id)} ({columns}) "  # noqa: S608
                f"SELECT {columns} FROM {view}"
            )

    def _try(self, target: TargetTable, rows: pa.Table) -> Refusal | None:
        try:
            with self._file.transaction(str(target.id)):
                if self._catalog.columns(target.id) is None:
                    self._catalog.create(target, target.id.table)
                if target.mode == "merge":
                    self._delete_keys(target, _keys(target, rows))
                self._insert(target, rows)
                raise _UndoTrial
        except DirtyRowError as error:
            return Refusal(error.field, error.message)
        except _UndoTrial:
            return None


class _UndoTrial(Exception):
    """Rolls back a trial whose rows were all taken."""


def _keys(target: TargetTable, rows: pa.Table) -> pa.Table:
    return rows.select(list(target.schema.key))
