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
from resources.sinks.contract import Feed, Fence, TargetId, Watermark
from resources.sinks.fence import fenced_out
from resources.sinks.postgres_connection import run
from resources.sinks.postgres_pool import Connection
from resources.sinks.shape import RESERVED_NAMESPACE

_FEED = "pipeline = %s AND source_database = %s AND source_table = %s"
_TARGET = "namespace = %s AND target = %s"
_WATERMARK = (
    "SELECT seq, consistent_from, token FROM _cdc.watermarks "  # noqa: S608 - constants
    f"WHERE {_TARGET} AND {_FEED}"
)
_LOADS = "SELECT load_id, shadow, pipeline, source_database, source_table, rows FROM _cdc.loads"
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
    query = _WATERMARK + " FOR UPDATE" * lock
    rows = run(connection, query, [*_key(target), *_of(feed)]).fetchall()
    return _mark(rows[0]) if rows else None


def list_watermarks(
    connection: Connection, pipeline: str
) -> dict[tuple[TargetId, TableId], Watermark]:
    """Return every watermark of a pipeline."""
    rows: list[Any] = run(
        connection,
        "SELECT namespace, target, source_database, source_table, seq, consistent_from, token "
        "FROM _cdc.watermarks WHERE pipeline = %s",
        [pipeline],
    ).fetchall()
    return {(TargetId(r[0], r[1]), TableId(r[2], r[3])): _mark(r[4:]) for r in rows}


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
    values = [mark.seq, mark.consistent_from, mark.token, *_key(target), *_of(fence.feed)]
    if not first:
        statement = (
            "UPDATE _cdc.watermarks SET seq = %s, consistent_from = %s, token = %s, "  # noqa: S608
            f"updated_at = now() WHERE {_TARGET} AND {_FEED}"
        )
        run(connection, statement, values)
        return
    try:
        run(
            connection,
            "INSERT INTO _cdc.watermarks (seq, consistent_from, token, namespace, target, "
            "pipeline, source_database, source_table, updated_at) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, now())",
            values,
        )
    except psycopg.errors.UniqueViolation:
        message = "another writer set the feed's first watermark at the same time"
        raise fenced_out(target, fence, message) from None


def read_arrow(connection: Connection, target: TargetId) -> pa.Schema | None:
    """Return the Arrow types a table's columns were made for, None if that is not known."""
    query = f"SELECT arrow FROM _cdc.tables WHERE {_TARGET}"  # noqa: S608
    rows: list[Any] = run(connection, query, _key(target)).fetchall()
    return pa.ipc.read_schema(pa.py_buffer(rows[0][0])) if rows else None


def write_arrow(connection: Connection, target: TargetId, schema: pa.Schema) -> None:
    """Remember the Arrow types of a table's columns, if they are others than those known."""
    known = read_arrow(connection, target)
    if known is not None and known.equals(schema):
        return
    values = [schema.serialize().to_pybytes(), *_key(target)]
    update = f"UPDATE _cdc.tables SET arrow = %s WHERE {_TARGET}"  # noqa: S608
    if run(connection, update, values).rowcount:
        return
    lock_name(connection, target)
    if not run(connection, update, values).rowcount:
        insert = "INSERT INTO _cdc.tables (arrow, namespace, target) VALUES (%s, %s, %s)"
        run(connection, insert, values)


def lock_name(connection: Connection, target: TargetId) -> None:
    """Let one transaction at a time create things for a table."""
    name = f"{target.namespace}.{target.table}"
    run(connection, f"SELECT pg_advisory_xact_lock({_NAME_LOCKS}, hashtext(%s))", [name])


def forget(connection: Connection, target: TargetId) -> None:
    """Delete all rows of a table."""
    for table in ("watermarks", "tables", "loads", "loaded_chunks"):
        run(connection, f"DELETE FROM _cdc.{table} WHERE {_TARGET}", _key(target))  # noqa: S608


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
    query = f"{_LOADS} WHERE {_TARGET} AND load_id = %s {lock}"
    rows: list[Any] = run(connection, query, [*_key(target), load_id]).fetchall()
    return _load(rows[0]) if rows else None


def loads_of(connection: Connection, target: TargetId, feed: Feed | None = None) -> list[Load]:
    """Return the loads of a table, or of one of its feeds."""
    more = f" AND {_FEED}" if feed is not None else ""
    values = [*_key(target), *(_of(feed) if feed is not None else ())]
    query = f"{_LOADS} WHERE {_TARGET}{more} FOR UPDATE"
    rows: list[Any] = run(connection, query, values).fetchall()
    return [_load(row) for row in rows]


def add_load(connection: Connection, target: TargetId, load: Load) -> None:
    """Add a load."""
    run(
        connection,
        "INSERT INTO _cdc.loads (namespace, target, load_id, pipeline, source_database, "
        "source_table, shadow) VALUES (%s, %s, %s, %s, %s, %s, %s)",
        [*_key(target), load.id, *_of(load.feed), load.shadow],
    )


def remove_load(connection: Connection, target: TargetId, load_id: str) -> None:
    """Delete a load and its chunk marks."""
    for table in ("loads", "loaded_chunks"):
        statement = f"DELETE FROM _cdc.{table} WHERE {_TARGET} AND load_id = %s"  # noqa: S608
        run(connection, statement, [*_key(target), load_id])


def set_finished(connection: Connection, target: TargetId, load_id: str, rows: int) -> None:
    """Mark a load as finished, with the rows it put into the live table."""
    statement = f"UPDATE _cdc.loads SET rows = %s WHERE {_TARGET} AND load_id = %s"  # noqa: S608
    run(connection, statement, [rows, *_key(target), load_id])


def read_chunks(connection: Connection, target: TargetId, load_id: str) -> dict[int, int]:
    """Return row counts by the number of the chunks that are in."""
    query = (
        "SELECT chunk, rows FROM _cdc.loaded_chunks "  # noqa: S608 - constants
        f"WHERE {_TARGET} AND load_id = %s"
    )
    rows: list[Any] = run(connection, query, [*_key(target), load_id]).fetchall()
    return dict(rows)


def add_chunk(
    connection: Connection, target: TargetId, load_id: str, chunk: int, rows: int
) -> None:
    """Mark a chunk as loaded."""
    run(
        connection,
        "INSERT INTO _cdc.loaded_chunks (namespace, target, load_id, chunk, rows) "
        "VALUES (%s, %s, %s, %s, %s)",
        [*_key(target), load_id, chunk, rows],
    )


def _key(target: TargetId) -> list[object]:
    return [target.namespace, target.table]


def _of(feed: Feed) -> list[object]:
    return [feed.pipeline, feed.table.database, feed.table.table]


def _load(row: Sequence[Any]) -> Load:
    return Load(row[0], row[1], Feed(row[2], TableId(row[3], row[4])), row[5])


def _mark(row: Sequence[Any]) -> Watermark:
    return Watermark(int(row[0]), int(row[1]), int(row[2]))
