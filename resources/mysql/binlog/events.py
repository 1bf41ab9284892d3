"""Events of a binary log: header, checksum, and the bodies that carry no rows.

In: bytes of one event as the server sent them. Out: immutable events; every lie in the bytes is
a `CorruptEvent` that names file, position and type.
Source: MySQL internals manual "Binary Log Event", mysql-server libs/mysql/binlog/event,
MariaDB "Replication Protocol".
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

from resources.errors import CorruptEvent

HEADER_SIZE = 19
CHECKSUM_SIZE = 4
IGNORABLE = 0x80
ARTIFICIAL = 0x20
_HEADER = struct.Struct("<IBIIIH")


class EventType(IntEnum):
    """Numbers of event types, those of MySQL and, from 160, of MariaDB."""

    START_V3 = 1
    QUERY = 2
    STOP = 3
    ROTATE = 4
    INTVAR = 5
    SLAVE = 7
    APPEND_BLOCK = 9
    DELETE_FILE = 11
    RAND = 13
    USER_VAR = 14
    FORMAT_DESCRIPTION = 15
    XID = 16
    BEGIN_LOAD_QUERY = 17
    EXECUTE_LOAD_QUERY = 18
    TABLE_MAP = 19
    WRITE_ROWS_V1 = 23
    UPDATE_ROWS_V1 = 24
    DELETE_ROWS_V1 = 25
    INCIDENT = 26
    HEARTBEAT = 27
    IGNORABLE = 28
    ROWS_QUERY = 29
    WRITE_ROWS = 30
    UPDATE_ROWS = 31
    DELETE_ROWS = 32
    GTID = 33
    ANONYMOUS_GTID = 34
    PREVIOUS_GTIDS = 35
    TRANSACTION_CONTEXT = 36
    VIEW_CHANGE = 37
    XA_PREPARE = 38
    PARTIAL_UPDATE_ROWS = 39
    TRANSACTION_PAYLOAD = 40
    HEARTBEAT_V2 = 41
    GTID_TAGGED = 42
    ANNOTATE_ROWS = 160
    BINLOG_CHECKPOINT = 161
    MARIADB_GTID = 162
    GTID_LIST = 163
    START_ENCRYPTION = 164
    QUERY_COMPRESSED = 165
    WRITE_ROWS_COMPRESSED_V1 = 166
    UPDATE_ROWS_COMPRESSED_V1 = 167
    DELETE_ROWS_COMPRESSED_V1 = 168
    WRITE_ROWS_COMPRESSED = 169
    UPDATE_ROWS_COMPRESSED = 170
    DELETE_ROWS_COMPRESSED = 171


BETWEEN_TRANSACTIONS = frozenset(
    {EventType.FORMAT_DESCRIPTION, EventType.PREVIOUS_GTIDS, EventType.STOP, EventType.GTID_LIST}
    | {EventType.BINLOG_CHECKPOINT}
)
"""Events that stand between transactions and move the boundary."""
WITHOUT_ROWS = frozenset(
    {EventType.INTVAR, EventType.RAND, EventType.USER_VAR, EventType.ROWS_QUERY}
    | {EventType.ANNOTATE_ROWS, EventType.HEARTBEAT, EventType.HEARTBEAT_V2, EventType.IGNORABLE}
    | {EventType.BEGIN_LOAD_QUERY, EventType.APPEND_BLOCK, EventType.DELETE_FILE}
    | {EventType.TRANSACTION_CONTEXT, EventType.VIEW_CHANGE}
)
"""Events that change no row by themselves; statement texts among them are never kept."""


def type_name(number: int) -> str:
    """Return the name of an event type, or its number where it has none."""
    try:
        return EventType(number).name
    except ValueError:
        return f"event type {number}"


@dataclass(frozen=True, slots=True)
class Event:
    """One event, its checksum verified and cut off.

    Args:
        type: Number of its type; an `EventType` if known.
        timestamp: Seconds since the epoch, by the clock of the server that first logged it.
        server_id: That server.
        log_pos: Offset of the next event in the file; 0 in events the server made up.
        flags: Header flags.
        size: Bytes it took in the log.
        body: What follows the header.
    """

    type: int
    timestamp: int
    server_id: int
    log_pos: int
    flags: int
    size: int
    body: bytes


class EventFraming:
    """Cuts headers and checksums off events; keeps whether the log has checksums at all.

    Whether a log has checksums is in its FORMAT_DESCRIPTION event, which begins every file; the
    made-up ROTATE before it follows what was negotiated, which is the same.

    Args:
        checksums: Whether events end in a CRC32 until a FORMAT_DESCRIPTION says otherwise.
    """

    def __init__(self, checksums: bool = True) -> None:
        self.checksums = checksums

    def parse(self, data: bytes, file: str) -> Event:
        """Return the event in `data`.

        Args:
            data: One whole event, header and checksum included.
            file: Log file it is in, for the error.

        Raises:
            CorruptEvent: It is shorter than it says, or its checksum is wrong.
        """
        if len(data) < HEADER_SIZE:
            raise CorruptEvent(f"an event of {len(data)} bytes has no header", where=file)
        timestamp, number, server_id, size, log_pos, flags = _HEADER.unpack_from(data)
        where = f"{file}:{max(log_pos - size, 0)}" if log_pos else f"{file} (event made up)"
        if size != len(data):
            raise CorruptEvent(
                f"{type_name(number)} says {size} bytes and has {len(data)}", where=where
            )
        end = len(data)
        if number == EventType.FORMAT_DESCRIPTION:
            end, self.checksums = _description_end(data, where)
        if self.checksums:
            end = _verified(data, number, where)
        return Event(number, timestamp, server_id, log_pos, flags, size, data[HEADER_SIZE:end])


def _verified(data: bytes, number: int, where: str) -> int:
    end = len(data) - CHECKSUM_SIZE
    if end < HEADER_SIZE:
        raise CorruptEvent(f"{type_name(number)} has no room for its checksum", where=where)
    expected = int.from_bytes(data[end:], "little")
    actual = zlib.crc32(memoryview(data)[:end])
    # A log file that is still open is flagged so, but its checksum was made without the flag.
    if actual != expected and number == EventType.FORMAT_DESCRIPTION:
        closed = bytearray(data[:end])
        closed[17] &= 0xFE
        actual = zlib.crc32(closed)
    if actual != expected:
        raise CorruptEvent(
            f"{type_name(number)}: CRC32 expected {expected:08x}, actual {actual:08x}",
            where=where,
            remedy="check the server's disk and network; mysqlbinlog --verify-binlog-checksum",
        )
    return end


def _description_end(data: bytes, where: str) -> tuple[int, bool]:
    """Return where a FORMAT_DESCRIPTION's body ends and whether the log has checksums.

    Its last five bytes are the checksum algorithm (0 none, 1 CRC32) and room for a checksum,
    since MySQL 5.6 and MariaDB 5.3 whatever the setting.
    """
    if len(data) < HEADER_SIZE + 57 + 5:
        raise CorruptEvent("FORMAT_DESCRIPTION is too short", where=where)
    algorithm = data[-CHECKSUM_SIZE - 1]
    if algorithm not in (0, 1):
        raise CorruptEvent(f"unknown checksum algorithm {algorithm}", where=where)
    return len(data) - CHECKSUM_SIZE - 1, algorithm == 1
