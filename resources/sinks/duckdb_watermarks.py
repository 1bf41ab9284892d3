"""Watermarks in a DuckDB file.

In: targets, feeds, fences. Out: rows of `_cdc.watermarks`, compared and set in the data's own
transaction.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from resources.model.table import TableId
from resources.sinks.contract import Feed, Fence, TargetId, Watermark
from resources.sinks.duckdb_connection import DuckDBFile, conflict
from resources.sinks.fence import moved_watermark
from resources.sinks.sql import insert, select

_OF_FEED = (
    "WHERE pipeline = ? AND source_database = ? AND source_table = ? "
    "AND namespace = ? AND target = ?"
)


class DuckDBWatermarks:
    """The watermarks of one DuckDB file."""

    def __init__(self, file: DuckDBFile) -> None:
        self._file = file

    def read(self, target: TargetId, feed: Feed) -> Watermark | None:
        """Return a feed's watermark, None if there is none."""
        rows = self._file.connection.execute(
            select("seq, consistent_from, token", self._file.ledger("watermarks"), _OF_FEED),
            _key(target, feed),
        ).fetchall()
        return Watermark(*rows[0]) if rows else None

    def list(self, pipeline: str) -> dict[tuple[TargetId, TableId], Watermark]:
        """Return every watermark of a pipeline."""
        rows = self._file.connection.execute(
            select(
                "namespace, target, source_database, source_table, seq, consistent_from, token",
                self._file.ledger("watermarks"),
                "WHERE pipeline = ?",
            ),
            [pipeline],
        ).fetchall()
        return {(TargetId(*r[:2]), TableId(*r[2:4])): Watermark(*r[4:]) for r in rows}

    def feeds(self, target: TargetId) -> Sequence[Feed]:
        """Return the feeds that have a watermark in a table, sorted."""
        rows = self._file.connection.execute(
            select(
                "pipeline, source_database, source_table",
                self._file.ledger("watermarks"),
                "WHERE namespace = ? AND target = ?",
            ),
            [target.namespace, target.table],
        ).fetchall()
        return sorted(Feed(r[0], TableId(*r[1:])) for r in rows)

    def move(self, target: TargetId, fence: Fence) -> None:
        """Compare and set within the open transaction; a racing writer fails at its commit.

        Raises:
            FencedOut: As `moved_watermark`, or another connection was faster.
        """
        found = self.read(target, fence.feed)
        self.write(target, fence.feed, moved_watermark(target, found, fence))

    def write(self, target: TargetId, feed: Feed, mark: Watermark) -> None:
        """Set the watermark; call it within a transaction that has read it.

        Raises:
            FencedOut: Another connection set the feed's first one at the same time.
        """
        try:
            self._file.connection.execute(
                insert(
                    self._file.ledger("watermarks"),
                    "",
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, now()) ON CONFLICT DO UPDATE SET "
                    "seq = excluded.seq, consistent_from = excluded.consistent_from, "
                    "token = excluded.token, updated_at = excluded.updated_at",
                ),
                [*_key(target, feed), mark.seq, mark.consistent_from, mark.token],
            )
        except duckdb.ConstraintException:
            raise conflict(str(target)) from None


def _key(target: TargetId, feed: Feed) -> list[object]:
    return [
        *(feed.pipeline, feed.table.database, feed.table.table),
        *(target.namespace, target.table),
    ]
