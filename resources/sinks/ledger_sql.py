"""The ledger of servers whose drivers take `%s`: what its statements and rows have in common.

In: targets, feeds, rows. Out: statements about the tables of `_cdc`, their values, and watermarks
read. What a dialect does in its own way is in its own ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from resources.sinks.contract import Feed, TargetId, Watermark
from resources.sinks.sql import delete, insert, select, update, where_all

TABLES = ("watermarks", "tables", "loads", "loaded_chunks")
"""The tables of `_cdc`."""
TARGET = "namespace = %s AND target = %s"
"""The condition whose values are `key_of`."""
FEED = "pipeline = %s AND source_database = %s AND source_table = %s"
"""The condition whose values are `feed_of`."""
MARK = "seq, consistent_from, token"
"""The columns `mark_of` reads."""
READ_WATERMARK = select(MARK, "_cdc.watermarks", where_all(TARGET, FEED))
READ_FEEDS = select("pipeline, source_database, source_table", "_cdc.watermarks", where_all(TARGET))
READ_ARROW = select("arrow", "_cdc.tables", where_all(TARGET, "arrow IS NOT NULL"))
FORGET = tuple(delete(f"_cdc.{table}", where_all(TARGET)) for table in TABLES)
"""Delete all rows of a table."""
_LOAD = where_all(TARGET, "load_id = %s")
REMOVE_LOAD = tuple(delete(f"_cdc.{table}", _LOAD) for table in ("loads", "loaded_chunks"))


def first_watermark(now: str) -> str:
    """Return the statement that adds a watermark; its values are those of `mark_values`.

    Args:
        now: The dialect's expression for the time.
    """
    columns = f"{MARK}, namespace, target, pipeline, source_database, source_table, updated_at"
    return insert("_cdc.watermarks", columns, f"VALUES (%s, %s, %s, %s, %s, %s, %s, %s, {now})")


def next_watermark(now: str) -> str:
    """Return the statement that moves a watermark; as `first_watermark`."""
    marks = "seq = %s, consistent_from = %s, token = %s"
    return update("_cdc.watermarks", f"{marks}, updated_at = {now}", where_all(TARGET, FEED))


def mark_values(target: TargetId, feed: Feed, mark: Watermark) -> list[object]:
    """Return the values of the statements that set a watermark."""
    return [mark.seq, mark.consistent_from, mark.token, *key_of(target), *feed_of(feed)]


def key_of(target: TargetId) -> list[object]:
    """Return the values of `TARGET`."""
    return [target.namespace, target.table]


def feed_of(feed: Feed) -> list[object]:
    """Return the values of `FEED`."""
    return [feed.pipeline, feed.table.database, feed.table.table]


def mark_of(row: Sequence[Any]) -> Watermark:
    """Return the watermark in a row of `MARK`; drivers give numbers in types of their own."""
    return Watermark(int(row[0]), int(row[1]), int(row[2]))
