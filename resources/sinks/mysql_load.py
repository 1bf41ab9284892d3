"""Snapshot loads into MySQL-family servers: chunk by chunk beside the live table.

In: chunks as Arrow tables. Out: a table in `_cdc` with the target's columns and key, and chunk
marks committed with their rows. `mysql_place` puts it in the live table's place.

A load's row of the ledger is there before its table and after it is gone from the ledger its table
is dropped: a table of a load that the ledger does not know belongs to nobody.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from functools import partial

import pyarrow as pa

from resources.failpoints import failpoint
from resources.sinks import mysql_ledger as ledger
from resources.sinks.contract import Feed, Fence, TargetId, TargetTable, Watermark
from resources.sinks.loading import insert_parts, own_load
from resources.sinks.mysql_catalog import MySQLCatalog
from resources.sinks.mysql_connection import MySQLDatabase, committed, run
from resources.sinks.mysql_ledger import Load
from resources.sinks.mysql_place import SWAPPED_PREFIX, MySQLPlacer
from resources.sinks.mysql_session import Session
from resources.sinks.mysql_write import TRIED_PREFIX, MySQLRows
from resources.sinks.shape import (
    RESERVED_NAMESPACE,
    SHADOW_PREFIX,
    no_load,
    target_schema,
)

_LEFT_OVER = """
SELECT table_name, create_time < NOW() - INTERVAL 1 DAY FROM information_schema.tables
WHERE table_schema = %s AND table_type = 'BASE TABLE'"""


class MySQLLoads:
    """The loads of one server; at most one per feed and target.

    Args:
        database: Where they are.
        catalog: What tables look like.
        rows: Writes them.
    """

    def __init__(self, database: MySQLDatabase, catalog: MySQLCatalog, rows: MySQLRows) -> None:
        self._database = database
        self._catalog = catalog
        self._rows = rows
        self._placer = MySQLPlacer(catalog, rows)

    def begin(self, target: TargetTable, load_id: str, feed: Feed) -> None:
        """Create the load's table unless it was begun before; drop the feed's other loads."""
        with self._database.session(str(target.id)) as session:
            self._sweep(session)
            with committed(session):
                self._catalog.touch(session, target.id, missing=True)
                ledger.settle(session, target.id)
                load = ledger.find_load(session, target.id, load_id, lock="FOR UPDATE")
                others: list[Load] = []
                if load is not None:
                    own_load(load, target.id, load_id, feed)
                else:
                    others = ledger.loads_of(session, target.id, feed)
                    for other in others:
                        ledger.remove_load(session, target.id, other.id)
                    load = Load(load_id, SHADOW_PREFIX + uuid.uuid4().hex[:16], feed)
                    ledger.add_load(session, target.id, load)
            self._drop(session, others)
            if not load.finished:
                self._catalog.create(session, target, load.place)
            failpoint("sink.load.after_create")
            failpoint("sink.load.after_begin")

    def chunks(self, target: TargetId, load_id: str) -> dict[int, int]:
        """Return row counts by the number of the chunks that are in."""
        with self._database.session(str(target)) as session:
            return ledger.read_chunks(session, target, load_id)

    def write_chunk(
        self, target: TargetTable, load_id: str, chunk: int, rows: Iterable[pa.Table]
    ) -> int:
        """Insert a chunk's parts as they come and its mark, in one transaction."""
        with self._database.transaction(f"{target.id}, chunk {chunk}") as session:
            load = ledger.find_load(session, target.id, load_id, lock="LOCK IN SHARE MODE")
            if load is None:
                raise no_load(target.id, load_id)
            done = ledger.read_chunks(session, target.id, load_id)
            if chunk in done:
                return done[chunk]
            if load.finished or (load.swapping and not ledger.exists(session, load.place)):
                raise no_load(target.id, load_id)
            self._catalog.require_fit(session, target, load.place)
            insert = partial(self._rows.insert, session, target, load.place)
            count = insert_parts(target, load.feed, rows, insert)
            ledger.add_chunk(session, target.id, load_id, chunk, count)
            failpoint("sink.load.after_mark")
        failpoint("sink.load.after_commit")
        return count

    def conflicts(self, target: TargetTable, load_id: str, feed: Feed) -> pa.Table:
        """Return the loaded rows whose keys other feeds have; see `Sink.load_conflicts`."""
        with self._database.session(str(target.id)) as session:
            load = _own(session, target.id, load_id, feed)
            if load.finished or not ledger.exists(session, load.place):
                return target_schema(target).empty_table()
            return self._placer.read_conflicts(session, target, load)

    def finish(
        self,
        target: TargetTable,
        load_id: str,
        fence: Fence,
        consistent_from: int,
        keep: Sequence[str],
        conflicts: int,
    ) -> int:
        """Put the rows in place and set the watermark; see `MySQLPlacer`."""
        mark = Watermark(fence.new, consistent_from, fence.token)
        with self._database.session(str(target.id)) as session:
            with committed(session):
                self._catalog.touch(session, target.id, missing=True)
                load = _own(session, target.id, load_id, fence.feed, lock="FOR UPDATE")
                ledger.settle(session, target.id)
                load = _own(session, target.id, load_id, fence.feed)
            if not load.finished:
                loaded = sum(ledger.read_chunks(session, target.id, load_id).values())
                self._placer.prepare(session, target, load, keep)
                load = self._placer.place(
                    session, target, load, fence, mark, (loaded, conflicts), keep
                )
            count = load.rows or 0
            self._drop_shadows(session, {load.shadow, SWAPPED_PREFIX + load.shadow})
        failpoint("sink.finish.after_commit")
        return count

    def abandon(self, target: TargetId, load_id: str) -> None:
        """Drop an unfinished load of this id."""
        with self._database.session(str(target)) as session:
            with committed(session):
                self._catalog.touch(session, target, missing=True)
                ledger.settle(session, target)
                load = ledger.find_load(session, target, load_id, lock="FOR UPDATE")
                if load is not None and not load.finished:
                    ledger.remove_load(session, target, load.id)
            if load is not None and not load.finished:
                self._drop(session, [load])

    def forget(self, session: Session, target: TargetId) -> None:
        """Drop every load of a table and all the ledger has of it; not within a transaction."""
        with committed(session):
            loads = ledger.loads_of(session, target)
            ledger.forget(session, target)
        self._drop(session, loads)

    def _drop(self, session: Session, loads: Iterable[Load]) -> None:
        self._drop_shadows(session, {load.shadow for load in loads})

    def _drop_shadows(self, session: Session, names: set[str]) -> None:
        for name in sorted(names):
            place = TargetId(RESERVED_NAMESPACE, name)
            if ledger.exists(session, place):
                run(session, f"DROP TABLE IF EXISTS {self._catalog.name(session.server, place)}")

    def _sweep(self, session: Session) -> None:
        """Drop the tables that writers who died have left; what is listed first is looked up."""
        listed = run(session, _LEFT_OVER, [RESERVED_NAMESPACE]).rows
        names = {n.decode() if isinstance(n, bytes) else n: old == "1" for n, old in listed}
        known = ledger.all_shadows(session)
        left = {n for n in names if n.startswith(SHADOW_PREFIX) and n not in known}
        left |= {n for n, old in names.items() if n.startswith(TRIED_PREFIX) and old}
        left |= {
            n
            for n, old in names.items()
            if n.startswith(SWAPPED_PREFIX) and (old or n.removeprefix(SWAPPED_PREFIX) not in known)
        }
        self._drop_shadows(session, left)


def _own(session: Session, target: TargetId, load_id: str, feed: Feed, *, lock: str = "") -> Load:
    """Return a feed's own load; raises as `own_load`."""
    return own_load(ledger.find_load(session, target, load_id, lock=lock), target, load_id, feed)
