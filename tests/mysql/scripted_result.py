"""Result sets from a script instead of a server: any bytes, in any pieces."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pymysql.connections import Connection

EOF = b"\xfe\x00\x00\x02\x00"
FULL_PACKET = 0xFFFFFF


def packets(payloads: Iterable[bytes], sequence: int = 0) -> bytes:
    """Payloads as a server sends them; long ones in several packets."""
    sent = bytearray()
    for payload in payloads:
        at, size = 0, FULL_PACKET
        while size == FULL_PACKET:
            size = min(FULL_PACKET, len(payload) - at)
            sent += size.to_bytes(3, "little") + bytes([sequence & 0xFF])
            sent += payload[at : at + size]
            at, sequence = at + size, sequence + 1
    return bytes(sent)


class Pieces:
    """A socket that brings one piece after the other, then the end of the connection."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces: Iterator[bytes] = iter(pieces)
        self._rest = memoryview(b"")
        self.commands: list[int] = []

    def sendall(self, data: bytes) -> None:
        """Remember the command that was sent."""
        self.commands.append(data[4])

    def settimeout(self, seconds: float | None) -> None:
        """Do nothing: a script never waits."""

    def recv_into(self, buffer: memoryview) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(self._rest), len(buffer))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        """Bring nothing more."""
        self._pieces = iter(())


def connection_with(
    pieces: Iterable[bytes], ahead: bytes = b"", sequence: int = 0
) -> Connection[Any]:
    """A connection whose result comes in pieces.

    Args:
        pieces: What the socket brings, one at a time.
        ahead: What PyMySQL has read before them.
        sequence: Number of the next packet.
    """
    connection: Any = Connection(defer_connect=True, ssl_disabled=True)
    connection._sock = Pieces(pieces)
    connection._rfile = io.BufferedReader(_Raw(ahead, connection._sock))
    connection._next_seq_id = sequence
    connection._current_timeout = None
    if ahead:
        connection._rfile.peek(1)
    return connection  # type: ignore[no-any-return]


class _Raw(io.RawIOBase):
    """What PyMySQL's buffered file reads from."""

    def __init__(self, first: bytes, sock: Pieces) -> None:
        self._first, self._sock = first, sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._first:
            count = min(len(self._first), len(buffer))
            memoryview(buffer)[:count] = self._first[:count]
            self._first = self._first[count:]
            return count
        return self._sock.recv_into(memoryview(buffer))


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """The data in pieces that end at some places of it."""
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]
