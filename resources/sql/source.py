"""Insert-only tables of any SQL database as a source: history and increments by polling.

In: a SQLAlchemy URL and table patterns. Out: what `resources.model.source.Source` asks for.

Seen are inserts into tables whose key counts up by itself, late commits included. Not seen, by
design: updates, deletes, and rows put in with an explicit id where a gap was already final;
`count_check` finds the latter.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import sqlalchemy as sa

from resources.errors import ConfigError, ServerChanged
from resources.model.change import NO_SHAPES, LogSlice
from resources.model.patterns import selects
from resources.model.position import PollMark, PollPosition, Position, ServerIdentity
from resources.model.source import ChunkRows, Finding
from resources.model.table import TableId, TableSchema
from resources.sql.findings import no_tables, require_readable
from resources.sql.flavor import PollTable
from resources.sql.flavors import ZeroDates, open_flavor
from resources.sql.marks import all_ends, count_rows
from resources.sql.rounds import LEDGER_ENTRIES
from resources.sql.slices import rejected_rows
from resources.sql.stream import PollStream

_IDS_AT_ONCE = 500


class SqlPollingSource:
    """A source of inserts, by reading ids upwards.

    Args:
        url: SQLAlchemy URL (mysql, mariadb, oceanbase, postgresql, sqlite).
        pipeline: The pipeline's name, shown by the server for our session.
        include: fnmatch patterns `schema.table` (`database.table`; SQLite: `main.table`).
        exclude: Patterns that win over `include`.
        keys: By `schema.table`, the id column of tables or views that declare none themselves.
            Its values must only grow and be unique.
        page_rows: Rows read at once.
        grace_seconds: How long an absent id is waited for where the source cannot list its
            transactions; longer than the longest writing transaction.
        prove_gaps: Use the list of open transactions where there is one; False uses the grace
            period alone.
        poll_interval: Seconds between rounds while following.
        ledger_entries: Most entries of one table's gap ledger. A table that needs more pauses,
            with a warning, until transactions have ended or the grace period is over.
        zero_dates: `null` or `dirty`, for dates that do not exist (MySQL family).
        connect_args: Passed to the driver; for the MySQL family fields of `MySQLSettings`
            (`tls`, `ca`, `cert`, `key`, `connect_timeout`, `read_timeout`).

    Raises:
        ConfigError: The URL or a pattern cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        pipeline: str,
        include: Sequence[str],
        exclude: Sequence[str] = (),
        keys: Mapping[str, str] | None = None,
        page_rows: int = 50_000,
        grace_seconds: float = 60.0,
        prove_gaps: bool = True,
        poll_interval: float = 5.0,
        ledger_entries: int = LEDGER_ENTRIES,
        zero_dates: ZeroDates = "null",
        connect_args: Mapping[str, Any] | None = None,
    ) -> None:
        self._flavor = open_flavor(url, connect_args or {}, f"cdc-assets {pipeline}", zero_dates)
        self._pipeline = pipeline
        self._include, self._exclude = tuple(include), tuple(exclude)
        self._keys = {_table_id(name): column for name, column in (keys or {}).items()}
        self._page_rows = page_rows
        self._grace_us = int(grace_seconds * 1e6)
        self._prove_gaps = prove_gaps
        self._poll_interval = poll_interval
        self._ledger_entries = ledger_entries
        for pattern in (*self._include, *self._exclude):
            _table_id(pattern)

    def __repr__(self) -> str:
        """Return pipeline and server, without the password."""
        return f"SqlPollingSource({self._pipeline!r}, {self._flavor.database.where!r})"

    def identity(self) -> ServerIdentity:
        """Return who the server is now.

        Raises:
            SourceUnavailable: It cannot be reached.
        """
        return self._flavor.database.run(self._flavor.identity)

    def current_position(self) -> PollPosition:
        """Return the greatest committed id of every table that can be polled."""
        ends = all_ends(self._flavor.database, self.keys())
        marks = {table: PollMark(None if e is None else e[1]) for table, e in ends.items()}
        return PollPosition(marks, self.identity())

    def start_position(self) -> PollPosition:
        """Return the position before every table's first row: the tables are their own log."""
        return PollPosition({}, self.identity())

    def list_tables(self) -> list[TableId]:
        """Return the tables the patterns select, sorted; views only if `keys` names them."""
        found = {*self._flavor.database.run(self._flavor.list_tables), *self._keys}
        return sorted(table for table in found if self._selects(table))

    def read_schemas(self, tables: Sequence[TableId]) -> dict[TableId, TableSchema]:
        """Return the schemas the server has now; those that cannot be polled are left out."""
        return {table.id: table.schema for table in self._describe(tables)[0]}

    def keys(self) -> dict[TableId, str]:
        """Return the id column of every table that can be polled, as `poll_marks` wants it."""
        return {table.id: table.key for table in self._describe(self.list_tables())[0]}

    def check(self) -> list[Finding]:
        """Return refused tables, weaker guarantees and patterns without a table."""
        tables = self.list_tables()
        if not tables:
            return [no_tables(self._include)]
        return self._describe(tables)[1]

    def stream_changes(
        self,
        start: Position,
        until: Position | None,
        stop: Callable[[], bool],
        shapes: Mapping[TableId, str] = NO_SHAPES,
    ) -> Iterator[LogSlice]:
        """Yield pages of inserted rows, late ones first, all tables in turn.

        Args:
            start: A position of this source; without marks, the tables' whole history.
            until: The ids to read up to, one round; None polls for ever.
            stop: Asked before each page and at least once a second.
            shapes: Not looked at: a page has the shape it was read with.

        Yields:
            One slice per page, always complete. Empty ones when only the ledger changed, and once
            a second while there is nothing to read.

        Raises:
            ServerChanged: The server is not the one of `start`.
            SourceUnavailable: It cannot be reached.
            ConfigError: A table of `start` may not be read any more.
            SchemaMismatch: A table changed while it was read.
        """
        begin = self._own(start)
        described, findings = self._describe(self.list_tables())
        require_readable(findings, begin.marks)
        stream = PollStream(
            flavor=self._flavor,
            tables={str(table.id): table for table in described},
            marks=dict(begin.marks),
            identity=self._same_server(begin.identity),
            page_rows=self._page_rows,
            grace_us=self._grace_us,
            ledger_entries=self._ledger_entries,
            stop=stop,
        )
        if until is None:
            return stream.follow(self._poll_interval)
        return stream.once({t: mark.high for t, mark in self._own(until).marks.items()})

    def read_rows(self, schema: TableSchema, keys: Sequence[str]) -> Iterator[ChunkRows]:
        """Yield the rows that have one of the keys now. See `RowSource`."""
        for table in self._describe([schema.table])[0]:
            ids = [json.loads(key)[table.key] for key in keys]
            for start in range(0, len(ids), _IDS_AT_ONCE):
                some = ids[start : start + _IDS_AT_ONCE]
                page = self._flavor.database.run(
                    partial(
                        self._flavor.read, table=table, where=partial(_is_one_of, some), limit=None
                    )
                )
                yield ChunkRows(page.rows, rejected_rows(table, page, 0, 0))

    def lag_bytes(self, position: Position) -> int | None:
        """Return None: a table has no log to measure."""
        return None

    def lag_rows(self, position: Position) -> int:
        """Return how many ids lie between `position` and the tables' ends.

        Ids, not rows: counting rows would read the tables. Gaps make it an upper bound.
        """
        marks = self._own(position).marks
        lag = 0
        for table, ends in all_ends(self._flavor.database, self.keys()).items():
            if ends is not None:
                high = marks.get(table, PollMark()).high
                lag += max(0, ends[1] - (ends[0] - 1 if high is None else high))
        return lag

    def count_check(self, position: Position) -> dict[str, int]:
        """Count the rows at or below each mark; reads the key's whole index.

        Compared with the rows captured up to `position` it finds rows that were put in with an
        explicit id below the mark.

        Returns:
            Rows by table; open gaps are not counted.
        """
        marks = self._own(position).marks
        tables = self._describe(self.list_tables())[0]
        return {
            str(table.id): self._flavor.database.run(
                partial(count_rows, table=table, mark=marks[str(table.id)])
            )
            for table in tables
            if str(table.id) in marks
        }

    def close(self) -> None:
        """Close the connection."""
        self._flavor.database.close()

    def _describe(self, tables: Sequence[TableId]) -> tuple[list[PollTable], list[Finding]]:
        flavor = self._flavor
        found, findings = flavor.database.run(lambda c: flavor.describe(c, tables, self._keys))
        if not self._prove_gaps:
            found = [replace(table, proof="grace") for table in found]
        return found, findings

    def _selects(self, table: TableId) -> bool:
        return selects(self._include, self._exclude, table)

    def _same_server(self, begin: ServerIdentity) -> ServerIdentity:
        now = self.identity()
        if begin.uuid and begin != now:
            raise ServerChanged(
                f"the marks were taken on {begin.flavor} {begin.uuid}, this is "
                f"{now.flavor} {now.uuid}",
                where=self._flavor.database.where,
                remedy="point the pipeline back at that server, or, if this is its copy with the "
                "same ids, reset the pipeline's position",
            )
        return now

    def _own(self, position: Position) -> PollPosition:
        if not isinstance(position, PollPosition):
            raise ConfigError(
                "the stored position is one of a log, not of polling",
                where=self._flavor.database.where,
                remedy="give the polling pipeline a name of its own",
            )
        return position


def _is_one_of(ids: Sequence[int], key: sa.ColumnClause[Any]) -> sa.ColumnElement[bool]:
    return key.in_(ids)


def _table_id(name: str) -> TableId:
    schema, dot, table = name.partition(".")
    if not dot:
        raise ConfigError(
            f"{name!r} names no schema", remedy="write it as `schema.table`, e.g. `main.orders_*`"
        )
    return TableId(schema, table)
