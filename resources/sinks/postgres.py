"""The PostgreSQL sink: one database, one schema per namespace, watermarks in schema `_cdc`.

In: reduced changes, appended changes, snapshot chunks as Arrow tables. Out: tables with a primary
key, written by binary COPY (docs/decisions/0008-postgres-copy.md), merged by deleting the touched
keys and copying the rows that are left, in one transaction with the watermark.

Greenplum and what came of it (PieCloudDB) is the same sink with `family="greenplum"`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from resources.errors import ConfigError
from resources.failpoints import failpoint
from resources.model.column_change import ColumnChange
from resources.model.source import Finding
from resources.model.table import TableId
from resources.sinks import postgres_ledger as ledger
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
from resources.sinks.postgres_alter import KINDS, PostgresAlter
from resources.sinks.postgres_catalog import PostgresCatalog
from resources.sinks.postgres_connection import PostgresDatabase, run
from resources.sinks.postgres_ddl import Dialect, Family
from resources.sinks.postgres_load import PostgresLoads
from resources.sinks.postgres_names import MAX_BYTES
from resources.sinks.postgres_pool import Connection, address
from resources.sinks.postgres_types import PostgresTypes
from resources.sinks.postgres_write import PostgresRows
from resources.sinks.sql import select


class PostgresSink(LoadingSink):
    """Target tables in a PostgreSQL database.

    It connects at its first use, and may be used by several threads. The sinks of one process to
    one server as one user share a budget of connections; a call waits for one to become free.

    Args:
        url: `postgresql://user:password@host:5432/database?sslmode=verify-full`, or libpq's
            `keyword=value` form. What it leaves out comes from the arguments below and from
            libpq's environment variables.
        host: Host name, address or folder of a socket.
        port: TCP port.
        user: User name.
        password: Password.
        database: Database; it is not created.
        sslmode: libpq's `sslmode`; its own default if left out.
        sslrootcert: File with the certificate authority.
        sslcert: File with the client's certificate.
        sslkey: File with its key.
        max_connections: The most connections this process may have to the server as this user;
            the least number asked for by the sinks open holds for all.
        lock_timeout: Seconds a statement waits for a lock that another session holds.
        family: `postgres`, or `greenplum` for warehouses that distribute rows by a key.
        types: `{"json_columns": "json"}` or `"jsonb"`; JSON columns are text else.
        create_table: How tables are created, as mappings of `CreateRule`.

    Raises:
        ConfigError: An argument cannot be understood.
    """

    _loads: PostgresLoads

    def __init__(
        self,
        url: str = "",
        *,
        host: str | None = None,
        port: int | None = None,
        user: str | None = None,
        password: str | None = None,
        database: str | None = None,
        sslmode: str | None = None,
        sslrootcert: str | None = None,
        sslcert: str | None = None,
        sslkey: str | None = None,
        max_connections: int = 4,
        lock_timeout: float = 60.0,
        family: Family = "postgres",
        types: Mapping[str, str] | None = None,
        create_table: Sequence[Mapping[str, object]] = (),
    ) -> None:
        if max_connections < 1:
            raise ConfigError("the PostgreSQL sink needs a connection", remedy="max_connections: 4")
        more = {"host": host, "port": port, "user": user, "password": password}
        more |= {"dbname": database, "sslmode": sslmode, "sslrootcert": sslrootcert}
        more |= {"sslcert": sslcert, "sslkey": sslkey}
        place = address(url, lock_timeout, **{k: v for k, v in more.items() if v is not None})
        self._database = PostgresDatabase(place, max_connections)
        rules = create_rules(create_table, PLACES)
        self._catalog = PostgresCatalog(PostgresTypes(types), Dialect(family), rules)
        self._rows = PostgresRows(self._catalog)
        self._loads = PostgresLoads(self._database, self._catalog, self._rows)
        self._alter = PostgresAlter(self._catalog)
        self.capabilities = Capabilities(
            schema_changes=KINDS,
            decimal_precision=76,
            identifier_length=MAX_BYTES,
            parallel_writers=True,
            max_connections=max_connections,
        )

    def check_table(self, target: TargetTable) -> list[Finding]:
        """Return findings about names, types, key, and a table there that does not fit."""
        with self._database.reading(str(target.id)) as connection:
            return self._catalog.check(connection, target)

    def read_schema(self, target: TargetId) -> pa.Schema | None:
        """Return the columns there are now, in the Arrow types they were made for."""
        with self._database.reading(str(target)) as connection:
            return self._catalog.read_schema(connection, target)

    def create_table(self, target: TargetTable) -> None:
        """Create the table and its schema if they are missing, with comments and primary key."""
        with self._database.transaction(str(target.id)) as connection:
            if self._catalog.columns(connection, target.id) is None:
                self._catalog.create(connection, target, target.id)
                ledger.write_arrow(connection, target.id, shape.target_schema(target))

    def drop_table(self, target: TargetId) -> None:
        """Drop the table, its watermarks and loads."""
        with self._database.transaction(str(target)) as connection:
            self._loads.drop_all(connection, target)
            run(connection, f"DROP TABLE IF EXISTS {self._catalog.name(target)}")
            ledger.forget(connection, target)

    def read_table(self, target: TargetId) -> pa.Table:
        """Return all rows in the Arrow types the table was made for."""
        with self._database.reading(str(target)) as connection:
            schema = self._catalog.read_schema(connection, target)
            if schema is None:
                raise shape.no_table(target)
            return self._rows.select(connection, self._catalog.name(target), schema)

    def count_rows(self, target: TargetId) -> int:
        """Return the number of rows."""
        with self._database.reading(str(target)) as connection:
            if self._catalog.columns(connection, target) is None:
                raise shape.no_table(target)
            row = run(connection, select("count(*)", self._catalog.name(target))).fetchone()
            return int(row[0]) if row else 0

    def alter_table(self, target: TargetId, changes: Sequence[ColumnChange]) -> None:
        """Change columns in one transaction; see `Sink.alter_table`."""
        with self._database.transaction(str(target)) as connection:
            self._alter.alter(connection, target, changes)
        failpoint("sink.alter.after_commit")

    def render_changes(self, target: TargetId, changes: Sequence[ColumnChange]) -> list[str]:
        """Return the statements `alter_table` would run."""
        with self._database.reading(str(target)) as connection:
            return self._alter.render(connection, target, changes)

    def execute(self, statements: Sequence[str]) -> None:
        """Run statements a person gave, in one transaction; see `Sink.execute`."""
        with self._database.transaction("a statement given") as connection:
            self._alter.execute(connection, statements)

    def read_watermark(self, target: TargetId, feed: Feed) -> Watermark | None:
        """Return a feed's watermark, None if there is none."""
        with self._database.reading(str(target)) as connection:
            return ledger.read_watermark(connection, target, feed)

    def list_watermarks(self, pipeline: str) -> dict[tuple[TargetId, TableId], Watermark]:
        """Return every watermark of a pipeline."""
        with self._database.reading(f"pipeline {pipeline}") as connection:
            return ledger.list_watermarks(connection, pipeline)

    def list_feeds(self, target: TargetId) -> list[Feed]:
        """Return every feed that has a watermark in a table, sorted."""
        with self._database.reading(str(target)) as connection:
            return ledger.list_feeds(connection, target)

    def merge(
        self, target: TargetTable, upserts: pa.Table, deletes: pa.Table, fence: Fence
    ) -> Written:
        """Delete and upsert by key in one transaction; see `Sink.merge`."""
        shape.check_merge(target, upserts, deletes, fence.feed)
        if target.owner:
            type_ = target.schema.column(target.owner).type
            owners = pa.repeat(pa.scalar(str(fence.feed), type_), deletes.num_rows)
            deletes = deletes.append_column(target.owner, owners)
        touched = deletes.num_rows
        with self._database.transaction(str(target.id)) as connection:
            self._move_watermark(connection, target, fence)
            if upserts.num_rows or touched:
                self._rows.replace(connection, target, upserts, deletes)
            failpoint("sink.after_delete")
            self._rows.insert(connection, target, target.id, upserts)
            failpoint("sink.after_insert")
        failpoint("sink.after_commit")
        return Written(upserts.num_rows, touched)

    def truncate(self, target: TargetTable, fence: Fence) -> int:
        """Delete every row, of a shared target the feed's; see `Sink.truncate`."""
        with self._database.transaction(str(target.id)) as connection:
            self._move_watermark(connection, target, fence)
            count = self._rows.delete_all(connection, target, fence.feed)
            failpoint("sink.after_delete")
        failpoint("sink.after_commit")
        return count

    def append(self, target: TargetTable, rows: pa.Table, fence: Fence) -> Written:
        """Insert rows in one transaction; see `Sink.append`."""
        shape.check_append(target, rows, fence.feed)
        with self._database.transaction(str(target.id)) as connection:
            self._move_watermark(connection, target, fence)
            self._rows.insert(connection, target, target.id, rows)
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

    def _move_watermark(self, connection: Connection, target: TargetTable, fence: Fence) -> None:
        """Compare and set within the open transaction, then lock the table and check its shape."""
        found = ledger.read_watermark(connection, target.id, fence.feed, lock=True)
        mark = moved_watermark(target.id, found, fence)
        self._catalog.require_fit(connection, target, target.id)
        ledger.write_arrow(connection, target.id, shape.target_schema(target))
        ledger.write_watermark(connection, target.id, fence, mark, first=found is None)
        failpoint("sink.after_fence")
