"""A TCP proxy that breaks connections on purpose.

All faults act on the bytes from server to client and count from the moment they are armed, over
all connections. With ``dump_only`` they count from a client's binary log request on, and on that
connection alone; this needs an unencrypted connection.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

_CHUNK = 65536
_DUMP_COMMANDS = (0x12, 0x1E)  # COM_BINLOG_DUMP, COM_BINLOG_DUMP_GTID


class FaultProxy:
    """Forwards a free local port to a server until told otherwise.

    Args:
        host: Address of the server.
        port: Port of the server.
        dump_only: Apply faults only to binary log streams.

    Attributes:
        host: Address to connect to.
        port: Port to connect to.
        accepted: Number of connections taken so far.
        delivered: Bytes sent to clients that count for faults, since the last fault was armed.
    """

    host = "127.0.0.1"

    def __init__(self, host: str, port: int, *, dump_only: bool = False) -> None:
        self._target = (host, port)
        self._dump_only = dump_only
        self._lock = threading.RLock()
        self._flowing = threading.Event()
        self._flowing.set()
        self._refusing = False
        self._closed = False
        self._cut_at: int | None = None
        self._flip_at: int | None = None
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.accepted = 0
        self.delivered = 0
        self._listener = socket.create_server((self.host, 0))
        self.port: int = self._listener.getsockname()[1]
        self._run(self._accept)

    def pause(self) -> None:
        """Stop forwarding in both directions; connections stay open (a half-open network)."""
        self._flowing.clear()

    def resume(self) -> None:
        """Forward again, also what was held back."""
        self._flowing.set()

    def cut_after(self, count: int) -> None:
        """End the connection after exactly this many more bytes; once."""
        with self._lock:
            self.delivered, self._cut_at = 0, count

    def flip_byte(self, offset: int) -> None:
        """Invert all bits of the byte at this offset from now; once."""
        with self._lock:
            self.delivered, self._flip_at = 0, offset

    def refuse(self, refuse: bool = True) -> None:
        """Close new connections at once (or take them again)."""
        self._refusing = refuse

    def drop(self) -> None:
        """Reset all open connections."""
        with self._lock:
            for end in self._sockets:
                _reset(end)
            self._sockets.clear()

    def close(self) -> None:
        """Stop listening, drop everything, and wait for the threads."""
        with self._lock:
            self._closed = True
        # A blocked accept is not woken by close alone.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._flowing.set()
        self.drop()
        for thread in self._threads:
            thread.join(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            try:
                if self._refusing:
                    raise ConnectionRefusedError
                server = socket.create_connection(self._target, timeout=10)
            except OSError:
                _reset(client)
                continue
            server.settimeout(None)
            with self._lock:
                if self._closed:  # too late for close to see these two
                    _reset(client)
                    _reset(server)
                    return
                self._sockets |= {client, server}
            counts = threading.Event()
            if not self._dump_only:
                counts.set()
            self._run(self._to_server, client, server, counts)
            self._run(self._to_client, server, client, counts)

    def _to_server(
        self, client: socket.socket, server: socket.socket, counts: threading.Event
    ) -> None:
        for data in self._read(client):
            # header: three bytes length, sequence number 0 for a command, then the command
            if len(data) > 4 and data[3] == 0 and data[4] in _DUMP_COMMANDS:
                counts.set()
            if not _send(server, data):
                break
        self._end(client, server)

    def _to_client(
        self, server: socket.socket, client: socket.socket, counts: threading.Event
    ) -> None:
        for data in self._read(server):
            out, cut = self._apply_faults(data) if counts.is_set() else (data, False)
            if not _send(client, out) or cut:
                break
        self._end(client, server)

    def _read(self, source: socket.socket) -> Iterator[bytes]:
        while True:
            try:
                data = source.recv(_CHUNK)
            except OSError:
                return
            self._flowing.wait()
            if not data:
                return
            yield data

    def _apply_faults(self, data: bytes) -> tuple[bytes, bool]:
        with self._lock:
            start, self.delivered = self.delivered, self.delivered + len(data)
            if self._flip_at is not None and start <= self._flip_at < self.delivered:
                changed = bytearray(data)
                changed[self._flip_at - start] ^= 0xFF
                data, self._flip_at = bytes(changed), None
            if self._cut_at is not None and self._cut_at <= self.delivered:
                data, self._cut_at = data[: self._cut_at - start], None
                return data, True
            return data, False

    def _end(self, *ends: socket.socket) -> None:
        with self._lock:
            for end in ends:
                if end in self._sockets:
                    self._sockets.discard(end)
                    _close(end)


def _send(target: socket.socket, data: bytes) -> bool:
    try:
        target.sendall(data)
    except OSError:
        return False
    return True


def _reset(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # Linger 0 makes close send a reset, as a crashed peer's machine would.
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    _close(end)


def _close(end: socket.socket) -> None:
    # The shutdown wakes a thread that is blocked in recv on this socket.
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
