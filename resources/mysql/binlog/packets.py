"""MySQL packets off a socket: reads that never wait longer than asked, packets beyond 16 MB joined.

In: a connected socket after login. Out: bytes in a buffer; one payload in place of its parts.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from dataclasses import dataclass

from resources.mysql.binlog.array_pool import ArrayPool
from resources.mysql.binlog.window import Window

_FULL = 0xFFFFFF
_WINDOW_BYTES = 1 << 18
_LEAST_ROOM = 1 << 14


class ConnectionLost(Exception):
    """The peer is gone or talks nonsense; a new connection may help."""


class SocketReader:
    """Reads what has arrived at a socket.

    Args:
        sock: Connected socket, plain or TLS, with nothing read of what comes.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        sock.setblocking(False)
        self._poll = select.poll()

    def receive(self, view: memoryview, wait: float) -> int:
        """Read what is there, as much as fits.

        Args:
            view: Where to.
            wait: Seconds to wait for the first byte.

        Returns:
            Number of bytes, 0 if none came in time.

        Raises:
            ConnectionLost: The connection ended.
        """
        got, deadline = 0, time.monotonic() + wait
        while got < len(view):
            event = select.POLLIN
            try:
                count = self._sock.recv_into(view[got:])
            except (BlockingIOError, ssl.SSLWantReadError):
                count = -1
            except ssl.SSLWantWriteError:
                count, event = -1, select.POLLOUT
            except OSError as error:
                raise ConnectionLost(type(error).__name__) from error
            if count > 0:
                got += count
            elif got:
                break
            elif count == 0:
                raise ConnectionLost("the server closed the connection")
            elif not self._ready(event, deadline):
                break
        return got

    def _ready(self, event: int, deadline: float) -> bool:
        self._poll.register(self._sock, event)
        return bool(self._poll.poll(max(0.0, deadline - time.monotonic()) * 1000))


class PacketReader:
    """Reads payloads one by one, for whoever wants few of them.

    Args:
        socket_reader: Where packets numbered 1 and up come from.
    """

    def __init__(self, socket_reader: SocketReader) -> None:
        self._socket = socket_reader
        self._sequence = 1
        self._window = Window(0, _WINDOW_BYTES, ArrayPool())

    def read(self, wait: float) -> bytes | None:
        """Return the next payload, or None if no bytes came within `wait` seconds.

        Raises:
            ConnectionLost: The connection ended or the packets are out of order.
        """
        window = self._window
        while (joined := join_packets(window, self._sequence)) is None:
            if window.lacks(_LEAST_ROOM):
                window.make_room(_LEAST_ROOM)
            count = self._socket.receive(window.view(_WINDOW_BYTES), wait)
            if not count:
                return None
            window.end += count
        window.begin, self._sequence = joined.next, joined.sequence
        return window.copy(joined.begin, joined.end)


@dataclass(frozen=True)
class Joined:
    """A payload that came in several packets, its parts now end to end in the window.

    Args:
        begin: Its first byte.
        end: The byte behind it.
        next: Where the next packet begins.
        sequence: Number of that packet.
    """

    begin: int
    end: int
    next: int
    sequence: int


def join_packets(window: Window, sequence: int) -> Joined | None:
    """Bring the parts of the payload at a window's begin together, often just one.

    Args:
        window: Its bytes begin with the first of the packets.
        sequence: Number of that packet.

    Returns:
        The payload; None if bytes are missing, and the window knows how many.

    Raises:
        ConnectionLost: The packets are out of order.
    """
    data, at = window.data, window.begin
    spans: list[tuple[int, int]] = []
    length = _FULL
    while length == _FULL:
        window.need = at + 4 - window.begin
        if window.held < window.need:
            return None
        length = int.from_bytes(window.copy(at, at + 3), "little")
        if data[at + 3] != sequence:
            raise out_of_order(int(data[at + 3]), sequence)
        window.need += length
        if window.held < window.need:
            return None
        spans.append((at + 4, at + 4 + length))
        at += 4 + length
        sequence = (sequence + 1) & 0xFF
    begin, end = spans[0]
    for low, high in spans[1:]:
        data[end : end + high - low] = data[low:high]
        end += high - low
    return Joined(begin, end, at, sequence)


def out_of_order(came: int, due: int) -> ConnectionLost:
    """Return the error for a packet with another number than the one due."""
    return ConnectionLost(f"packet {came} came where {due} was due")
