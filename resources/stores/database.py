"""The state store's database: one SQLAlchemy engine, made ready and guarded here.

In: a URL. Out: transactions whose operational failures are `TransientError`, never with the
password in their text.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import (
    Connection,
    Engine,
    Insert,
    Table,
    create_engine,
    event,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from resources.errors import ConfigError, TransientError
from resources.stores import tables
from resources.stores.private import create_private_file

_BUSY_SECONDS = 30
_ADVISORY_LOCK = 4_840_205_117
_CLOCKS = {
    "postgresql": "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)",
    "mysql": "SELECT CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS SIGNED)",
}


class StateDatabase:
    """One database that holds the state of any number of pipelines.

    Safe to share between threads; each process opens its own.

    Args:
        url: `sqlite:////absolute/path`, `postgresql+psycopg://…` or `mysql+pymysql://…`. A SQLite
            file and its folder are created, readable by their owner only.

    Raises:
        ConfigError: The URL cannot be used, or the tables are of a newer version than this code.
        TransientError: The database cannot be reached now.
    """

    def __init__(self, url: str) -> None:
        self._url = _parse_url(url)
        backend = self._url.get_backend_name()
        self.dialect = "mysql" if backend == "mariadb" else backend
        self.name = self._url.render_as_string(hide_password=True)
        if self.dialect == "sqlite":
            _create_sqlite_file(Path(str(self._url.database)))
            self._switch_to_wal()
        self._engine = self._create_engine()
        self._writes = self._engine.execution_options(cdc_write=True)
        try:
            with self._translated_errors():
                self._create_tables()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Open a transaction that may write; it commits at the end and rolls back on an error.

        Raises:
            TransientError: The database is locked, gone or refuses now; nothing was committed
                unless the connection broke during COMMIT itself.
        """
        with self._translated_errors(), self._writes.begin() as conn:
            yield conn

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that only reads, so that on SQLite it waits for no writer.

        Raises:
            TransientError: As `begin`.
        """
        with self._translated_errors(), self._engine.begin() as conn:
            yield conn

    def now_us(self, conn: Connection) -> int:
        """Return the database's clock in microseconds since the epoch.

        A SQLite file belongs to one machine, so there it is the machine's clock.
        """
        if self.dialect == "sqlite":
            return time.time_ns() // 1000
        return int(conn.scalar(text(_CLOCKS[self.dialect])) or 0)

    def insert_missing(
        self, conn: Connection, table: Table, rows: Sequence[Mapping[str, Any]]
    ) -> int:
        """Insert rows whose keys are not there yet and leave the others as they are.

        Returns:
            Rows inserted where one row was given; with several, drivers do not all tell.
        """
        if not rows:
            return 0
        statement: Insert
        if self.dialect == "postgresql":
            statement = postgresql_insert(table).on_conflict_do_nothing()
        elif self.dialect == "sqlite":
            statement = sqlite_insert(table).on_conflict_do_nothing()
        else:
            statement = insert(table).prefix_with("IGNORE")
        parameters = [dict(row) for row in rows]
        done = conn.execute(
            statement,
            parameters[0] if len(rows) == 1 else parameters,
            execution_options={"preserve_rowcount": True},
        )
        return done.rowcount

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def _create_engine(self) -> Engine:
        options: dict[str, Any] = {"hide_parameters": True}
        if self.dialect == "sqlite":
            options["connect_args"] = {"timeout": _BUSY_SECONDS, "check_same_thread": False}
        else:
            options |= {"pool_pre_ping": True, "isolation_level": "READ COMMITTED"}
        try:
            engine = create_engine(self._url, **options)
        except ImportError as error:
            raise ConfigError(
                f"the driver of the state database is not installed: {error.name}",
                where=self.name,
                remedy="pip install 'cdc-assets[postgres]' for PostgreSQL",
            ) from error
        if self.dialect == "sqlite":
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
        return engine

    def _switch_to_wal(self) -> None:
        # SQLite does not call the busy handler for this switch, so the wait is ours
        deadline = time.monotonic() + _BUSY_SECONDS
        connection = sqlite3.connect(str(self._url.database), timeout=_BUSY_SECONDS)
        try:
            while True:
                try:
                    connection.execute("PRAGMA journal_mode = WAL")
                    return
                except sqlite3.OperationalError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.01)
        except sqlite3.OperationalError as error:
            raise TransientError(f"the state database failed: {error}", where=self.name) from None
        except sqlite3.DatabaseError as error:
            raise ConfigError(
                f"the state database's file cannot be used: {error}",
                where=self.name,
                remedy="name another path, or put back a copy of the file",
            ) from None
        finally:
            connection.close()

    def _create_tables(self) -> None:
        with self._engine.connect() as conn:
            ready = conn.dialect.has_table(conn, tables.state_version.name)
            version = conn.scalar(select(tables.state_version.c.version)) if ready else None
        if version is None or version < tables.SCHEMA_VERSION:
            with self._writes.connect() as conn, self._schema_lock(conn):
                version = self._create_missing(conn)
        if version > tables.SCHEMA_VERSION:
            raise ConfigError(
                f"the state tables have version {version}, this code knows version "
                f"{tables.SCHEMA_VERSION}",
                where=self.name,
                remedy="run the newer cdc-assets release that wrote them, or name another database",
            )

    def _create_missing(self, conn: Connection) -> int:
        tables.metadata.create_all(conn)
        row = {"id": 1, "version": tables.SCHEMA_VERSION}
        self.insert_missing(conn, tables.state_version, [row])
        self.insert_missing(conn, tables.tokens, [{"id": 1, "last": 0}])
        version = tables.state_version.c.version
        older = update(tables.state_version).where(version < tables.SCHEMA_VERSION)
        conn.execute(older.values(version=tables.SCHEMA_VERSION))
        return int(conn.scalar(select(version)) or 0)

    @contextmanager
    def _schema_lock(self, conn: Connection) -> Iterator[None]:
        if self.dialect == "mysql":  # its DDL commits, so a lock of the transaction would not hold
            conn.execute(text("SELECT GET_LOCK('cdc_state_tables', 60)"))
            try:
                yield
                conn.commit()
            finally:
                conn.execute(text("SELECT RELEASE_LOCK('cdc_state_tables')"))
            return
        with conn.begin():
            if self.dialect == "postgresql":
                conn.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))
            yield

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except (OperationalError, InterfaceError) as error:
            if _is_statement_error(error):
                raise
            raise TransientError(
                f"the state database failed: {self._clean(error)}",
                where=self.name,
                remedy="see that the database runs, is reachable and has space, then run again",
            ) from None
        except PoolTimeout:
            raise TransientError(
                "no free connection to the state database", where=self.name
            ) from None
        except DBAPIError as error:
            if error.connection_invalidated:
                raise TransientError(
                    f"the connection to the state database broke: {self._clean(error)}",
                    where=self.name,
                ) from None
            raise

    def _clean(self, error: DBAPIError) -> str:
        lines = str(error.orig).strip().splitlines() or [""]
        words = f"{type(error.orig).__name__}: {lines[0]}"
        if self._url.password:
            password = str(self._url.password)
            for secret in (password, quote(password, safe="")):
                words = words.replace(secret, "***")
        return words


def _parse_url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigError(
            "the URL of the state database cannot be read",
            remedy="sqlite:////absolute/path or postgresql+psycopg://user:password@host/database",
        ) from None
    if parsed.get_backend_name() not in ("sqlite", "postgresql", "mysql", "mariadb"):
        raise ConfigError(
            f"{parsed.get_backend_name()!r} cannot hold the state",
            remedy="name a sqlite, postgresql+psycopg or mysql+pymysql database",
        )
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise ConfigError(
            "a SQLite state database needs a file, memory is lost with the process",
            remedy="sqlite:////absolute/path",
        )
    return parsed


def _create_sqlite_file(path: Path) -> None:
    try:
        create_private_file(path)
    except OSError as error:
        raise ConfigError(
            f"the state database's file cannot be created: {error.strerror}",
            where=str(path),
            remedy="name a path in a folder this user may write",
        ) from error


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # the driver would begin its own, deferred transactions
    connection.execute("PRAGMA synchronous = FULL")


def _begin_sqlite(conn: Connection) -> None:
    writes = conn.get_execution_options().get("cdc_write", False)
    conn.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _is_statement_error(error: DBAPIError) -> bool:
    """Return whether SQLite means the statement, which its driver calls operational too."""
    return getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR


def clean_text(text: str) -> str:
    r"""Return free text as every database takes it: NUL and lone surrogates are written out."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
