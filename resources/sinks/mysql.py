"""The MySQL family sink: a database per namespace, watermarks in database `_cdc`.

In: reduced changes, appended changes, snapshot chunks as Arrow tables. Out: tables with a primary
key, written by LOAD DATA LOCAL from memory where the server does that faithfully, else by rows of
VALUES; merged in one transaction with the watermark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from resources.errors import ConfigError
from resources.failpoints import failpoint
from resources.model.column_change import ColumnChange
from resources.model.source import Finding
from resources.model.table import TableId
from resources.mysql.connection import MySQLSettings, Tls
from resources.sinks import mysql_ledger as ledger
from resources.sinks import shape
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
from resources.sinks.fence import moved_watermark
from resources.sinks.loading import LoadingSink
from resources.sinks.mysql_alter import KINDS, MySQLAlter
from resources.sinks.mysql_catalog import MySQLCatalog
from resources.sinks.mysql_connection import MySQLDatabase, committed, run
from resources.sinks.mysql_load import MySQLLoads
from resources.sinks.mysql_names import MAX_LENGTH
from resources.sinks.mysql_session import Session, address
from resources.sinks.mysql_types import MAX_PRECISION, MySQLTypes
from resources.sinks.mysql_write import MySQLRows
from resources.sinks.sql import select


class MySQLSink(LoadingSink):
    """Target tables in a server of the MySQL family.

    It connects at its first use, and may be used by several threads. The sinks of one process to
    one server as one user share a budget of connections; a call waits for one to become free.

    Args:
        host: Name or address; the server's certificate has to carry it.
        port: TCP port.
        socket: Unix socket in place of host and port; needs no TLS.
        user: User name.
        password: Password.
        tls: `verify` checks certificate and host name, `require` encrypts only, `off` neither.
        ca: File with the certificate authority; the system's own if left out.
        cert: File with the client's certificate.
        key: File with its key.
        max_connections: The most connections this process may have to the server as this user;
            the least number asked for by the sinks open holds for all.
        lock_timeout: Seconds a statement waits for a lock that another session holds.
        types: `{"json_columns": "json"}`; JSON columns are text else.
        create_table: How tables are created, as mappings of `CreateRule`.

    Raises:
        ConfigError: An argument cannot be understood.
    """

    _loads: MySQLLoads

    def __init__(
        self,
        host: str = "127.0.0.1",
        *,
        port: int = 3306,
        socket: str | None = None,
        user: str = "root",
        password: str = "",
        tls: Tls = "verify",
        ca: str | None = None,
        cert: str | None = None,
        key: str | None = None,
        max_connections: int = 4,
        lock_timeout: float = 60.0,
        types: Mapping[str, str] | None = None,
        create_table: Sequence[Mapping[str, object]] = (),
    ) -> None:
        if max_connections < 1:
            raise ConfigError("the MySQL sink needs a connection", remedy="max_connections: 4")
        settings = MySQLSettings(
            host=host,
            port=port,
            socket=socket,
            user=user,
            password=password,
            tls=tls,
            ca=ca,
            cert=cert,
            key=key,
        )
        self._database = MySQLDatabase(address(settings, lock_timeout), max_connections)
        self._catalog = MySQLCatalog(MySQLTypes(types), create_rules(create_table, PLACES))
        self._rows = MySQLRows(self._catalog)
        self._loads = MySQLLoads(self._database, self._catalog, self._rows)
        self._alter = MySQLAlter(self._catalog)
        self.capabilities = Capabilities(
            schema_changes=KINDS,
            decimal_precision=MAX_PRECISION,
            identifier_length=MAX_LENGTH,
            folds_case=True,
            parallel_writers=True,
            max_connections=max_connections,
            joined_changes=True,
            refused_values=frozenset({"nan", "infinity", "time beyond 838:59:59"}),
        )

    def check_table(self, target: TargetTable) -> list[Finding]:
        """Return findings about names, types, key, and a table there that does not fit."""
        with self._database.session(str(target.id)) as session:
            return self._catalog.check(session, target)

    def read_schema(self, target: TargetId) -> pa.Schema | None:
        """Return the columns there are now, in the Arrow types they were made for."""
        with self._database.session(str(target)) as session:
            return self._catalog.read_schema(session, target)

    def create_table(self, target: TargetTable) -> None:
        """Create the table and its database if they are missing, with comments and primary key."""
        self._catalog.require_names(target)
        with self._database.session(str(target.id)) as session:
            self._catalog.wanted(session.server, target)
            if not self._catalog.is_table(session, target.id):
                with committed(session):
                    if ledger.is_dropping(session, target.id, lock=True):
                        ledger.forget(session, target.id)
                    ledger.write_arrow(session, target.id, shape.target_schema(target))
                self._catalog.create(session, target, target.id)

    def drop_table(self, target: TargetId) -> None:
        """Drop the table, its watermarks and loads."""
        with self._database.session(str(target)) as session:
            with committed(session):
                ledger.set_dropping(session, target)
            name = self._catalog.name(session.server, target)
            if ledger.exists(session, target):
                run(session, f"DROP TABLE IF EXISTS {name}")
            self._loads.forget(session, target)

    def read_table(self, target: TargetId) -> pa.Table:
        """Return all rows in the Arrow types the table was made for."""
        with self._database.session(str(target)) as session:
            schema = self._catalog.read_schema(session, target)
            if schema is None:
                raise shape.no_table(target)
            name = self._catalog.name(session.server, target)
            return self._rows.select(session, name, schema, {})

    def count_rows(self, target: TargetId) -> int:
        """Return the number of rows."""
        with self._database.session(str(target)) as session:
            if self._catalog.columns(session, target) is None:
                raise shape.no_table(target)
            name = self._catalog.name(session.server, target)
            return int(run(session, select("COUNT(*)", name)).rows[0][0])

    def alter_table(self, target: TargetId, changes: Sequence[ColumnChange]) -> None:
        """Change columns by one ALTER TABLE; see `Sink.alter_table`."""
        with self._database.session(str(target)) as session:
            self._alter.alter(session, target, changes)
        failpoint("sink.alter.after_commit")

    def render_changes(self, target: TargetId, changes: Sequence[ColumnChange]) -> list[str]:
        """Return the statements `alter_table` would run."""
        with self._database.session(str(target)) as session:
            return self._alter.render(session, target, changes)

    def execute(self, statements: Sequence[str]) -> None:
        """Run statements a person gave, all of them parsed first; see `Sink.execute`."""
        with self._database.session("a statement given") as session:
            self._alter.execute(session, statements)

    def read_watermark(self, target: TargetId, feed: Feed) -> Watermark | None:
        """Return a feed's watermark, None if there is none."""
        with self._database.session(str(target)) as session:
            return ledger.current_watermark(session, target, feed)

    def list_watermarks(self, pipeline: str) -> dict[tuple[TargetId, TableId], Watermark]:
        """Return every watermark of a pipeline."""
        with self._database.session(f"pipeline {pipeline}") as session:
            return ledger.list_watermarks(session, pipeline)

    def list_feeds(self, target: TargetId) -> list[Feed]:
        """Return every feed that has a watermark in a table, sorted."""
        with self._database.session(str(target)) as session:
            return ledger.list_feeds(session, target)

    def merge(
        self, target: TargetTable, upserts: pa.Table, deletes: pa.Table, fence: Fence
    ) -> Written:
        """Delete and upsert by key in one transaction; see `Sink.merge`."""
        shape.check_merge(target, upserts, deletes, fence.feed)
        with self._database.transaction(str(target.id)) as session:
            self._move_watermark(session, target, fence)
            own = str(fence.feed)
            replace = self._rows.merge(session, target, upserts, deletes, own)
            failpoint("sink.after_delete")
            self._rows.insert(session, target, target.id, upserts, replace=replace)
            failpoint("sink.after_insert")
        failpoint("sink.after_commit")
        return Written(upserts.num_rows, deletes.num_rows)

    def truncate(self, target: TargetTable, fence: Fence) -> int:
        """Delete every row, of a shared target the feed's; see `Sink.truncate`."""
        with self._database.transaction(str(target.id)) as session:
            self._move_watermark(session, target, fence)
            count = self._rows.delete_all(session, target, str(fence.feed))
            failpoint("sink.after_delete")
        failpoint("sink.after_commit")
        return count

    def append(self, target: TargetTable, rows: pa.Table, fence: Fence) -> Written:
        """Insert rows in one transaction; see `Sink.append`."""
        shape.check_append(target, rows, fence.feed)
        with self._database.transaction(str(target.id)) as session:
            self._move_watermark(session, target, fence)
            self._rows.insert(session, target, target.id, rows)
            failpoint("sink.after_insert")
        failpoint("sink.after_commit")
        return Written(rows.num_rows)

    def find_rejected(self, target: TargetTable, rows: pa.Table) -> list[RejectedWrite]:
        """Try the rows in transactions that are rolled back and name those refused.

        Where the table does not exist yet or has other columns (a load will replace it), one of
        the target's shape stands in.
        """
        shape.check_rows(target, rows, shape.target_schema(target))
        return self._rows.find_rejected(self._database, target, rows)

    def close(self) -> None:
        """Give the sink's share of the connections up; the last one to do so closes them."""
        self._database.close()

    def _move_watermark(self, session: Session, target: TargetTable, fence: Fence) -> None:
        """Compare and set within the open transaction, and check the table's shape.

        Reading the table first keeps it from being renamed or altered until the transaction ends.
        """
        self._catalog.touch(session, target.id)
        ledger.settle(session, target.id)
        found = ledger.read_watermark(session, target.id, fence.feed, lock=True)
        mark = moved_watermark(target.id, found, fence)
        self._catalog.require_fit(session, target, target.id)
        ledger.write_arrow(session, target.id, shape.target_schema(target))
        ledger.write_watermark(session, target.id, fence, mark, first=found is None)
        failpoint("sink.after_fence")
