"""Snapshot loads into DuckDB: chunk by chunk beside the live table, then put in its place.

In: chunks as Arrow tables. Out: a shadow table in the target's schema, chunk marks committed
with their rows, and one transaction that swaps the shadow in and sets the watermark.

The shadow lies in the target's own schema since DuckDB renames tables but does not move them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from resources.failpoints import failpoint
from resources.sinks.contract import Fence, TargetId, TargetTable, Watermark
from resources.sinks.duckdb_catalog import DuckDBCatalog
from resources.sinks.duckdb_connection import DuckDBFile
from resources.sinks.duckdb_names import quote
from resources.sinks.duckdb_types import to_storage
from resources.sinks.fence import check_token
from resources.sinks.shape import SHADOW_PREFIX, check_rows, no_load, target_schema

ROW_GROUP = 122_880
"""Rows DuckDB stores together."""
INSERT_BYTES = 32 << 20
"""Arrow bytes of parts that are inserted together, the last one on top."""


@dataclass(frozen=True)
class _Load:
    id: str
    shadow: str
    finished: bool


class DuckDBLoads:
    """The loads of one DuckDB file; at most one per target.

    Args:
        file: The database file.
        catalog: Its tables and ledger.
    """

    def __init__(self, file: DuckDBFile, catalog: DuckDBCatalog) -> None:
        self._file = file
        self._catalog = catalog

    def begin(self, target: TargetTable, load_id: str) -> None:
        """Create the shadow table unless this load was begun before; drop other loads'."""
        with self._file.transaction(str(target.id)) as connection:
            load = self._load(target.id)
            if load is not None and load.id == load_id:
                return
            if load is not None:
                self._drop(target.id, load)
            shadow = _shadow_name(target.id, load_id)
            self._catalog.create(target, shadow)
            failpoint("sink.load.after_create")
            connection.execute(
                f"INSERT INTO {self._file.ledger('loads')} VALUES (?, ?, ?, ?, false)",  # noqa: S608
                [target.id.namespace, target.id.table, load_id, shadow],
            )
            failpoint("sink.load.after_begin")

    def chunks(self, target: TargetId, load_id: str) -> dict[int, int]:
        """Return row counts by the number of the chunks that are in."""
        rows = self._file.connection.execute(
            f"SELECT chunk, rows FROM {self._file.ledger('loaded_chunks')} "  # noqa: S608
            "WHERE namespace = ? AND target = ? AND load_id = ?",
            [target.namespace, target.table, load_id],
        ).fetchall()
        return dict(rows)

    def write_chunk(
        self, target: TargetTable, load_id: str, chunk: int, rows: Iterable[pa.Table]
    ) -> int:
        """Insert a chunk's parts as they come and its mark, in one transaction."""
        with self._file.transaction(f"{target.id}, chunk {chunk}") as connection:
            load = self._load(target.id)
            if load is None or load.id != load_id:
                raise no_load(target.id, load_id)
            done = self.chunks(target.id, load_id)
            if chunk in done:
                return done[chunk]
            if load.finished:
                raise no_load(target.id, load_id)
            self._catalog.require_fit(target, load.shadow)
            name = self._file.name(target.id.namespace, load.shadow)
            count = 0
            for part in _gathered(target, rows):
                with self._file.registered("cdc_rows", to_storage(part)) as view:
                    connection.execute(f"INSERT INTO {name} SELECT * FROM {view}")  # noqa: S608
                count += part.num_rows
                failpoint("sink.load.after_rows")
            connection.execute(
                f"INSERT INTO {self._file.ledger('loaded_chunks')} VALUES (?, ?, ?, ?, ?)",  # noqa: S608
                [target.id.namespace, target.id.table, load_id, chunk, count],
            )
            failpoint("sink.load.after_mark")
        failpoint("sink.load.after_commit")
        return count

    def finish(self, target: TargetTable, load_id: str, fence: Fence, consistent_from: int) -> int:
        """Swap the shadow in and set the watermark, in one transaction."""
        with self._file.transaction(str(target.id)) as connection:
            load = self._load(target.id)
            if load is None or load.id != load_id:
                raise no_load(target.id, load_id)
            count = sum(self.chunks(target.id, load_id).values())
            if load.finished:
                return count
            found = self._catalog.read_watermark(target.id, fence.pipeline)
            check_token(target.id, found, fence)
            self._catalog.require_fit(target, load.shadow)
            connection.execute(f"DROP TABLE IF EXISTS {self._catalog.name(target.id)}")
            failpoint("sink.finish.after_drop")
            shadow = self._file.name(target.id.namespace, load.shadow)
            connection.execute(f"ALTER TABLE {shadow} RENAME TO {quote(target.id.table)}")
            failpoint("sink.finish.after_swap")
            self._catalog.store_schema(target)
            connection.execute(
                f"UPDATE {self._file.ledger('loads')} SET finished = true "  # noqa: S608
                "WHERE namespace = ? AND target = ?",
                [target.id.namespace, target.id.table],
            )
            mark = Watermark(fence.new, consistent_from, fence.token)
            self._catalog.write_watermark(target.id, fence.pipeline, mark)
            failpoint("sink.finish.after_watermark")
        failpoint("sink.finish.after_commit")
        return count

    def abandon(self, target: TargetId, load_id: str) -> None:
        """Drop an unfinished load of this id."""
        with self._file.transaction(str(target)):
            load = self._load(target)
            if load is not None and load.id == load_id and not load.finished:
                self._drop(target, load)

    def drop_any(self, target: TargetId) -> None:
        """Drop whatever load there is; call it within a transaction."""
        load = self._load(target)
        if load is not None:
            self._drop(target, load)

    def _load(self, target: TargetId) -> _Load | None:
        rows = self._file.connection.execute(
            f"SELECT load_id, shadow, finished FROM {self._file.ledger('loads')} "  # noqa: S608
            "WHERE namespace = ? AND target = ?",
            [target.namespace, target.table],
        ).fetchall()
        return _Load(*rows[0]) if rows else None

    def _drop(self, target: TargetId, load: _Load) -> None:
        connection = self._file.connection
        connection.execute(f"DROP TABLE IF EXISTS {self._file.name(target.namespace, load.shadow)}")
        for table in ("loads", "loaded_chunks"):
            connection.execute(
                f"DELETE FROM {self._file.ledger(table)} "  # noqa: S608 - quoted name
                "WHERE namespace = ? AND target = ?",
                [target.namespace, target.table],
            )


def _gathered(target: TargetTable, parts: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Check parts and yield small ones together: DuckDB stores what one INSERT brings at once."""
    held: list[pa.Table] = []
    rows = size = 0
    for part in parts:
        check_rows(target, part, target_schema(target))
        held.append(part)
        rows, size = rows + part.num_rows, size + part.nbytes
        if rows >= ROW_GROUP or size >= INSERT_BYTES:
            yield pa.concat_tables(held)
            held, rows, size = [], 0, 0
    if held:
        yield pa.concat_tables(held)


def _shadow_name(target: TargetId, load_id: str) -> str:
    text = f"{target.table}\0{load_id}"
    return SHADOW_PREFIX + hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
