"""Snapshot loads into PostgreSQL: chunk by chunk beside the live table.

In: chunks as Arrow tables. Out: a table in `_cdc` with the target's columns, and chunk marks
committed with their rows. Once all are in it gets its primary key, in a transaction of its own:
nobody waits for that. Then `postgres_place` puts it in the live table's place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import partial

import pyarrow as pa

from resources.failpoints import failpoint
from resources.sinks import postgres_ledger as ledger
from resources.sinks.contract import Feed, Fence, TargetId, TargetTable, Watermark
from resources.sinks.fence import check_token
from resources.sinks.loading import insert_parts, own_load
from resources.sinks.postgres_catalog import PostgresCatalog
from resources.sinks.postgres_connection import PostgresDatabase, run
from resources.sinks.postgres_ledger import Load
from resources.sinks.postgres_place import PostgresPlacer
from resources.sinks.postgres_pool import Connection
from resources.sinks.postgres_write import PostgresRows
from resources.sinks.shape import (
    SHADOW_PREFIX,
    no_load,
    target_schema,
)


class PostgresLoads:
    """The loads of one database; at most one per feed and target.

    Args:
        database: Where they are.
        catalog: What tables look like.
        rows: Writes them.
    """

    def __init__(
        self, database: PostgresDatabase, catalog: PostgresCatalog, rows: PostgresRows
    ) -> None:
        self._database = database
        self._catalog = catalog
        self._rows = rows
        self._placer = PostgresPlacer(catalog, rows)

    def begin(self, target: TargetTable, load_id: str, feed: Feed) -> None:
        """Create the load's table unless it was begun before; drop the feed's other loads."""
        with self._database.transaction(str(target.id)) as connection:
            ledger.lock_name(connection, target.id)
            load = ledger.find_load(connection, target.id, load_id, lock="FOR UPDATE")
            if load is not None:
                own_load(load, target.id, load_id, feed)
                return
            for other in ledger.loads_of(connection, target.id, feed):
                self._drop(connection, target.id, other)
            load = Load(load_id, _shadow_name(target.id, load_id), feed)
            self._catalog.create(connection, target, load.place, bare=True)
            failpoint("sink.load.after_create")
            ledger.add_load(connection, target.id, load)
            failpoint("sink.load.after_begin")

    def chunks(self, target: TargetId, load_id: str) -> dict[int, int]:
        """Return row counts by the number of the chunks that are in."""
        with self._database.reading(str(target)) as connection:
            return ledger.read_chunks(connection, target, load_id)

    def write_chunk(
        self, target: TargetTable, load_id: str, chunk: int, rows: Iterable[pa.Table]
    ) -> int:
        """Insert a chunk's parts as they come and its mark, in one transaction."""
        with self._database.transaction(f"{target.id}, chunk {chunk}") as connection:
            load = ledger.find_load(connection, target.id, load_id, lock="FOR SHARE")
            if load is None:
                raise no_load(target.id, load_id)
            done = ledger.read_chunk(connection, target.id, load_id, chunk)
            if done is not None:
                return done
            if load.rows is not None:
                raise no_load(target.id, load_id)
            self._catalog.require_fit(connection, target, load.place)
            insert = partial(self._rows.load, connection, target, load.place)
            count = insert_parts(target, load.feed, rows, insert)
            ledger.add_chunk(connection, target.id, load_id, chunk, count)
            failpoint("sink.load.after_mark")
        failpoint("sink.load.after_commit")
        return count

    def conflicts(self, target: TargetTable, load_id: str, feed: Feed) -> pa.Table:
        """Return the loaded rows whose keys other feeds have; see `Sink.load_conflicts`."""
        with self._database.reading(str(target.id)) as connection:
            load = ledger.find_load(connection, target.id, load_id)
            load = own_load(load, target.id, load_id, feed)
            if load.rows is not None:
                return target_schema(target).empty_table()
            return self._placer.read_conflicts(connection, target, load)

    def finish(
        self,
        target: TargetTable,
        load_id: str,
        fence: Fence,
        consistent_from: int,
        keep: Sequence[str],
        conflicts: int,
    ) -> int:
        """Put the rows in place and set the watermark, in one transaction."""
        self._complete(target, load_id)
        with self._database.transaction(str(target.id)) as connection:
            found = ledger.read_watermark(connection, target.id, fence.feed, lock=True)
            load = ledger.find_load(connection, target.id, load_id, lock="FOR UPDATE")
            load = own_load(load, target.id, load_id, fence.feed)
            if load.rows is not None:
                return load.rows
            check_token(target.id, found, fence)
            loaded = sum(ledger.read_chunks(connection, target.id, load_id).values())
            count = loaded - self._placer.place(connection, target, load, keep, conflicts)
            ledger.set_finished(connection, target.id, load_id, count)
            mark = Watermark(fence.new, consistent_from, fence.token)
            first = found is None
            ledger.write_watermark(connection, target.id, fence, mark, first=first)
            failpoint("sink.finish.after_watermark")
        failpoint("sink.finish.after_commit")
        return count

    def _complete(self, target: TargetTable, load_id: str) -> None:
        """Give an unfinished load's table its key and upkeep; a large one takes minutes."""
        with self._database.transaction(str(target.id)) as connection:
            load = ledger.find_load(connection, target.id, load_id, lock="FOR UPDATE")
            if load is not None and load.rows is None:
                self._catalog.complete(connection, target, load.place)

    def abandon(self, target: TargetId, load_id: str) -> None:
        """Drop an unfinished load of this id."""
        with self._database.transaction(str(target)) as connection:
            load = ledger.find_load(connection, target, load_id, lock="FOR UPDATE")
            if load is not None and load.rows is None:
                self._drop(connection, target, load)

    def drop_all(self, connection: Connection, target: TargetId) -> None:
        """Drop every load of a table; call it within a transaction."""
        for load in ledger.loads_of(connection, target):
            self._drop(connection, target, load)

    def _drop(self, connection: Connection, target: TargetId, load: Load) -> None:
        run(connection, f"DROP TABLE IF EXISTS {self._catalog.name(load.place)}")
        ledger.remove_load(connection, target, load.id)


def _shadow_name(target: TargetId, load_id: str) -> str:
    text = f"{target.namespace}\0{target.table}\0{load_id}"
    return SHADOW_PREFIX + hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
