"""MySQL packets off a socket: large reads, packets beyond 16 MB joined, waiting that ends.

In: a connected socket after login. Out: whole payloads as bytes.
"""

from __future__ import annotations

import socket

_FULL = 0xFFFFFF
_READ = 1 << 18


class ConnectionLost(Exception):
    """The peer is gone or talks nonsense; a new connection may help."""


class PacketReader:
    """Reads payloads of a stream of packets.

    Source: MySQL client/server protocol, "MySQL Packets".

    Args:
        sock: Connected socket, plain or TLS, with nothing of the next packet read yet.
        sequence: Expected sequence number of the next packet.
    """

    def __init__(self, sock: socket.socket, sequence: int) -> None:
        self._sock = sock
        self._sequence = sequence
        self._buffer = bytearray()
        self._pos = 0

    def read(self, wait: float) -> bytes | None:
        """Return the next payload, or None if none was complete within `wait` seconds.

        A payload that has begun to arrive is kept and completed by a later call.

        Raises:
            ConnectionLost: The connection ended or the packets are out of sequence.
        """
        while True:
            payload = self._joined()
            if payload is not None:
                return payload
            if not self._fill(wait):
                return None

    def _joined(self) -> bytes | None:
        """Take a whole payload off the buffer if it is there."""
        buffer, pos = self._buffer, self._pos
        spans: list[tuple[int, int]] = []
        sequence = self._sequence
        while len(buffer) - pos >= 4:
            length = buffer[pos] | buffer[pos + 1] << 8 | buffer[pos + 2] << 16
            if buffer[pos + 3] != sequence:
                raise ConnectionLost(f"packet {buffer[pos + 3]} came where {sequence} was due")
            begin, pos = pos + 4, pos + 4 + length
            if pos > len(buffer):
                return None
            sequence = (sequence + 1) & 0xFF
            spans.append((begin, pos))
            if length < _FULL:
                self._pos, self._sequence = pos, sequence
                with memoryview(buffer) as view:
                    return b"".join([view[a:b] for a, b in spans])
        return None

    def _fill(self, wait: float) -> bool:
        if self._pos:
            del self._buffer[: self._pos]
            self._pos = 0
        try:
            self._sock.settimeout(wait)
            data = self._sock.recv(_READ)
        except TimeoutError:
            return False
        except OSError as error:
            raise ConnectionLost(type(error).__name__) from error
        if not data:
            raise ConnectionLost("the server closed the connection")
        self._buffer += data
        return True
