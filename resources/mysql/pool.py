"""A few connections shared by the threads that read chunks."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pymysql
from pymysql.connections import Connection

_IDLE_SECONDS = 30.0


class ConnectionPool:
    """Lends connections, at most `size` at a time; who asks for more waits.

    Args:
        open_connection: Opens one.
        size: Connections at most.
    """

    def __init__(self, open_connection: Callable[[], Connection[Any]], size: int) -> None:
        self._open = open_connection
        self._idle: queue.LifoQueue[tuple[float, Connection[Any]]] = queue.LifoQueue()
        self._slots = threading.BoundedSemaphore(size)

    @contextlib.contextmanager
    def borrow(self) -> Iterator[Connection[Any]]:
        """Lend a connection; it comes back unless the borrower failed or closed it."""
        with self._slots:
            connection = self._take()
            try:
                yield connection
            except BaseException:
                _close(connection)
                raise
            if connection.open:
                self._idle.put((time.monotonic(), connection))

    def _take(self) -> Connection[Any]:
        while True:
            try:
                since, connection = self._idle.get_nowait()
            except queue.Empty:
                return self._open()
            if time.monotonic() - since < _IDLE_SECONDS or _is_alive(connection):
                return connection
            _close(connection)

    def close(self) -> None:
        """Close the idle connections."""
        with contextlib.suppress(queue.Empty):
            while True:
                _close(self._idle.get_nowait()[1])


def _is_alive(connection: Connection[Any]) -> bool:
    try:
        connection.ping()
    except pymysql.err.MySQLError:
        return False
    return True


def _close(connection: Connection[Any]) -> None:
    if connection.open:
        connection.close()
