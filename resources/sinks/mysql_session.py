"""Connections to MySQL-family servers as a sink needs them, and what each server can do.

In: how to reach a server. Out: sessions in UTC, utf8mb4 and strict mode, that send rows as LOAD
DATA LOCAL from memory, and the facts a dialect is chosen by.
"""

from __future__ import annotations

import math
import os
import re
import ssl
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pymysql
from pymysql.connections import Connection
from pymysql.constants import SERVER_STATUS

from resources.errors import ConfigError
from resources.mysql.connection import Flavor, MySQLSettings, endpoint, flavor_of
from resources.sinks.budget import Budgets
from resources.sinks.mysql_errors import not_reached

if TYPE_CHECKING:
    _Base = Connection[Any]
else:  # the driver's own class takes no parameters
    _Base = Connection

_STRICT = "STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,NO_ENGINE_SUBSTITUTION"
_SESSION = (
    f"SET time_zone = '+00:00', sql_mode = '{_STRICT}', wait_timeout = 28800, "
    "net_read_timeout = 3600, sql_notes = 1, "
    "sql_select_limit = 9223372036854775807, "
    "innodb_lock_wait_timeout = {wait}, lock_wait_timeout = {wait}",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE",
)
_OCEANBASE_TIMEOUT_US = 86_400_000_000
_PACKET = 4 << 20
_COM_QUERY = 3
_FACTS = "SELECT @@version, @@version_comment, @@local_infile, @@max_allowed_packet, "
_FACTS += "@@lower_case_table_names"
_COLLATIONS = (
    "SELECT collation_name FROM information_schema.collations WHERE collation_name IN (%s, %s)"
)
_BINARY_COLLATIONS = ("utf8mb4_0900_bin", "utf8mb4_nopad_bin")
LONGEST_TIME_US = (838 * 3600 + 59 * 60 + 59) * 10**6


@dataclass(frozen=True)
class Server:
    """What a server is and can do.

    Args:
        flavor: Its family.
        bulk: Whether it takes LOAD DATA LOCAL and tells of every row it could not take.
        collation: utf8mb4's collation that tells case, accents and trailing spaces apart; empty if
            it has none, and texts in keys have to be bytes.
        max_packet: Bytes of the longest statement.
        folds_tables: Whether names of databases and tables are kept in lower case.
        longest_time: Microseconds of the longest TIME.
        keeps_zero_sign: Whether -0.0 stays -0.0.
    """

    flavor: Flavor = "mysql"
    bulk: bool = True
    collation: str = "utf8mb4_0900_bin"
    max_packet: int = 64 << 20
    folds_tables: bool = False
    longest_time: int = LONGEST_TIME_US
    keeps_zero_sign: bool = True


class Session(_Base):
    """A connection whose results are text and bytes, and that loads rows from memory."""

    server: Server
    home: str = ""
    """The default database, once it is set."""

    def query(self, sql: object, unbuffered: bool = False) -> int:
        """Run a statement; a server that answers it by asking for a file is left.

        Raises:
            OperationalError: The server or the client refuses it.
        """
        try:
            return int(super().query(sql, unbuffered))
        except RuntimeError:
            protocol: Any = self
            protocol._force_close()
            raise pymysql.err.OperationalError(2027, "the server asked for a file") from None

    def rollback_quietly(self) -> None:
        """Roll back what is open; a lost connection has done so itself."""
        with suppress(pymysql.err.MySQLError, OSError):
            self.query("ROLLBACK")

    def load(self, statement: str, buffers: Iterable[bytes]) -> tuple[int, int]:
        """Run LOAD DATA LOCAL, whose file is what the buffers hold; nothing is read from disk.

        Args:
            statement: It, with any file name.
            buffers: The file's content.

        Returns:
            Rows taken, and the number of warnings.
        """
        protocol: Any = self
        protocol._execute_command(_COM_QUERY, statement)
        packet = protocol._read_packet()
        if not packet.is_load_local_packet():
            protocol._force_close()  # no statement of ours is answered so
            raise pymysql.err.OperationalError(2027, "malformed packet")
        try:
            for buffer in buffers:
                view = memoryview(buffer)
                for at in range(0, len(view), _PACKET):
                    self.write_packet(bytes(view[at : at + _PACKET]))
        finally:
            self.write_packet(b"")
            answer = protocol._read_packet()
        answer.advance(1)
        rows, _ = answer.read_length_encoded_integer(), answer.read_length_encoded_integer()
        self.server_status, warnings = answer.read_struct("<HH")
        return int(rows), int(warnings)


@dataclass(frozen=True)
class Address:
    """A server and who asks for it.

    Args:
        settings: How to reach it.
        lock_timeout: Seconds a statement waits for a lock.
    """

    settings: MySQLSettings
    lock_timeout: float

    @property
    def where(self) -> str:
        """The server, without a secret."""
        return self.settings.socket or f"{self.settings.host}:{self.settings.port}"

    @property
    def session(self) -> tuple[MySQLSettings, float]:
        """What sessions have in common that can stand for each other."""
        return self.settings, self.lock_timeout

    @property
    def budget(self) -> tuple[str, ...]:
        """What a budget goes by: the server and the user, in this process (not in its forks)."""
        return str(os.getpid()), self.where, self.settings.user

    def connect(self) -> Session:
        """Open a session in autocommit mode.

        Raises:
            SinkUnavailable: The server cannot be reached.
            ConfigError: It does not let us in, or TLS is refused.
        """
        settings = self.settings
        arguments: dict[str, Any] = {
            "user": settings.user,
            "password": settings.password.encode(),  # else PyMySQL would take latin-1
            "charset": "utf8mb4",
            "autocommit": True,
            "local_infile": True,
            "connect_timeout": settings.connect_timeout,
            "read_timeout": settings.read_timeout,
            "write_timeout": settings.read_timeout,
            **endpoint(settings),
        }
        try:
            session = Session(**arguments)
        except (pymysql.err.MySQLError, OSError, ssl.SSLError) as error:
            raise not_reached(error, self.where) from None
        try:
            self._set_up(session)
        except pymysql.err.MySQLError as error:
            session.close()
            raise not_reached(error, self.where) from None
        return session

    def revive(self, session: Session) -> bool:
        """Return whether the server still has an idle session."""
        try:
            session.ping(reconnect=False)
        except (pymysql.err.MySQLError, OSError):
            return False
        return True

    def rest(self, session: Session) -> bool:
        """Roll back what is open; returns whether the session can be used again."""
        if not session.open:
            return False
        if not session.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS:
            return True
        with suppress(pymysql.err.MySQLError, OSError):
            session.query("ROLLBACK")
            return True
        return False

    def end(self, session: Session) -> None:
        """Close a session, whatever its state."""
        with suppress(pymysql.err.Error):
            session.close()

    def _set_up(self, opened: Session) -> None:
        session: Any = opened
        # A server may answer any statement by asking for a file: only `load` sends one.
        session._local_infile = False
        session.decoders = {}
        wait = max(1, math.ceil(self.lock_timeout))
        for statement in _SESSION:
            session.query(statement.format(wait=wait))
        session.server = _read_server(session)
        if session.server.flavor == "oceanbase":
            limit, lock = _OCEANBASE_TIMEOUT_US, round(self.lock_timeout * 1_000_000)
            session.query(
                f"SET ob_query_timeout = {limit}, ob_trx_timeout = {limit}, "
                f"ob_trx_lock_timeout = {lock}"
            )


def _read_server(session: Session) -> Server:
    with session.cursor() as cursor:
        cursor.execute(_FACTS)
        (version, comment, infile, packet, lower), *_ = cursor.fetchall()
        cursor.execute(_COLLATIONS, _BINARY_COLLATIONS)
        collations = {row[0] for row in cursor.fetchall()}
    flavor = flavor_of(version, comment)
    return Server(
        flavor=flavor,
        # OceanBase's LOAD DATA LOCAL passes over rows and changes bytes without a word.
        bulk=infile in ("1", "ON") and flavor != "oceanbase",
        collation=next((c for c in _BINARY_COLLATIONS if c in collations), ""),
        max_packet=int(packet),
        folds_tables=lower != "0",
        longest_time=LONGEST_TIME_US + (999_999 if flavor == "mariadb" else 0),
        keeps_zero_sign=flavor != "mariadb",
    )


def address(settings: MySQLSettings, lock_timeout: float) -> Address:
    """Return the address of settings.

    Raises:
        ConfigError: There is no host.
    """
    if not settings.socket and not re.fullmatch(r"\S+", settings.host):
        raise ConfigError("the MySQL sink needs a host", remedy="host: warehouse.example.com")
    return Address(settings, lock_timeout)


BUDGETS: Budgets[Session] = Budgets()
"""This process's connections to MySQL-family servers."""
