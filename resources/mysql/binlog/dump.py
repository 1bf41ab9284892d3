"""The dump connection: log in, agree on checksum and heartbeat, ask for the log, read packets.

In: a function that logs in, a position. Out: bytes of packets. PyMySQL does the login
(authentication, TLS); from the dump command on, the socket is read here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, TypeAlias

import pymysql
from pymysql.connections import Connection

from resources.errors import ConfigError, SourceUnavailable
from resources.model.position import BinlogPosition
from resources.mysql.binlog.gtid import Flavor, GtidSet
from resources.mysql.binlog.packets import ConnectionLost, PacketReader, SocketReader
from resources.mysql.binlog.server_errors import connect_error, dump_error

Connect: TypeAlias = Callable[[], "Connection[Any]"]

_COM_BINLOG_DUMP = 0x12
_COM_REGISTER_SLAVE = 0x15
_COM_BINLOG_DUMP_GTID = 0x1E
_THROUGH_GTID = 0x04
_MARIADB_SENDS_GTIDS = 4
_FURTHEST_OFFSET = 0xFFFFFFFF
_UNKNOWN_VARIABLE = 1193
_LONGEST_NAME = 60


class DumpConnection:
    """One connection a server dumps its binary log on.

    Args:
        connect: Opens a logged-in PyMySQL connection of our own.
        flavor: Which dialect of the replication protocol to speak.
        server_id: What this reader calls itself; no two readers of a server may share it.
        heartbeat_seconds: How often an idle server is to say it is alive.
        name: What SHOW REPLICAS lists this reader as.

    Attributes:
        checksums: Whether the server's events end in a CRC32 before a file says so itself.

    Raises:
        ConnectionLost: The server cannot be reached now.
        ConfigError: It refuses the account.
    """

    def __init__(
        self,
        connect: Connect,
        flavor: Flavor,
        server_id: int,
        heartbeat_seconds: float,
        name: str = "",
    ) -> None:
        self._flavor = flavor
        self._name = name
        self._server_id = server_id
        self._where = ""
        self._socket: SocketReader | None = None
        self._packets: PacketReader | None = None
        self.checksums = True
        try:
            self._connection = connect()
        except pymysql.err.OperationalError as error:
            raise connect_error(*_parts(error)) from error
        except (SourceUnavailable, OSError) as error:
            raise ConnectionLost(str(error)) from error
        try:
            self._negotiate(heartbeat_seconds)
        except BaseException:
            self.close()
            raise

    def identity(self) -> str:
        """Return a word that differs between servers, to notice a change behind one address."""
        name = "@@GLOBAL.server_uuid" if self._flavor == "mysql" else "@@GLOBAL.server_id"
        return self._variable(name)

    def gtid_mode(self) -> bool:
        """Return whether every transaction of the log has a GTID that a dump may start from."""
        return self._flavor == "mariadb" or self._variable("@@GLOBAL.gtid_mode") == "ON"

    def start(self, position: BinlogPosition, by_gtid: bool) -> None:
        """Ask for the log after `position`; its packets come with `receive` from now on.

        Args:
            position: Where to begin, exclusive.
            by_gtid: Begin after its GTID set, wherever that is; else at its file and offset.

        Raises:
            ConfigError: The offset is beyond what the protocol can say.
            CdcError: The server refuses this reader; see `dump_error`.
        """
        self._where = f"GTID set {position.gtid_set}" if by_gtid else str(position)
        if not by_gtid and position.offset > _FURTHEST_OFFSET:
            raise ConfigError(
                "the protocol cannot ask for an offset beyond 4 GB by file name",
                where=str(position),
                remedy="turn GTIDs on, or snapshot again",
            )
        self._register()
        if by_gtid and self._flavor == "mysql":
            self._send(self._gtid_request(position))
        else:
            if by_gtid:
                self._mariadb_state(position.gtid_set)
            file, offset = ("", 4) if by_gtid else (position.file, position.offset)
            request = struct.pack("<BIHI", _COM_BINLOG_DUMP, offset, 0, self._server_id)
            self._send(request + file.encode())
        self._socket = SocketReader(self._connection._sock)  # type: ignore[attr-defined]
        self._packets = PacketReader(self._socket)

    def receive(self, view: memoryview, wait: float) -> int:
        """Read packets as they arrive; see `SocketReader.receive`.

        Args:
            view: Where to.
            wait: Seconds to wait for the first byte.

        Raises:
            ConnectionLost: A new connection may help.
        """
        assert self._socket is not None, "start() comes first"
        return self._socket.receive(view, wait)

    def read(self, wait: float) -> bytes | None:
        """Return the next event, for whoever wants few of them and does not call `receive`.

        Args:
            wait: Seconds to wait for bytes.

        Returns:
            The event, header and checksum included; None if none came in time.

        Raises:
            ConnectionLost: A new connection may help.
            CdcError: The server refuses to go on; see `dump_error`.
        """
        assert self._packets is not None, "start() comes first"
        payload = self._packets.read(wait)
        if payload is None or payload[:1] == b"\x00":
            return payload and payload[1:]
        raise self.refusal(payload)

    def refusal(self, payload: bytes) -> Exception:
        """Return the error for a payload that holds no event: the server goes on no further."""
        if payload[:1] == b"\xff" and len(payload) >= 3:
            code = int.from_bytes(payload[1:3], "little")
            text = payload[3:].decode("utf-8", "replace")
            text = text[6:] if text[:1] == "#" else text
            return dump_error(code, text, self._where, self._server_id)
        return ConnectionLost("the server ended the dump")

    def close(self) -> None:
        """Close the socket; the server notices by itself."""
        self._connection._force_close()  # type: ignore[attr-defined]

    def _negotiate(self, heartbeat_seconds: float) -> None:
        period = int(heartbeat_seconds * 1_000_000_000)
        checksum = self._variable("@@GLOBAL.binlog_checksum") or "NONE"
        self.checksums = checksum == "CRC32"
        words = ("master",) if self._flavor == "mariadb" else ("source", "master")
        for word in words:
            self._query(
                f"SET @{word}_heartbeat_period=%s, @{word}_binlog_checksum=%s", (period, checksum)
            )
        self._query("SET SESSION net_write_timeout=600")
        if self._flavor == "mariadb":
            self._query("SET @mariadb_slave_capability=%s", (_MARIADB_SENDS_GTIDS,))

    def _mariadb_state(self, gtid_set: str) -> None:
        self._query("SET @slave_connect_state=%s", (gtid_set,))
        self._query("SET @slave_gtid_strict_mode=1")
        self._query("SET @slave_gtid_ignore_duplicates=0")

    def _gtid_request(self, position: BinlogPosition) -> bytes:
        data = GtidSet.parse(position.gtid_set, "mysql").encode()
        head = struct.pack("<BHII", _COM_BINLOG_DUMP_GTID, _THROUGH_GTID, self._server_id, 0)
        return head + struct.pack("<QI", 4, len(data)) + data

    def _register(self) -> None:
        """Say who reads, so that SHOW REPLICAS lists this reader by its name.

        Source: MySQL client/server protocol, "COM_REGISTER_SLAVE".
        """
        name = self._name.encode()[:_LONGEST_NAME]
        request = struct.pack("<BIB", _COM_REGISTER_SLAVE, self._server_id, len(name)) + name
        self._send(request + struct.pack("<BBHII", 0, 0, 0, 0, 0))
        try:
            self._connection._read_packet()  # type: ignore[no-untyped-call]
        except pymysql.err.MySQLError as error:
            code, text = _parts(error)
            if not code:  # not the server's words, but PyMySQL's about a broken connection
                raise ConnectionLost(text) from error
            raise dump_error(code, text, self._where, self._server_id) from error

    def _send(self, payload: bytes) -> None:
        self._connection._next_seq_id = 0  # type: ignore[attr-defined]
        try:
            self._connection.write_packet(payload)
        except pymysql.err.MySQLError as error:
            raise connect_error(*_parts(error)) from error

    def _variable(self, name: str) -> str:
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(f"SELECT {name}")
                row = cursor.fetchone()
        except pymysql.err.MySQLError as error:
            code, text = _parts(error)
            if code == _UNKNOWN_VARIABLE:
                return ""
            raise connect_error(code, text) from error
        return "" if row is None or row[0] is None else str(row[0])

    def _query(self, sql: str, values: tuple[object, ...] = ()) -> None:
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(sql, values or None)
        except pymysql.err.MySQLError as error:
            code, text = _parts(error)
            lost = connect_error(code, text)
            if isinstance(lost, SourceUnavailable):
                raise ConfigError(f"the server refused {sql!r} ({code}): {text}") from error
            raise lost from error


def _parts(error: BaseException) -> tuple[int, str]:
    args = error.args
    code = args[0] if args and isinstance(args[0], int) else 0
    return code, str(args[1]) if len(args) > 1 else str(error)
