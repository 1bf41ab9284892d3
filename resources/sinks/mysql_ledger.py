"""The sink's own tables in a MySQL-family server: watermarks, Arrow schemas, loads, chunk marks.

In: a session. Out: rows of database `_cdc`.

DDL commits by itself here, so a table and its ledger cannot change at one moment. Two marks make
up for it. A load that is `swapping` with its own table gone is finished, and its watermark is the
one of the load. A table that is `dropping` and gone has no watermark. Whoever reads a watermark
reads it so; the next writer makes it so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pymysql

from resources.errors import SinkUnavailable
from resources.model.table import TableId
from resources.sinks import ledger_sql as common
from resources.sinks.contract import Feed, Fence, TargetId, Watermark
from resources.sinks.fence import fenced_out
from resources.sinks.mysql_connection import run
from resources.sinks.mysql_session import Session
from resources.sinks.shape import RESERVED_NAMESPACE
from resources.sinks.sql import select, update, where_all

_LOAD = (
    "load_id, shadow, pipeline, source_database, source_table, row_count, swapping, "
    "seq, consistent_from, token"
)
_ONE_LOAD = where_all(common.TARGET, "load_id = %s")
_NOW = "UTC_TIMESTAMP(6)"
_FIRST, _NEXT = common.first_watermark(_NOW), common.next_watermark(_NOW)
_ALL = select(
    f"namespace, target, source_database, source_table, {common.MARK}",
    "_cdc.watermarks",
    where_all("pipeline = %s"),
)
_CHUNKS = select("chunk, row_count", "_cdc.loaded_chunks", _ONE_LOAD)
_SET_ROWS = update(
    "_cdc.loads",
    "row_count = %s, swapping = %s, seq = %s, consistent_from = %s, token = %s",
    _ONE_LOAD,
)
_DROPPING = select("dropping", "_cdc.tables", where_all(common.TARGET))


@dataclass(frozen=True)
class Load:
    """A snapshot load that was begun.

    Args:
        id: Its name.
        shadow: Name of its table in `_cdc`.
        feed: Who began it.
        rows: The rows it puts into the live table, None until it is about to be finished.
        swapping: Whether its table is about to become the live one.
        mark: The watermark it will have then.
    """

    id: str
    shadow: str
    feed: Feed
    rows: int | None = None
    swapping: bool = False
    mark: Watermark | None = None

    @property
    def place(self) -> TargetId:
        """The table its rows lie in until it is finished."""
        return TargetId(RESERVED_NAMESPACE, self.shadow)

    @property
    def finished(self) -> bool:
        """Whether the ledger says that it is in the live table."""
        return self.rows is not None and not self.swapping


def exists(session: Session, place: TargetId) -> bool:
    """Return whether there is a table of a name."""
    names = [place.namespace, place.table]
    if session.server.folds_tables:
        names = [name.lower() for name in names]
    query = "SELECT 1 FROM information_schema.tables WHERE table_schema = %s AND table_name = %s"
    return bool(run(session, query, names).rows)


def current_watermark(session: Session, target: TargetId, feed: Feed) -> Watermark | None:
    """Return a feed's watermark as the rows of the table have it, None if there is none."""
    found = read_watermark(session, target, feed)
    for load in swapped(session, target):
        if load.feed == feed:
            found = load.mark
    gone = is_dropping(session, target) and not exists(session, target)
    return None if gone else found


def read_watermark(
    session: Session, target: TargetId, feed: Feed, *, lock: bool = False
) -> Watermark | None:
    """Return the watermark the ledger holds for a feed, None if there is none.

    Args:
        session: Within a transaction, if it is to lock.
        target: The table.
        feed: Whose watermark.
        lock: Wait for other writers of it, and keep it from them until the transaction ends.
    """
    query = common.READ_WATERMARK + " FOR UPDATE" * lock
    rows = run(session, query, [*common.key_of(target), *common.feed_of(feed)]).rows
    return common.mark_of(rows[0]) if rows else None


def list_watermarks(session: Session, pipeline: str) -> dict[tuple[TargetId, TableId], Watermark]:
    """Return every watermark of a pipeline, those of loads that were just swapped in as well."""
    found: dict[tuple[TargetId, TableId], Watermark] = {}
    for row in run(session, _ALL, [pipeline]).rows:
        found[_target(row), TableId(_text(row[2]), _text(row[3]))] = common.mark_of(row[4:])
    query = "SELECT namespace, target FROM _cdc.loads WHERE swapping AND pipeline = %s"
    for row in run(session, query, [pipeline]).rows:
        for load in swapped(session, _target(row)):
            if load.feed.pipeline == pipeline and load.mark:
                found[_target(row), load.feed.table] = load.mark
    for row in run(session, "SELECT namespace, target FROM _cdc.tables WHERE dropping").rows:
        if not exists(session, _target(row)):
            found = {key: mark for key, mark in found.items() if key[0] != _target(row)}
    return found


def list_feeds(session: Session, target: TargetId) -> list[Feed]:
    """Return the feeds that have a watermark in a table, sorted; as `current_watermark`."""
    if is_dropping(session, target) and not exists(session, target):
        return []
    rows = run(session, common.READ_FEEDS, common.key_of(target)).rows
    found = {Feed(_text(r[0]), TableId(_text(r[1]), _text(r[2]))) for r in rows}
    return sorted(found | {load.feed for load in swapped(session, target)})


def write_watermark(
    session: Session, target: TargetId, fence: Fence, mark: Watermark, *, first: bool
) -> None:
    """Set a watermark that was read with its lock.

    Args:
        session: Within that transaction.
        target: The table.
        fence: Whose watermark.
        mark: The new one.
        first: Whether there was none.

    Raises:
        FencedOut: Another writer set the feed's first one at the same time.
    """
    try:
        run(session, _FIRST if first else _NEXT, common.mark_values(target, fence.feed, mark))
    except pymysql.err.IntegrityError:
        message = "another writer set the feed's first watermark at the same time"
        raise fenced_out(target, fence, message) from None


def read_arrow(session: Session, target: TargetId) -> pa.Schema | None:
    """Return the Arrow types a table's columns were made for, None if that is not known."""
    rows = run(session, common.READ_ARROW, common.key_of(target)).rows
    return pa.ipc.read_schema(pa.py_buffer(rows[0][0])) if rows else None


def write_arrow(session: Session, target: TargetId, schema: pa.Schema) -> None:
    """Remember the Arrow types of a table's columns, if they are others than those known."""
    known = read_arrow(session, target)
    if known is None or not known.equals(schema):
        run(
            session,
            "INSERT INTO _cdc.tables (namespace, target, arrow, dropping) VALUES (%s, %s, %s, 0) "
            "ON DUPLICATE KEY UPDATE arrow = VALUES(arrow)",
            [*common.key_of(target), schema.serialize().to_pybytes()],
        )


def is_dropping(session: Session, target: TargetId, *, lock: bool = False) -> bool:
    """Return whether somebody is about to drop a table, or has done so and died."""
    rows = run(session, _DROPPING + " FOR UPDATE" * lock, common.key_of(target)).rows
    return bool(rows) and rows[0][0] == "1"


def set_dropping(session: Session, target: TargetId) -> None:
    """Say that a table is about to be dropped."""
    run(
        session,
        "INSERT INTO _cdc.tables (namespace, target, dropping) VALUES (%s, %s, 1) "
        "ON DUPLICATE KEY UPDATE dropping = 1",
        common.key_of(target),
    )


def forget(session: Session, target: TargetId) -> None:
    """Delete all rows of a table."""
    for statement in common.FORGET:
        run(session, statement, common.key_of(target))


def find_load(session: Session, target: TargetId, load_id: str, *, lock: str = "") -> Load | None:
    """Return a load, None if there is none of that id.

    Args:
        session: Within a transaction, if it is to lock.
        target: The table.
        load_id: The load.
        lock: `LOCK IN SHARE MODE` keeps it from being finished or dropped meanwhile, `FOR UPDATE`
            keeps every other user of it away.
    """
    query = select(_LOAD, "_cdc.loads", _ONE_LOAD, lock)
    rows = run(session, query, [*common.key_of(target), load_id]).rows
    return _load(rows[0]) if rows else None


def loads_of(session: Session, target: TargetId, feed: Feed | None = None) -> list[Load]:
    """Return the loads of a table, or of one of its feeds, locked."""
    which = where_all(common.TARGET, common.FEED if feed else "")
    values = [*common.key_of(target), *(common.feed_of(feed) if feed else ())]
    rows = run(session, select(_LOAD, "_cdc.loads", which, "FOR UPDATE"), values).rows
    return [_load(row) for row in rows]


def all_shadows(session: Session) -> set[str]:
    """Return the names of the tables that loads of any table may have in `_cdc`."""
    return {_text(row[0]) for row in run(session, "SELECT shadow FROM _cdc.loads").rows}


def swapped(session: Session, target: TargetId, *, lock: bool = False) -> list[Load]:
    """Return the loads that are in the live table though the ledger does not say so yet."""
    which = where_all(common.TARGET, "swapping")
    query = select(_LOAD, "_cdc.loads", which, "FOR UPDATE" if lock else "")
    loads = [_load(row) for row in run(session, query, common.key_of(target)).rows]
    return [load for load in loads if not exists(session, load.place)]


def settle(session: Session, target: TargetId) -> None:
    """Write down the loads that are in the live table; call it within a transaction.

    Args:
        session: That has read or locked the live table in it, so that no other is swapped in.
        target: The table.
    """
    for load in swapped(session, target, lock=True):
        if load.mark is None or load.rows is None:
            continue
        fence = Fence(load.feed, None, load.mark.seq, load.mark.token)
        found = read_watermark(session, target, load.feed, lock=True)
        write_watermark(session, target, fence, load.mark, first=found is None)
        set_rows(session, target, load.id, load.rows, load.mark)


def add_load(session: Session, target: TargetId, load: Load) -> None:
    """Add a load.

    Raises:
        SinkUnavailable: Another writer begins it at the same time.
    """
    try:
        run(
            session,
            "INSERT INTO _cdc.loads (namespace, target, load_id, pipeline, source_database, "
            "source_table, shadow, swapping) VALUES (%s, %s, %s, %s, %s, %s, %s, 0)",
            [*common.key_of(target), load.id, *common.feed_of(load.feed), load.shadow],
        )
    except pymysql.err.IntegrityError:
        message = "another writer begins the same load at the same time"
        raise SinkUnavailable(message, where=str(target), remedy="run again") from None


def remove_load(session: Session, target: TargetId, load_id: str) -> None:
    """Delete a load and its chunk marks."""
    for statement in common.REMOVE_LOAD:
        run(session, statement, [*common.key_of(target), load_id])


def set_rows(
    session: Session,
    target: TargetId,
    load_id: str,
    rows: int,
    mark: Watermark,
    *,
    swapping: bool = False,
) -> None:
    """Say that a load is finished, or that its table is about to become the live one."""
    marks = [mark.seq, mark.consistent_from, mark.token]
    run(session, _SET_ROWS, [rows, int(swapping), *marks, *common.key_of(target), load_id])


def read_chunks(session: Session, target: TargetId, load_id: str) -> dict[int, int]:
    """Return row counts by the number of the chunks that are in."""
    rows = run(session, _CHUNKS, [*common.key_of(target), load_id]).rows
    return {int(chunk): int(count) for chunk, count in rows}


def add_chunk(session: Session, target: TargetId, load_id: str, chunk: int, rows: int) -> None:
    """Mark a chunk as loaded."""
    run(
        session,
        "INSERT INTO _cdc.loaded_chunks (namespace, target, load_id, chunk, row_count) "
        "VALUES (%s, %s, %s, %s, %s)",
        [*common.key_of(target), load_id, chunk, rows],
    )


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _target(row: Sequence[Any]) -> TargetId:
    return TargetId(_text(row[0]), _text(row[1]))


def _load(row: Sequence[Any]) -> Load:
    id_, shadow, pipeline, database, table = (_text(v) for v in row[:5])
    rows = None if row[5] is None else int(row[5])
    mark = None if row[7] is None else common.mark_of(row[7:])
    feed = Feed(pipeline, TableId(database, table))
    return Load(id_, shadow, feed, rows, row[6] == "1", mark)
