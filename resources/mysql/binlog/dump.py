"""The dump connection: log in, agree on checksum and heartbeat, ask for the log, read packets.

In: a function that logs in, a position. Out: raw events, framing still on. PyMySQL does the
login (authentication, TLS); from the dump command on, the socket is read here.
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
from resources.mysql.binlog.packets import ConnectionLost, PacketReader
from resources.mysql.binlog.server_errors import connect_error, dump_error

Connect: TypeAlias = Callable[[], "Connection[Any]"]

_COM_BINLOG_DUMP = 0x12
_COM_BINLOG_DUMP_GTID = 0x1E
_THROUGH_GTID = 0x04
_MARIADB_SENDS_GTIDS = 4
_OK, _ERR, _EOF = 0x00, 0xFF, 0xFE
_UNKNOWN_VARIABLE = 1193


class DumpConnection:
    """One connection a server dumps its binary log on.

    Args:
        connect: Opens a logged-in PyMySQL connection of our own.
        flavor: Which dialect of the replication protocol to speak.
        server_id: What this reader calls itself; no two readers of a server may share it.
        heartbeat_seconds: How often an idle server is to say it is alive.

    Attributes:
        checksums: Whether the server's events end in a CRC32 before a file says so itself.

    Raises:
        ConnectionLost: The server cannot be reached now.
        ConfigError: It refuses the account.
    """

    def __init__(
        self, connect: Connect, flavor: Flavor, server_id: int, heartbeat_seconds: float
    ) -> None:
        self._flavor = flavor
        self._server_id = server_id
        self._where = ""
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
        """Ask for the log after `position`; events come with `read` from now on.

        Args:
            position: Where to begin, exclusive.
            by_gtid: Begin after its GTID set, wherever that is; else at its file and offset.
        """
        self._where = f"GTID set {position.gtid_set}" if by_gtid else str(position)
        if by_gtid and self._flavor == "mysql":
            self._send(self._gtid_request(position))
        else:
            if by_gtid:
                self._mariadb_state(position.gtid_set)
            file, offset = ("", 4) if by_gtid else (position.file, position.offset)
            request = struct.pack("<BIHI", _COM_BINLOG_DUMP, offset, 0, self._server_id)
            self._send(request + file.encode())
        self._packets = PacketReader(self._connection._sock, 1)  # type: ignore[attr-defined]

    def read(self, wait: float) -> bytes | None:
        """Return the next event, header and checksum included; None if none came in time.

        Args:
            wait: Seconds to wait for bytes.

        Raises:
            ConnectionLost: A new connection may help.
            CdcError: The server refuses to go on; see `dump_error`.
        """
        assert self._packets is not None, "start() comes first"
        payload = self._packets.read(wait)
        if payload is None:
            return None
        if payload[:1] == b"\x00":
            return payload[1:]
        if payload[:1] == b"\xff" and len(payload) >= 3:
            code = int.from_bytes(payload[1:3], "little")
            text = payload[3:].decode("utf-8", "replace")
            text = text[6:] if text[:1] == "#" else text
            raise dump_error(code, text, self._where, self._server_id)
        raise ConnectionLost("the server ended the dump")

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
