"""Addresses of PostgreSQL databases, and this process's budgets of connections to them.

In: a URL or libpq's keywords. Out: connections on which a transaction was begun.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow

from resources.errors import ConfigError
from resources.sinks.budget import Budgets
from resources.sinks.postgres_errors import not_reached

Connection: TypeAlias = psycopg.Connection[TupleRow]
Session: TypeAlias = tuple[tuple[tuple[str, str], ...], float]

_DEFAULTS: Mapping[str, object] = MappingProxyType(
    {
        "connect_timeout": 10,
        "application_name": "cdc-assets",
        "client_encoding": "utf8",
        "keepalives_idle": 60,
        "keepalives_interval": 10,
        "keepalives_count": 3,
    }
)

_LONGEST_END = 5.0
"""Seconds to wait for a server to end a connection that was closed."""
_OWN_ROOTS = Path("~/.postgresql/root.crt")
"""Where libpq looks for certificate authorities by itself; else the system's are taken."""


@dataclass(frozen=True)
class Address:
    """A database and who asks for it.

    Args:
        parameters: libpq's keywords and values.
        lock_timeout: Seconds a statement waits for a lock.
    """

    parameters: Mapping[str, str] = field(repr=False)
    lock_timeout: float

    @property
    def where(self) -> str:
        """The server and database, without a secret."""
        return f"{self._get('host')}:{self._get('port')}/{self._get('dbname')}"

    @property
    def session(self) -> Session:
        """What sessions have in common that can stand for each other."""
        return tuple(sorted(self.parameters.items())), self.lock_timeout

    @property
    def budget(self) -> tuple[str, ...]:
        """What a budget goes by: the server and the user, in this process (not in its forks)."""
        return (str(os.getpid()), *(self._get(k) for k in ("host", "hostaddr", "port", "user")))

    def connect(self) -> Connection:
        """Open a connection and begin a transaction on it.

        Raises:
            SinkUnavailable: The server cannot be reached.
            ConfigError: It does not let us in, or keeps text in another encoding than UTF-8.
        """
        try:
            connection = psycopg.connect(
                make_conninfo("", **self.parameters), autocommit=True, prepare_threshold=None
            )
        except psycopg.Error as error:
            raise not_reached(error, self.where, self._get("password")) from None
        try:
            self._set_up(connection)
        except psycopg.Error as error:
            connection.close()
            raise not_reached(error, self.where, self._get("password")) from None
        except BaseException:
            connection.close()
            raise
        return connection

    def revive(self, connection: Connection) -> bool:
        """Begin a transaction on an idle connection; returns whether the server still has it."""
        try:
            connection.execute("BEGIN")
        except psycopg.OperationalError:
            return False
        return True

    def rest(self, connection: Connection) -> bool:
        """Roll back what is open; returns whether the connection can be used again."""
        status = psycopg.pq.TransactionStatus
        if connection.info.transaction_status in (status.INTRANS, status.INERROR):
            with suppress(psycopg.Error):
                connection.execute("ROLLBACK")
        return connection.info.transaction_status == status.IDLE

    def end(self, connection: Connection) -> None:
        """Close a connection, and wait until the server has ended its process for it.

        That one counts among the server's connections until then; the end of the stream, seen
        through a second handle of the socket, tells.
        """
        if connection.closed:
            return
        with socket.socket(fileno=os.dup(connection.fileno())) as stream:
            connection.close()
            stream.settimeout(_LONGEST_END)
            with suppress(OSError):
                while stream.recv(4096):
                    pass

    def _set_up(self, connection: Connection) -> None:
        """Set what a pooler would not let through as parameters of the connection."""
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise ConfigError(
                f"the database keeps text as {encoding}, which does not hold every character",
                where=self.where,
                remedy="create a database with ENCODING 'UTF8'",
            )
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET standard_conforming_strings = on")
        connection.execute(f"SET lock_timeout = {round(self.lock_timeout * 1000)}")
        connection.execute("BEGIN")

    def _get(self, key: str) -> str:
        return str(self.parameters.get(key, ""))


def address(conninfo: str, lock_timeout: float, **more: str | int) -> Address:
    """Return the address that a URL or libpq's keywords name.

    Args:
        conninfo: `postgresql://…` or `host=… dbname=…`.
        lock_timeout: Seconds a statement waits for a lock.
        more: Keywords for what it leaves out.

    Raises:
        ConfigError: It cannot be read.
    """
    scheme, found, rest = conninfo.partition("://")
    if found:  # SQLAlchemy's form names the driver too
        conninfo = scheme.partition("+")[0] + "://" + rest
    try:
        given = {**more, **conninfo_to_dict(conninfo)}
    except psycopg.Error:
        raise ConfigError(  # the driver's text would show the password
            "the address of the PostgreSQL server cannot be read",
            remedy="write postgresql://user:password@host:5432/database?sslmode=verify-full",
        ) from None
    parameters = {k: str(v) for k, v in {**_DEFAULTS, **given}.items() if v is not None}
    if parameters.get("sslmode") == "verify-full" and not _OWN_ROOTS.expanduser().exists():
        parameters.setdefault("sslrootcert", "system")
    parameters.setdefault("host", os.environ.get("PGHOST", "localhost"))
    parameters.setdefault("port", os.environ.get("PGPORT", "5432"))
    return Address(MappingProxyType(parameters), lock_timeout)


BUDGETS: Budgets[Connection] = Budgets()
"""This process's connections to PostgreSQL servers."""
