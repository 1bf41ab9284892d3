"""The ClickHouse sink: a server over HTTP, or its engine in this process (chDB).

In: reduced changes, appended changes, snapshot chunks as Arrow tables. Out: tables that keep one
row per key as their engine does (`clickhouse_strategy`), and what is known of them in `_cdc`.

ClickHouse has no transactions: data is written first and the watermark last, and writing a batch
again changes nothing (docs/decisions/0010-clickhouse-without-transactions.md).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from resources.errors import ConfigError
from resources.failpoints import failpoint
from resources.model.change import SEQ
from resources.model.column_change import ColumnChange
from resources.model.source import Finding
from resources.model.table import TableId
from resources.sinks import clickhouse_ledger as ledger
from resources.sinks import shape
from resources.sinks.clickhouse_alter import KINDS, ClickHouseColumns
from resources.sinks.clickhouse_catalog import ClickHouseCatalog, name_of
from resources.sinks.clickhouse_connection import ClickHouse, Place
from resources.sinks.clickhouse_ddl import Dialect
from resources.sinks.clickhouse_ledger import Mark
from resources.sinks.clickhouse_live import LiveTable
from resources.sinks.clickhouse_load import ClickHouseLoads
from resources.sinks.clickhouse_names import literal, quote, quote_all
from resources.sinks.clickhouse_rows import ClickHouseRefusals
from resources.sinks.clickhouse_strategy import Wish, own_columns
from resources.sinks.clickhouse_types import from_storage
from resources.sinks.clickhouse_view import FinalViews
from resources.sinks.clickhouse_write import Write
from resources.sinks.contract import (
    Capabilities,
    Feed,
    Fence,
    RejectedWrite,
    TargetId,
    TargetTable,
    Watermark,
    Written,
)
from resources.sinks.create_table import create_rules
from resources.sinks.create_template import PLACES
from resources.sinks.fence import fenced_out, moved_watermark
from resources.sinks.loading import LoadingSink
from resources.sinks.sql import select, where_all


class ClickHouseSink(LoadingSink):
    """Target tables in ClickHouse; a target's namespace is a database.

    It connects at its first use. With a server it may be used by several threads.

    Args:
        path: Folder of the engine in this process (chDB); no other process can have it open.
        host: Host name or address of a server, in place of `path`.
        port: Its HTTP port; 8443, or 8123 without `secure`, if left out.
        user: User name.
        password: Password.
        secure: Whether to speak HTTPS.
        verify: Whether to check the server's certificate.
        ca: File with the certificate authority.
        cert: File with the client's certificate.
        key: File with its key.
        connect_timeout: Seconds a connection may take.
        timeout: Seconds an answer may take.
        lock_timeout: Seconds to wait while another process has the folder open.
        max_connections: How many threads may write at once; one where `path` is given.
        strategy: How tables keep their key; `auto` goes by their engine.
        final_view: Name of the view beside each table that shows one row per key; empty for none.
        cluster: Cluster to run DDL on; empty for one server.
        replicated: Whether created tables are replicated.
        settings: ClickHouse settings for every statement.
        create_table: How tables are created, as mappings of `CreateRule`.

    Raises:
        ConfigError: The arguments do not go together.
    """

    _loads: ClickHouseLoads

    def __init__(
        self,
        path: str = "",
        *,
        host: str = "",
        port: int | None = None,
        user: str = "default",
        password: str = "",
        secure: bool = True,
        verify: bool = True,
        ca: str | None = None,
        cert: str | None = None,
        key: str | None = None,
        connect_timeout: float = 10.0,
        timeout: float = 300.0,
        lock_timeout: float = 30.0,
        max_connections: int = 4,
        strategy: Wish = "auto",
        final_view: str = "{table}_final",
        cluster: str = "",
        replicated: bool = False,
        settings: Mapping[str, Any] | None = None,
        create_table: Sequence[Mapping[str, object]] = (),
    ) -> None:
        if bool(path) == bool(host):
            raise ConfigError(
                "the ClickHouse sink needs a server or a folder",
                remedy="host: <name>, or path: <folder> for the engine in the run's own process",
            )
        options: dict[str, Any] = {"username": user, "password": password, "secure": secure}
        options |= {"verify": verify, "ca_cert": ca, "client_cert": cert, "client_cert_key": key}
        options |= {"connect_timeout": connect_timeout, "send_receive_timeout": timeout}
        place = Place(path, host, port or (8443 if secure else 8123), options, settings or {})
        self._server = ClickHouse(place, Dialect(cluster, replicated), lock_timeout)
        self._catalog = ClickHouseCatalog(
            self._server,
            strategy,
            FinalViews(self._server, final_view),
            create_rules(create_table, (*PLACES, "engine")),
        )
        self._refusals = ClickHouseRefusals(self._server, self._catalog)
        self._loads = ClickHouseLoads(self._server, self._catalog, self._refusals)
        self._columns = ClickHouseColumns(self._server, self._catalog)
        self.capabilities = Capabilities(
            transactions=False,
            schema_changes=KINDS,
            decimal_precision=76,
            parallel_writers=bool(host),
            max_connections=max_connections if host else 1,
        )

    def check_table(self, target: TargetTable) -> list[Finding]:
        """Return findings about names, types, key, engine, and a table there that does not fit."""
        return self._catalog.check(target)

    def read_schema(self, target: TargetId) -> pa.Schema | None:
        """Return the columns there are now, in the Arrow types they were made for."""
        return self._catalog.read_schema(target)

    def create_table(self, target: TargetTable) -> None:
        """Create the table, its database and its view if they are missing."""
        with self._server.alone(target.id):
            if self._catalog.live(target.id) is None:
                self._catalog.create(target, target.id, self._catalog.created_strategy())
            self._catalog.show_view(target.id)

    def drop_table(self, target: TargetId) -> None:
        """Drop the table, its view, watermarks and loads."""
        with self._server.alone(target):
            failpoint("sink.before_commit")
            self._catalog.drop_view(target)
            self._catalog.drop(target)
            self._loads.drop_all(target)
            ledger.forget(self._server, target)

    def read_table(self, target: TargetId) -> pa.Table:
        """Return all rows, one per key, in the Arrow types the table was made for."""
        live = self._catalog.require_live(target)
        schema = self._catalog.schema_of(live)
        query = select(quote_all(schema.names), self._rows_of(live))
        return from_storage(self._server.select(query, str(target)), schema)

    def count_rows(self, target: TargetId) -> int:
        """Return the number of rows, one per key."""
        rows = self._rows_of(self._catalog.require_live(target))
        return int(self._server.value(select("count()", rows), str(target)))

    def alter_table(self, target: TargetId, changes: Sequence[ColumnChange]) -> None:
        """Change a table's columns one after the other; see `Sink.alter_table`."""
        self._columns.alter(target, changes)

    def render_changes(self, target: TargetId, changes: Sequence[ColumnChange]) -> list[str]:
        """Return the statements `alter_table` would run."""
        return self._columns.render(target, changes)

    def execute(self, statements: Sequence[str]) -> None:
        """Run statements a person gave, one after the other; see `Sink.execute`."""
        self._columns.execute(statements)

    def read_watermark(self, target: TargetId, feed: Feed) -> Watermark | None:
        """Return a feed's watermark on the table that is there, None if there is none."""
        live = self._catalog.live(target)
        mark = live and ledger.read_mark(self._server, target, live.uuid, feed)
        return mark.watermark if mark else None

    def list_watermarks(self, pipeline: str) -> dict[tuple[TargetId, TableId], Watermark]:
        """Return every watermark of a pipeline, by target and source table."""
        return ledger.list_marks(self._server, pipeline)

    def list_feeds(self, target: TargetId) -> list[Feed]:
        """Return every feed that has a watermark in a table, sorted."""
        live = self._catalog.live(target)
        return [] if live is None else ledger.list_feeds(self._server, target, live.uuid)

    def merge(
        self, target: TargetTable, upserts: pa.Table, deletes: pa.Table, fence: Fence
    ) -> Written:
        """Put upserts and deletes in as the table's engine does; see `Sink.merge`."""
        shape.check_merge(target, upserts, deletes, fence.feed)
        with self._server.alone(target.id):
            live, found, new = self._fenced(target, fence)
            self._refusals.check(target, upserts, live)
            strategy = self._catalog.strategy(target, live)
            version = max(fence.new, found.version if found else 0)
            gone = deletes
            if target.owner:
                gone, newest = self._refusals.claim(target, live, upserts, deletes, fence.feed)
                version = max(version, newest)
            write = Write(self._server, target, live, strategy, _token(fence))
            write.replace(upserts, gone, version)
            failpoint("sink.after_insert")
            self._move(target, live, found, new, fence, version)
        failpoint("sink.after_commit")
        return Written(upserts.num_rows, deletes.num_rows)

    def truncate(self, target: TargetTable, fence: Fence) -> int:
        """Delete every row, of a shared target the feed's; see `Sink.truncate`."""
        with self._server.alone(target.id):
            live, found, new = self._fenced(target, fence)
            write = Write(self._server, target, live, self._catalog.strategy(target, live))
            version = max(fence.new, found.version if found else 0, write.newest())
            count = write.delete_feed(fence.feed, version)
            failpoint("sink.after_delete")
            self._move(target, live, found, new, fence, version)
        failpoint("sink.after_commit")
        return count

    def append(self, target: TargetTable, rows: pa.Table, fence: Fence) -> Written:
        """Insert the rows that are not there yet; see `Sink.append`.

        A run that was killed after its insert leaves rows above the watermark. They are told by
        their sequence number, which no other row of the feed has.
        """
        shape.check_append(target, rows, fence.feed)
        with self._server.alone(target.id):
            live, found, new = self._fenced(target, fence)
            self._refusals.check(target, rows, live)
            write = Write(self._server, target, live, own_columns(live), _token(fence))
            write.insert(self._not_there(target, rows, fence.feed))
            failpoint("sink.after_insert")
            self._move(target, live, found, new, fence, 0)
        failpoint("sink.after_commit")
        return Written(rows.num_rows)

    def find_rejected(self, target: TargetTable, rows: pa.Table) -> list[RejectedWrite]:
        """Name the rows refused, by looking at values and by trying them in an empty copy."""
        shape.check_rows(target, rows, shape.target_schema(target))
        return self._refusals.find(target, rows)

    def close(self) -> None:
        """Release the folder or the connection."""
        self._server.close()

    def _fenced(
        self, target: TargetTable, fence: Fence
    ) -> tuple[LiveTable, Mark | None, Watermark]:
        """Return the table, the feed's watermark on it, and the one after this write."""
        live = self._catalog.require_fit(target)
        found = ledger.read_mark(self._server, target.id, live.uuid, fence.feed)
        new = moved_watermark(target.id, found.watermark if found else None, fence)
        failpoint("sink.after_fence")
        return live, found, new

    def _move(
        self,
        target: TargetTable,
        live: LiveTable,
        found: Mark | None,
        new: Watermark,
        fence: Fence,
        version: int,
    ) -> None:
        """Set the watermark, unless somebody else moved it since it was read.

        Raises:
            FencedOut: Somebody did. What was written is what the log says, so it does no harm.
        """
        mark = Mark(new, version, found.move + 1 if found else 0)
        now = ledger.read_mark(self._server, target.id, live.uuid, fence.feed)
        if now == found:
            ledger.write_mark(self._server, target.id, live.uuid, fence.feed, mark)
            now = ledger.read_mark(self._server, target.id, live.uuid, fence.feed)
        if now != mark:
            raise fenced_out(
                target.id, fence, f"another writer moved the watermark of {fence.feed} meanwhile"
            )

    def _not_there(self, target: TargetTable, rows: pa.Table, feed: Feed) -> pa.Table:
        numbers = pc.min_max(rows[SEQ]).as_py()
        if not numbers["max"]:
            return rows
        own = f"{quote(target.owner)} = {literal(str(feed))}" if target.owner else ""
        seen = f"{quote(SEQ)} BETWEEN {numbers['min']} AND {numbers['max']}"
        there = self._server.select(
            select(quote(SEQ), name_of(target.id), where_all(f"{quote(SEQ)} > 0", seen, own)),
            str(target.id),
        )
        if not there.num_rows:
            return rows
        return rows.filter(pc.invert(pc.is_in(rows[SEQ], value_set=there[SEQ])))

    def _rows_of(self, live: LiveTable) -> str:
        return name_of(live.id) + own_columns(live).final


def _token(fence: Fence) -> str:
    """Return what begins the names of a write's inserts: its feed and its part of the log.

    Rows set aside and written later do not move the watermark; they may come again, changed and
    changed back, so every such write has a name of its own.
    """
    again = os.urandom(8).hex() if fence.new == fence.expected else ""
    return f"{fence.feed} {fence.expected} {fence.new} {again}"
