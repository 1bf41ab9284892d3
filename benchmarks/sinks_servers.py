"""Bare loads and merges by servers of our own: PostgreSQL, MySQL.

In: Arrow tables. Out: what their own fastest statements took, see `benchmarks.sinks_bare`.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import pyarrow as pa
from pyarrow import csv

from benchmarks.clock import Clock, Spent
from benchmarks.sinks_bare import Closing

if TYPE_CHECKING:
    from resources.sinks.contract import Sink
    from tests.servers.postgres import PostgresServer


class BarePostgres(Closing):
    """A PostgreSQL server: COPY of bytes the server itself once wrote in binary."""

    _COLUMNS = (
        "id bigint NOT NULL, code text NOT NULL, n0 bigint, n1 bigint, n2 bigint, n3 bigint, "
        "s0 text, s1 text, price numeric(21, 2), at timestamp"
    )

    def __enter__(self) -> Self:
        """Start a server of our own."""
        from tests.servers import start_server

        server = self.stack.enter_context(start_server("postgres"))
        self.server = cast("PostgresServer", server)
        self.db: Any = self.stack.enter_context(self.server.connect())
        self.db.autocommit = False
        return self

    def open_sink(self) -> Sink:
        """Return our sink in the same database."""
        from resources.sinks.postgres import PostgresSink

        return PostgresSink(self.server.url_for(self.server.user, self.server.password))

    def load(self, rows: Sequence[pa.Table]) -> Spent:
        """COPY into a new table, then its primary key."""
        stored = self._stored(rows, self._COLUMNS)
        self.db.execute("DROP TABLE IF EXISTS t")
        self.db.execute(f"CREATE TABLE t ({self._COLUMNS})")
        self.db.commit()
        with Clock() as clock:
            self._copy("t", stored)
            self.db.execute("ALTER TABLE t ADD PRIMARY KEY (id)")
            self.db.commit()
        return clock.spent

    def merge(self, upserts: pa.Table, deletes: pa.Table) -> Spent:
        """COPY into temporary tables, delete all touched keys, insert what is left."""
        rows = self._stored([upserts], self._COLUMNS)
        keys = self._stored([deletes], "id bigint")
        with Clock() as clock:
            self.db.execute(f"CREATE TEMP TABLE given ({self._COLUMNS}) ON COMMIT DROP")
            self.db.execute("CREATE TEMP TABLE gone (id bigint) ON COMMIT DROP")
            self._copy("given", rows)
            self._copy("gone", keys)
            self.db.execute("ANALYZE given; ANALYZE gone")
            self.db.execute("DELETE FROM t USING gone k WHERE t.id = k.id")
            self.db.execute("DELETE FROM t USING given k WHERE t.id = k.id")
            self.db.execute("INSERT INTO t SELECT * FROM given")
            self.db.commit()
        return clock.spent

    def _copy(self, table: str, stored: Iterable[bytes]) -> None:
        with (
            self.db.cursor() as cursor,
            cursor.copy(f"COPY {table} FROM STDIN (FORMAT binary)") as copy,
        ):
            for data in stored:
                copy.write(data)

    def _stored(self, tables: Sequence[pa.Table], columns: str) -> list[bytes]:
        """Return rows as the server writes them."""
        with self.db.cursor() as cursor:
            cursor.execute(f"CREATE TEMP TABLE stored ({columns})")
            with cursor.copy("COPY stored FROM STDIN (FORMAT csv)") as copy:
                for table in tables:
                    text = io.BytesIO()
                    csv.write_csv(table, text, csv.WriteOptions(include_header=False))
                    copy.write(text.getvalue())
            with cursor.copy("COPY stored TO STDOUT (FORMAT binary)") as copy:
                found = b"".join(copy)
            cursor.execute("DROP TABLE stored")
        self.db.commit()
        step = 1 << 20
        return [found[at : at + step] for at in range(0, len(found), step)]

    def count(self) -> int:
        """Return the rows."""
        return int(self.db.execute("SELECT count(*) FROM t").fetchone()[0])


class BareMySQL(Closing):
    """A MySQL server: LOAD DATA of files that lie beside it."""

    _COLUMNS = (
        "id bigint NOT NULL, code longtext, n0 bigint, n1 bigint, n2 bigint, n3 bigint, "
        "s0 longtext, s1 longtext, price decimal(21, 2), at datetime(6), PRIMARY KEY (id)"
    )

    def __enter__(self) -> Self:
        """Start a server of our own."""
        from tests.servers.mysql import MySQLServer

        server = MySQLServer(options={"local_infile": "ON", "innodb_buffer_pool_size": "1G"})
        self.server = self.stack.enter_context(server)
        self.server.start()
        self.db: Any = self.stack.enter_context(self.server.connect(autocommit=False))
        self._run("CREATE DATABASE bare", "USE bare")
        return self

    def open_sink(self) -> Sink:
        """Return our sink on the same server."""
        from resources.sinks.mysql import MySQLSink

        server = self.server
        return MySQLSink(
            server.host, port=server.port, user=server.user, password=server.password, tls="off"
        )

    def load(self, rows: Sequence[pa.Table]) -> Spent:
        """LOAD DATA into a new table with its primary key, as our sink does."""
        file = self._file("rows", rows)
        self._run("DROP TABLE IF EXISTS t", f"CREATE TABLE t ({self._COLUMNS})")
        with Clock() as clock:
            self._run(self._load(file, "t"), "COMMIT")
        return clock.spent

    def merge(self, upserts: pa.Table, deletes: pa.Table) -> Spent:
        """LOAD DATA REPLACE the rows, LOAD DATA the keys and delete by them."""
        rows, keys = self._file("rows", [upserts]), self._file("keys", [deletes])
        with Clock() as clock:
            self._run(
                "CREATE TEMPORARY TABLE gone (id bigint PRIMARY KEY)",
                "START TRANSACTION",
                self._load(keys, "gone"),
                "DELETE t FROM gone STRAIGHT_JOIN t ON t.id = gone.id",
                self._load(rows, "t", "REPLACE "),
                "COMMIT",
                "DROP TEMPORARY TABLE gone",
            )
        return clock.spent

    def _load(self, file: Path, table: str, replace: str = "") -> str:
        return (
            f"LOAD DATA INFILE '{file}' {replace}INTO TABLE {table} CHARACTER SET utf8mb4 "
            "FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"'"
        )

    def _file(self, name: str, tables: Sequence[pa.Table]) -> Path:
        """Write a file where the server reads files."""
        path = Path(self.server.home) / "tmp" / f"{name}.csv"
        with path.open("wb") as file:
            for table in tables:
                csv.write_csv(table, file, csv.WriteOptions(include_header=False))
        path.chmod(0o644)
        return path

    def _run(self, *statements: str) -> None:
        with self.db.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def count(self) -> int:
        """Return the rows."""
        with self.db.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM t")
            return int(cursor.fetchone()[0])
