"""Snapshot loads into DuckDB: chunk by chunk beside the live table, then put in its place.

In: chunks as Arrow tables. Out: a shadow table in the target's schema, chunk marks committed
with their rows, and one transaction that swaps or folds the shadow in and sets the watermark.

The shadow lies in the target's own schema since DuckDB renames tables but does not move them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from resources.failpoints import failpoint
from resources.model.table import TableId
from resources.sinks import shape
from resources.sinks.contract import Feed, Fence, TargetId, TargetTable, Watermark
from resources.sinks.duckdb_catalog import DuckDBCatalog
from resources.sinks.duckdb_connection import DuckDBFile
from resources.sinks.duckdb_fold import DuckDBFold
from resources.sinks.duckdb_names import quote, quote_all
from resources.sinks.duckdb_types import to_storage
from resources.sinks.duckdb_watermarks import DuckDBWatermarks
from resources.sinks.fence import check_token
from resources.sinks.sql import delete, insert, select, update

ROW_GROUP = 122_880
"""Rows DuckDB stores together."""
INSERT_BYTES = 32 << 20
"""Arrow bytes of parts that are inserted together, the last one on top."""
_OF_LOAD = "WHERE namespace = ? AND target = ? AND load_id = ?"


@dataclass(frozen=True)
class _Load:
    id: str
    feed: Feed
    """Of an empty pipeline where an older version began the load."""
    shadow: str
    rows: int | None
    """The row count once it is finished."""

    def is_of(self, feed: Feed) -> bool:
        return self.feed in (feed, Feed("", feed.table))


class DuckDBLoads:
    """The loads of one DuckDB file; at most one per target and feed.

    Args:
        file: The database file.
        catalog: Its tables.
        watermarks: Its watermarks.
    """

    def __init__(
        self, file: DuckDBFile, catalog: DuckDBCatalog, watermarks: DuckDBWatermarks
    ) -> None:
        self._file = file
        self._catalog = catalog
        self._watermarks = watermarks

    def begin(self, target: TargetTable, load_id: str, feed: Feed) -> None:
        """Create the shadow table unless this load was begun before; drop the feed's others."""
        with self._file.transaction(str(target.id)) as connection:
            loads = self._loads(target.id)
            if load_id in loads:
                self._require(loads, target.id, load_id, feed)
                return
            for load in loads.values():
                if load.is_of(feed):
                    self._drop(target.id, load)
            shadow = _shadow_name(target.id, load_id)
            self._catalog.create(target, shadow)
            failpoint("sink.load.after_create")
            connection.execute(
                insert(self._file.ledger("loads"), "", "VALUES (?, ?, ?, ?, ?, ?, ?, NULL)"),
                [
                    *(target.id.namespace, target.id.table, load_id, feed.pipeline),
                    *(feed.table.database, feed.table.table, shadow),
                ],
            )
            failpoint("sink.load.after_begin")

    def chunks(self, target: TargetId, load_id: str) -> dict[int, int]:
        """Return row counts by the number of the chunks that are in."""
        rows = self._file.connection.execute(
            select("chunk, rows", self._file.ledger("loaded_chunks"), _OF_LOAD),
            [target.namespace, target.table, load_id],
        ).fetchall()
        return dict(rows)

    def write_chunk(
        self, target: TargetTable, load_id: str, chunk: int, rows: Iterable[pa.Table]
    ) -> int:
        """Insert a chunk's parts as they come and its mark, in one transaction."""
        with self._file.transaction(f"{target.id}, chunk {chunk}") as connection:
            load = self._require(self._loads(target.id), target.id, load_id)
            done = self.chunks(target.id, load_id)
            if chunk in done:
                return done[chunk]
            if load.rows is not None:
                raise shape.no_load(target.id, load_id)
            self._catalog.require_fit(target, load.shadow)
            name = self._file.name(target.id.namespace, load.shadow)
            columns = quote_all(f.name for f in shape.target_schema(target))
            count = 0
            for part in _gathered(target, rows):
                shape.check_owner(target, part, load.feed)
                with self._file.registered("cdc_rows", to_storage(part)) as view:
                    connection.execute(insert(name, columns, select(columns, view)))
                count += part.num_rows
                failpoint("sink.load.after_rows")
            connection.execute(
                insert(self._file.ledger("loaded_chunks"), "", "VALUES (?, ?, ?, ?, ?)"),
                [target.id.namespace, target.id.table, load_id, chunk, count],
            )
            failpoint("sink.load.after_mark")
        failpoint("sink.load.after_commit")
        return count

    def conflicts(self, target: TargetTable, load_id: str, feed: Feed) -> pa.Table:
        """Return the loaded rows whose keys other feeds have; see `Sink.load_conflicts`."""
        load = self._require(self._loads(target.id), target.id, load_id, feed)
        live = self._catalog.read_schema(target.id)
        if not target.owner or load.rows is not None or live is None:
            return shape.target_schema(target).empty_table()
        return self._fold(target, load, feed, live, ()).conflicts()

    def finish(
        self,
        target: TargetTable,
        load_id: str,
        fence: Fence,
        consistent_from: int,
        keep: Sequence[str],
        conflicts: int,
    ) -> int:
        """Swap the shadow in, or fold it in, and set the watermark, in one transaction."""
        alone = target.id if target.owner else None
        with self._file.transaction(str(target.id), alone=alone):
            load = self._require(self._loads(target.id), target.id, load_id, fence.feed)
            if load.rows is not None:
                return load.rows
            check_token(target.id, self._watermarks.read(target.id, fence.feed), fence)
            self._catalog.require_fit(target, load.shadow)
            live = self._catalog.read_schema(target.id)
            shape.check_keep(target, live, keep)
            fold = None
            kept = target.existing == "kept" and not target.owner
            if kept and live is not None and not keep:
                self._catalog.require_fit(target, target.id.table)
            if live is not None and (target.owner or keep or kept):
                fold = self._fold(target, load, fence.feed, live, keep)
            found = 0 if fold is None else fold.count_conflicts()
            if found != conflicts:
                raise shape.conflicts_changed(target.id, load_id, conflicts, found)
            if fold is None:
                self._swap(target, load)
            else:
                fold.run()
            count = sum(self.chunks(target.id, load_id).values()) - found
            self._mark_finished(target.id, load_id, count)
            mark = Watermark(fence.new, consistent_from, fence.token)
            self._watermarks.write(target.id, fence.feed, mark)
            failpoint("sink.finish.after_watermark")
        failpoint("sink.finish.after_commit")
        return count

    def abandon(self, target: TargetId, load_id: str) -> None:
        """Drop an unfinished load of this id."""
        with self._file.transaction(str(target)):
            load = self._loads(target).get(load_id)
            if load is not None and load.rows is None:
                self._drop(target, load)

    def drop_all(self, target: TargetId) -> None:
        """Drop whatever loads there are; call it within a transaction."""
        for load in self._loads(target).values():
            self._drop(target, load)

    def _swap(self, target: TargetTable, load: _Load) -> None:
        connection = self._file.connection
        connection.execute(f"DROP TABLE IF EXISTS {self._catalog.name(target.id)}")
        failpoint("sink.finish.after_drop")
        shadow = self._file.name(target.id.namespace, load.shadow)
        connection.execute(f"ALTER TABLE {shadow} RENAME TO {quote(target.id.table)}")
        failpoint("sink.finish.after_swap")
        self._catalog.store_schema(target.id, shape.target_schema(target))

    def _fold(
        self, target: TargetTable, load: _Load, feed: Feed, live: pa.Schema, keep: Sequence[str]
    ) -> DuckDBFold:
        shadow = self._file.name(target.id.namespace, load.shadow)
        return DuckDBFold(self._file, target, shadow, feed, live, frozenset(keep))

    def _mark_finished(self, target: TargetId, load_id: str, rows: int) -> None:
        self._file.connection.execute(
            update(self._file.ledger("loads"), "rows = ?", _OF_LOAD),
            [rows, target.namespace, target.table, load_id],
        )

    def _loads(self, target: TargetId) -> dict[str, _Load]:
        rows = self._file.connection.execute(
            select(
                "load_id, pipeline, source_database, source_table, shadow, rows",
                self._file.ledger("loads"),
                "WHERE namespace = ? AND target = ?",
            ),
            [target.namespace, target.table],
        ).fetchall()
        return {r[0]: _Load(r[0], Feed(r[1], TableId(*r[2:4])), *r[4:]) for r in rows}

    def _require(
        self, loads: dict[str, _Load], target: TargetId, load_id: str, feed: Feed | None = None
    ) -> _Load:
        """Return a load, begun by the feed if one is given.

        Raises:
            TerminalError: There is none of this id, or another feed's.
        """
        load = loads.get(load_id)
        if load is None:
            raise shape.no_load(target, load_id)
        if feed is not None and not load.is_of(feed):
            raise shape.load_of_another(target, load_id, str(load.feed))
        return load

    def _drop(self, target: TargetId, load: _Load) -> None:
        connection = self._file.connection
        connection.execute(f"DROP TABLE IF EXISTS {self._file.name(target.namespace, load.shadow)}")
        for table in ("loads", "loaded_chunks"):
            connection.execute(
                delete(self._file.ledger(table), _OF_LOAD),
                [target.namespace, target.table, load.id],
            )


def _gathered(target: TargetTable, parts: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Check parts and yield small ones together: DuckDB stores what one INSERT brings at once."""
    held: list[pa.Table] = []
    rows = size = 0
    for part in parts:
        shape.check_rows(target, part, shape.target_schema(target))
        held.append(part)
        rows, size = rows + part.num_rows, size + part.nbytes
        if rows >= ROW_GROUP or size >= INSERT_BYTES:
            yield pa.concat_tables(held)
            held, rows, size = [], 0, 0
    if held:
        yield pa.concat_tables(held)


def _shadow_name(target: TargetId, load_id: str) -> str:
    text = f"{target.table}\0{load_id}"
    return shape.SHADOW_PREFIX + hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
