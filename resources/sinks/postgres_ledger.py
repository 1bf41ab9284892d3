"""The sink's own tables in a PostgreSQL database: watermarks, Arrow schemas, loads, chunk marks.

In: a connection within a transaction. Out: rows of schema `_cdc`. No statement needs ON CONFLICT,
which the older servers of the family have not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
import pyarrow as pa

from resources.model.table import TableId
from resources.sinks import ledger_sql as common
from resources.sinks.contract import Feed, Fence, TargetId, Watermark
from resources.sinks.fence import fenced_out
from resources.sinks.postgres_connection import run
from resources.sinks.postgres_pool import Connection
from resources.sinks.shape import RESERVED_NAMESPACE
from resources.sinks.sql import select, update, where_all

_LOAD = "load_id, shadow, pipeline, source_database, source_table, rows"
_FIRST, _NEXT = common.first_watermark("now()"), common.next_watermark("now()")
_REMEMBER = update("_cdc.tables", "arrow = %s", where_all(common.TARGET))
_OF_LOAD = where_all(common.TARGET, "load_id = %s")
_CHUNKS = select("chunk, rows", "_cdc.loaded_chunks", _OF_LOAD)
_CHUNK = select("rows", "_cdc.loaded_chunks", f"{_OF_LOAD} AND chunk = %s")
_FINISH = update("_cdc.loads", "rows = %s", _OF_LOAD)
_NAME_LOCKS = 0x636463
"""Class of the advisory locks on targets' names."""


@dataclass(frozen=True)
class Load:
    """A snapshot load that was begun.

    Args:
        id: Its name.
        shadow: Name of its table in `_cdc`.
        feed: Who began it.
        rows: The rows it put into the live table, None while it is not finished.
    """

    id: str
    shadow: str
    feed: Feed
    rows: int | None = None

    @property
    def place(self) -> TargetId:
        """The table its rows lie in until it is finished."""
        return TargetId(RESERVED_NAMESPACE, self.shadow)


def read_watermark(
    connection: Connection, target: TargetId, feed: Feed, *, lock: bool = False
) -> Watermark | None:
    """Return a feed's watermark, None if there is none.

    Args:
        connection: Within a transaction.
        target: The table.
        feed: Whose watermark.
        lock: Wait for other writers of it, and keep it from them until the transaction ends.
    """
    query = common.READ_WATERMARK + " FOR UPDATE" * lock
    found = run(connection, query, [*common.key_of(target), *common.feed_of(feed)]).fetchone()
    return common.mark_of(found) if found else None


def list_watermarks(
    connection: Connection, pipeline: str
) -> dict[tuple[TargetId, TableId], Watermark]:
    """Return every watermark of a pipeline."""
    found = run(
        connection,
        "SELECT namespace, target, source_database, source_table, seq, consistent_from, token "
        "FROM _cdc.watermarks WHERE pipeline = %s",
        [pipeline],
    ).fetchall()
    return {(TargetId(r[0], r[1]), TableId(r[2], r[3])): common.mark_of(r[4:]) for r in found}


def list_feeds(connection: Connection, target: TargetId) -> list[Feed]:
    """Return the feeds that have a watermark in a table, sorted."""
    found = run(connection, common.READ_FEEDS, common.key_of(target))
    return sorted(Feed(r[0], TableId(r[1], r[2])) for r in found)


def write_watermark(
    connection: Connection, target: TargetId, fence: Fence, mark: Watermark, *, first: bool
) -> None:
    """Set a watermark that was read with its lock.

    Args:
        connection: Within that transaction.
        target: The table.
        fence: Whose watermark.
        mark: The new one.
        first: Whether there was none.

    Raises:
        FencedOut: Another writer set the feed's first one at the same time.
    """
    try:
        run(connection, _FIRST if first else _NEXT, common.mark_values(target, fence.feed, mark))
    except psycopg.errors.UniqueViolation:
        message = "another writer set the feed's first watermark at the same time"
        raise fenced_out(target, fence, message) from None


def read_arrow(connection: Connection, target: TargetId) -> pa.Schema | None:
    """Return the Arrow types a table's columns were made for, None if that is not known."""
    found = run(connection, common.READ_ARROW, common.key_of(target)).fetchone()
    return pa.ipc.read_schema(pa.py_buffer(found[0])) if found else None


def write_arrow(connection: Connection, target: TargetId, schema: pa.Schema) -> None:
    """Remember the Arrow types of a table's columns, if they are others than those known."""
    known = read_arrow(connection, target)
    if known is not None and known.equals(schema):
        return
    values = [schema.serialize().to_pybytes(), *common.key_of(target)]
    if run(connection, _REMEMBER, values).rowcount:
        return
    lock_name(connection, target)
    if not run(connection, _REMEMBER, values).rowcount:
        insert = "INSERT INTO _cdc.tables (arrow, namespace, target) VALUES (%s, %s, %s)"
        run(connection, insert, values)


def lock_name(connection: Connection, target: TargetId) -> None:
    """Let one transaction at a time create things for a table."""
    name = f"{target.namespace}.{target.table}"
    run(connection, f"SELECT pg_advisory_xact_lock({_NAME_LOCKS}, hashtext(%s))", [name])


def forget(connection: Connection, target: TargetId) -> None:
    """Delete all rows of a table."""
    for statement in common.FORGET:
        run(connection, statement, common.key_of(target))


def find_load(
    connection: Connection, target: TargetId, load_id: str, *, lock: str = ""
) -> Load | None:
    """Return a load, None if there is none of that id.

    Args:
        connection: Within a transaction.
        target: The table.
        load_id: The load.
        lock: `FOR SHARE` keeps it from being finished or dropped meanwhile, `FOR UPDATE` keeps
            every other user of it away.
    """
    query = select(_LOAD, "_cdc.loads", _OF_LOAD, lock)
    found = run(connection, query, [*common.key_of(target), load_id]).fetchone()
    return _load(found) if found else None


def loads_of(connection: Connection, target: TargetId, feed: Feed | None = None) -> list[Load]:
    """Return the loads of a table, or of one of its feeds."""
    one = where_all(common.TARGET, common.FEED if feed else "")
    values = [*common.key_of(target), *(common.feed_of(feed) if feed else ())]
    found = run(connection, select(_LOAD, "_cdc.loads", one, "FOR UPDATE"), values)
    return [_load(row) for row in found.fetchall()]


def add_load(connection: Connection, target: TargetId, load: Load) -> None:
    """Add a load."""
    run(
        connection,
        "INSERT INTO _cdc.loads (namespace, target, load_id, pipeline, source_database, "
        "source_table, shadow) VALUES (%s, %s, %s, %s, %s, %s, %s)",
        [*common.key_of(target), load.id, *common.feed_of(load.feed), load.shadow],
    )


def remove_load(connection: Connection, target: TargetId, load_id: str) -> None:
    """Delete a load and its chunk marks."""
    for statement in common.REMOVE_LOAD:
        run(connection, statement, [*common.key_of(target), load_id])


def set_finished(connection: Connection, target: TargetId, load_id: str, count: int) -> None:
    """Mark a load as finished, with the rows it put into the live table."""
    run(connection, _FINISH, [count, *common.key_of(target), load_id])


def read_chunks(connection: Connection, target: TargetId, load_id: str) -> dict[int, int]:
    """Return row counts by the number of the chunks that are in."""
    found = run(connection, _CHUNKS, [*common.key_of(target), load_id])
    return dict(found.fetchall())


def read_chunk(connection: Connection, target: TargetId, load_id: str, chunk: int) -> int | None:
    """Return the rows of a chunk that is in, None if it is not."""
    found = run(connection, _CHUNK, [*common.key_of(target), load_id, chunk]).fetchone()
    return int(found[0]) if found else None


def add_chunk(
    connection: Connection, target: TargetId, load_id: str, chunk: int, count: int
) -> None:
    """Mark a chunk as loaded."""
    run(
        connection,
        "INSERT INTO _cdc.loaded_chunks (namespace, target, load_id, chunk, rows) "
        "VALUES (%s, %s, %s, %s, %s)",
        [*common.key_of(target), load_id, chunk, count],
    )


def _load(row: Sequence[Any]) -> Load:
    return Load(row[0], row[1], Feed(row[2], TableId(row[3], row[4])), row[5])
