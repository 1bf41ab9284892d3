"""Bytes read off the wire and dropped: the limit that no reader of the same bytes can pass.

In: a server. Out: how many bytes a dump or a result has, and a function that reads just as many
into one buffer and forgets them. Nothing of the project's own readers is used.

Source: MySQL client/server protocol, "COM_BINLOG_DUMP", "COM_STMT_EXECUTE"; binary log event
header, "Binlog::EventHeader".
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Any

from pymysql.connections import Connection

from benchmarks.wire_stretch import Place

_COM_BINLOG_DUMP, _COM_STMT_PREPARE, _COM_STMT_EXECUTE = 0x12, 0x16, 0x17
_ROTATE = 4
_EOF = 0xFE
_FULL = 0xFFFFFF
_HEAD = 96
_READ = 1 << 18
_LONGEST_SILENCE = struct.pack("ll", 60, 0)


def open_dump(connection: Connection[Any], start: Place, server_id: int) -> socket.socket:
    """Ask for the log from a place on; events come on the socket returned."""
    with connection.cursor() as cursor:
        cursor.execute("SET @source_binlog_checksum = @@GLOBAL.binlog_checksum")
    request = struct.pack("<BIHI", _COM_BINLOG_DUMP, start.offset, 0, server_id)
    return _send(connection, request + start.file.encode())


def open_result(connection: Connection[Any], query: str) -> socket.socket:
    """Prepare and run a query; its result comes on the socket returned, in the binary protocol."""
    reader: Any = connection
    reader._execute_command(_COM_STMT_PREPARE, query)
    answer = reader._read_packet().get_all_data()
    statement, columns, parameters = struct.unpack_from("<IHH", answer, 1)
    for count in (parameters, columns):
        for _ in range(count + 1 if count else 0):
            reader._read_packet()
    return _send(connection, struct.pack("<BIBI", _COM_STMT_EXECUTE, statement, 0, 1))


def _send(connection: Connection[Any], payload: bytes) -> socket.socket:
    reader: Any = connection
    reader._next_seq_id = 0
    reader.write_packet(payload)
    sock: socket.socket = reader._sock
    # A blocking socket: one with Python's own timeout is polled before every read.
    sock.settimeout(None)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _LONGEST_SILENCE)
    return sock


def ends_at(end: Place) -> Callable[[bytes], bool]:
    """Return what says of a dump's packet whether its event ends at a place of the log."""
    wanted = end.file.encode()
    file = b""

    def last(head: bytes) -> bool:
        nonlocal file
        kind, offset = head[5], int.from_bytes(head[14:18], "little")
        if kind == _ROTATE:
            file = head[28 : 28 + len(wanted)]
        return offset == end.offset and file == wanted

    return last


def ends_result() -> Callable[[bytes], bool]:
    """Return what says of a result's packet whether it is the last: the second EOF."""
    seen = 0

    def last(head: bytes) -> bool:
        nonlocal seen
        seen += len(head) < 9 and head[0] == _EOF
        return seen == 2

    return last


def count_bytes(sock: socket.socket, last: Callable[[bytes], bool]) -> int:
    """Read packets up to the last one and return their bytes, headers included.

    Args:
        sock: With a stream of packets to come.
        last: Asked about the first bytes of each payload.
    """
    buffer = bytearray()
    base = at = 0
    joined = False
    while True:
        data = sock.recv(_READ)
        if not data:
            raise ConnectionError("the server closed the connection")
        buffer += data
        end = base + len(buffer)
        while at + 4 <= end:
            begin = at - base
            size = int.from_bytes(buffer[begin : begin + 3], "little")
            if at + 4 + min(size, _HEAD) > end:
                break
            head = bytes(buffer[begin + 4 : begin + 4 + min(size, _HEAD)])
            at += 4 + size
            if head[:1] == b"\xff" and not joined:
                raise ConnectionError(head.decode("utf-8", "replace"))
            if not joined and last(head):
                return at
            joined = size == _FULL
        drop = min(at - base, len(buffer))
        del buffer[:drop]
        base += drop


def drop_bytes(sock: socket.socket, size: int, buffer: memoryview) -> None:
    """Read a number of bytes into the same memory over and over."""
    left = size
    while left:
        got = sock.recv_into(buffer, min(left, len(buffer)))
        if not got:
            raise ConnectionError("the server closed the connection")
        left -= got
