"""Connections to PostgreSQL within a budget: one per server and user in this process.

In: an address and the most connections allowed. Out: a connection for as long as a call needs
one; whoever finds none free waits. Idle connections are kept, and given up for another database.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from resources.errors import ConfigError, TerminalError
from resources.sinks.postgres_errors import not_reached

Connection: TypeAlias = psycopg.Connection[tuple[object, ...]]
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


@dataclass
class Budget:
    """The connections of this process to one server as one user.

    The least of the limits asked for holds, for all who share it.
    """

    limits: list[int] = field(default_factory=list)
    prepared: set[str] = field(default_factory=set)
    """Databases whose ledger is there."""
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _idle: list[tuple[Session, Connection]] = field(default_factory=list)
    _holders: list[int] = field(default_factory=list)

    @property
    def limit(self) -> int:
        """The most connections there may be now."""
        return min(self.limits, default=1)

    def join(self, limit: int) -> None:
        """Add one who shares the budget, with a limit of his own."""
        with self._changed:
            self.limits.append(limit)
        self._make_room()

    def leave(self, limit: int) -> bool:
        """Take one of those who share it away; returns whether it was the last one."""
        with self._changed:
            self.limits.remove(limit)
            self._changed.notify_all()  # the limit may be a greater one now
            return not self.limits

    @contextmanager
    def borrowed(self, place: Address) -> Iterator[Connection]:
        """Lend a connection on which a transaction was begun; it is rolled back if left open.

        Raises:
            SinkUnavailable: The server cannot be reached.
            TerminalError: This thread holds a connection already and none is free.
        """
        connection = self._take(place)
        kept = False
        try:
            yield connection
            kept = True
        except Exception:
            kept = True
            raise
        finally:
            self._give_back(place, connection, kept)

    def close_idle(self) -> None:
        """Close every connection that nobody uses."""
        with self._changed:
            while self._idle:
                self._idle.pop()[1].close()

    def _take(self, place: Address) -> Connection:
        self._reserve()
        try:
            while (idle := self._pop_idle(place.session)) is not None:
                with suppress(psycopg.OperationalError):  # the server was restarted meanwhile
                    idle.execute("BEGIN")
                    return idle
                idle.close()
            self._make_room()
            return place.connect()
        except BaseException:
            self._free()
            raise

    def _reserve(self) -> None:
        """Wait for a place among the connections in use."""
        me = threading.get_ident()
        with self._changed:
            while len(self._holders) >= self.limit:
                if me in self._holders:
                    raise TerminalError(
                        "the sink was called from within a call of its own, and all of its "
                        f"{self.limit} connections are in use",
                        remedy="raise `max_connections` of the sink",
                    )
                self._changed.wait()
            self._holders.append(me)

    def _free(self) -> None:
        with self._changed:
            self._holders.remove(threading.get_ident())
            self._changed.notify()

    def _pop_idle(self, session: Session) -> Connection | None:
        with self._changed:
            for i in reversed(range(len(self._idle))):
                if self._idle[i][0] == session:
                    return self._idle.pop(i)[1]
        return None

    def _make_room(self) -> None:
        """Close idle connections for as long as there are too many, with those about to open."""
        with self._changed:
            while self._idle and len(self._idle) + len(self._holders) > self.limit:
                self._idle.pop(0)[1].close()

    def _give_back(self, place: Address, connection: Connection, kept: bool) -> None:
        status = psycopg.pq.TransactionStatus
        if kept and connection.info.transaction_status in (status.INTRANS, status.INERROR):
            with suppress(psycopg.Error):
                connection.execute("ROLLBACK")
        usable = kept and connection.info.transaction_status == status.IDLE
        with self._changed:
            self._holders.remove(threading.get_ident())
            spare = self.limit - len(self._holders) - len(self._idle)
            if usable and self.limits and spare > 0:
                self._idle.append((place.session, connection))
            else:
                connection.close()
            self._changed.notify()


_BUDGETS: dict[tuple[str, ...], Budget] = {}
_LOCK = threading.Lock()


def join_budget(place: Address, limit: int) -> Budget:
    """Return the budget of an address, with one more who shares it."""
    with _LOCK:
        budget = _BUDGETS.setdefault(place.budget, Budget())
        budget.join(limit)
        return budget


def leave_budget(place: Address, budget: Budget, limit: int) -> None:
    """Take one of those who share a budget away; the last one closes its connections."""
    with _LOCK:
        if budget.leave(limit):
            budget.close_idle()
            _BUDGETS.pop(place.budget, None)
