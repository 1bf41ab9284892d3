"""The sink's own tables in a ClickHouse server: watermarks, loads, chunk marks.

In: an open connection. Out: rows of database `_cdc`.

ClickHouse has no transactions. Two things stand in for them. A watermark belongs to the UUID of
the table it speaks of, so that exchanging two tables exchanges data and watermark in one instant.
And every row is only ever added with a greater rank, so that a writer whose token is smaller can
never take a watermark back, whatever the order in which inserts arrive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from resources.failpoints import failpoint
from resources.model.table import TableId
from resources.sinks.clickhouse_connection import ClickHouse
from resources.sinks.clickhouse_names import literal
from resources.sinks.contract import Feed, TargetId, Watermark
from resources.sinks.shape import RESERVED_NAMESPACE
from resources.sinks.sql import delete, insert, select, where_all

NO_TABLE = "00000000-0000-0000-0000-000000000000"
_LATEST = "ORDER BY rank DESC LIMIT 1 BY pipeline, source_database, source_table, namespace, target"


@dataclass(frozen=True)
class Mark:
    """A watermark as it is stored.

    Args:
        watermark: What everybody sees of it.
        version: The greatest version the feed has written into the table.
        move: How many times the watermark was moved.
    """

    watermark: Watermark
    version: int
    move: int


@dataclass(frozen=True)
class Load:
    """A snapshot load that was begun.

    Args:
        id: Its name.
        feed: Who began it.
        uuid: UUID of its table.
        shadow: Name of its table in `_cdc`.
        result: UUID of the table that takes the live one's place, once it is known.
        rows: The rows it put into the live table, None while it is not finished.
    """

    id: str
    feed: Feed
    uuid: str
    shadow: str
    result: str = NO_TABLE
    rows: int | None = None

    @property
    def place(self) -> TargetId:
        """The table its rows lie in until it is finished."""
        return TargetId(RESERVED_NAMESPACE, self.shadow)


def read_mark(server: ClickHouse, target: TargetId, uuid: str, feed: Feed) -> Mark | None:
    """Return a feed's watermark on the table of this UUID, None if there is none."""
    found = server.rows(
        select(
            "seq, consistent_from, token, version, move",
            "_cdc.watermarks",
            where_all(_of_target(target), f"uuid = {literal(uuid)}", _of_feed(feed)),
            "ORDER BY rank DESC LIMIT 1",
        ),
        str(target),
    )
    return _mark(found[0]) if found else None


def list_marks(server: ClickHouse, pipeline: str) -> dict[tuple[TargetId, TableId], Watermark]:
    """Return every watermark of a pipeline whose table is still there."""
    found = server.rows(
        select(
            "namespace, target, source_database, source_table, "
            "seq, consistent_from, token, version, move",
            "_cdc.watermarks",
            where_all(
                f"pipeline = {literal(pipeline)}",
                "(namespace, target, uuid) IN (SELECT database, name, uuid FROM system.tables)",
            ),
            _LATEST,
        ),
        f"pipeline {pipeline}",
    )
    return {(TargetId(*r[:2]), TableId(*r[2:4])): _mark(r[4:]).watermark for r in found}


def list_feeds(server: ClickHouse, target: TargetId, uuid: str) -> list[Feed]:
    """Return the feeds that have a watermark on the table of this UUID, sorted."""
    found = server.rows(
        select(
            "DISTINCT pipeline, source_database, source_table",
            "_cdc.watermarks",
            where_all(_of_target(target), f"uuid = {literal(uuid)}"),
        ),
        str(target),
    )
    return sorted(Feed(r[0], TableId(r[1], r[2])) for r in found)


def write_mark(server: ClickHouse, target: TargetId, uuid: str, feed: Feed, mark: Mark) -> None:
    """Set a watermark; it wins over all of a smaller token, and of the same token's moves before.

    Args:
        server: Where.
        target: The table.
        uuid: The UUID of the table the watermark speaks of.
        feed: Whose.
        mark: The new one, its move one above the one that was read.
    """
    failpoint("sink.before_commit")
    mark_ = mark.watermark
    values: list[str | int] = [
        *(target.namespace, target.table, uuid, *_names(feed)),
        *(mark_.seq, mark_.consistent_from, mark_.token, mark.version, mark.move),
        str((mark_.token << 64) | mark.move),
    ]
    _add(server, "watermarks", [*map(_sql, values), "now64(6, 'UTC')"], str(target))


def carry_marks(target: TargetId, place: TargetId) -> str:
    """Return the statement that gives another table all watermarks of a target's table.

    It runs before the other table is filled from the target's. A feed that writes meanwhile finds
    its watermark as it was before, once the two are exchanged, and writes again.

    Args:
        target: The table.
        place: The table that will take its place.
    """
    carried = select(
        f"namespace, target, ({_uuid_of(place)}), * EXCEPT (namespace, target, uuid)",
        "_cdc.watermarks",
        where_all(_of_target(target), f"uuid = ({_uuid_of(target)})"),
        _LATEST,
    )
    return insert("_cdc.watermarks", "", carried)


def find_load(server: ClickHouse, target: TargetId, load_id: str) -> Load | None:
    """Return a load, None if there is none of that id."""
    loads = [load for load in list_loads(server, target) if load.id == load_id]
    return loads[0] if loads else None


def list_loads(server: ClickHouse, target: TargetId) -> list[Load]:
    """Return the loads of a table."""
    found = server.rows(
        select(
            "load_id, pipeline, source_database, source_table, uuid, shadow, result, rows",
            "_cdc.loads FINAL",
            where_all(_of_target(target)),
        ),
        str(target),
    )
    return [Load(r[0], Feed(r[1], TableId(r[2], r[3])), *r[4:]) for r in found]


def write_load(server: ClickHouse, target: TargetId, load: Load, *, dropped: bool = False) -> None:
    """Store a load, over all that was stored under its id."""
    one = where_all(_of_target(target), f"load_id = {literal(load.id)}")
    move = f"({select('max(move) + 1', '_cdc.loads', one)})"
    values = [target.namespace, target.table, load.id, *_names(load.feed), load.uuid, load.shadow]
    stored = [*map(_sql, [*values, load.result, load.rows]), move, str(int(dropped))]
    server.run(f"INSERT INTO _cdc.loads SELECT {', '.join(stored)}", str(target))


def read_chunks(server: ClickHouse, load: Load, where: str) -> dict[int, int]:
    """Return row counts by the number of the chunks that are in."""
    found = server.rows(
        select("chunk, rows", "_cdc.loaded_chunks FINAL", f"WHERE uuid = {literal(load.uuid)}"),
        where,
    )
    return dict(found)


def add_chunk(server: ClickHouse, load: Load, chunk: int, rows: int, where: str) -> None:
    """Mark a chunk as loaded."""
    failpoint("sink.before_commit")
    _add(server, "loaded_chunks", [_sql(v) for v in (load.uuid, chunk, rows, 0)], where)


def forget(server: ClickHouse, target: TargetId) -> None:
    """Delete the watermarks of a table, whatever its UUID was."""
    server.run(delete("_cdc.watermarks", where_all(_of_target(target))), str(target))


def _add(server: ClickHouse, table: str, values: Sequence[str], where: str) -> None:
    server.run(insert(f"_cdc.{table}", "", f"VALUES ({', '.join(values)})"), where)


def _sql(value: str | int | None) -> str:
    if value is None:
        return "NULL"
    return literal(value) if isinstance(value, str) else str(value)


def _uuid_of(table: TargetId) -> str:
    namespace, name = literal(table.namespace), literal(table.table)
    return select("uuid", "system.tables", f"WHERE database = {namespace} AND name = {name}")


def _names(feed: Feed) -> tuple[str, str, str]:
    return feed.pipeline, feed.table.database, feed.table.table


def _of_target(target: TargetId) -> str:
    return f"namespace = {literal(target.namespace)} AND target = {literal(target.table)}"


def _of_feed(feed: Feed) -> str:
    pipeline, database, table = map(literal, _names(feed))
    return f"pipeline = {pipeline} AND source_database = {database} AND source_table = {table}"


def _mark(row: Sequence[Any]) -> Mark:
    return Mark(Watermark(*row[:3]), row[3], row[4])
