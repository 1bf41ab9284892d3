"""TRANSACTION_PAYLOAD: the events of a compressed transaction, one after the other.

In: the event's body. Out: its events end to end, decompressed into a buffer as there is room, so
that memory holds a part of the transaction and not all of it.
Source: mysql-server libs/mysql/binlog/event/control_events.h, `Transaction_payload_event`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import IO

from resources.mysql.binlog.array_pool import ArrayPool
from resources.mysql.binlog.cursor import Cursor, Truncated
from resources.mysql.binlog.events import HEADER_SIZE
from resources.mysql.binlog.window import Window

_END, _SIZE, _COMPRESSION, _UNCOMPRESSED = 0, 1, 2, 3
_ZSTD, _NONE = 0, 255
_WINDOW_BYTES = 1 << 20


class Payload:
    """The inner events of a TRANSACTION_PAYLOAD; they carry no checksums.

    Args:
        body: The event's body.

    Raises:
        Truncated: It is damaged, or of an unknown compression.
    """

    def __init__(self, body: bytes) -> None:
        cursor = Cursor(body)
        compression, announced = _NONE, -1
        while (kind := cursor.packed()) != _END:
            value = Cursor(cursor.packed_bytes())
            if kind == _COMPRESSION:
                compression = value.packed()
            elif kind == _UNCOMPRESSED:
                announced = value.packed()
        payload = cursor.rest()
        self._left = announced if announced >= 0 else len(payload)
        self._source = _open(payload, compression)

    def read(self, window: Window, most: int) -> int:
        """Read a part into a window; returns its bytes, 0 at the end.

        Raises:
            Truncated: The payload is damaged, expands to more or less than it announces, or
                holds an event larger than that.
        """
        import zstandard

        if window.held and window.need - window.held > self._left:
            message = "an inner event is larger than its payload announces"
            raise Truncated(message if self._left else "the payload ends within an event")
        try:
            count = self._source.readinto(window.view(most))  # type: ignore[attr-defined]
        except zstandard.ZstdError as error:
            raise Truncated("the compressed bytes are damaged") from error
        self._left -= count
        if self._left < 0:
            raise Truncated("the payload is larger than it announces")
        if not count and self._left:
            raise Truncated("the payload is smaller than it announces")
        window.end += count
        return int(count)


def inner_events(body: bytes) -> Iterator[bytes]:
    """Yield the inner events one by one, for whoever wants few of them.

    Raises:
        Truncated: See `Payload`.
    """
    payload, window = Payload(body), Window(0, _WINDOW_BYTES, ArrayPool())
    while payload.read(window, _WINDOW_BYTES):
        window.need = HEADER_SIZE
        while window.held >= window.need:
            begin = window.begin
            size = int.from_bytes(window.copy(begin + 9, begin + 13), "little")
            window.need = max(size, HEADER_SIZE)
            if window.held >= window.need:
                window.begin += window.need
                yield window.copy(begin, window.begin)
                window.need = HEADER_SIZE
        if window.lacks(HEADER_SIZE):
            window.make_room(HEADER_SIZE)
    if window.held:
        raise Truncated("the payload ends within an event")


def _open(payload: bytes, compression: int) -> IO[bytes]:
    if compression == _NONE:
        return io.BytesIO(payload)
    if compression != _ZSTD:
        raise Truncated(f"unknown compression {compression}")
    import zstandard

    return zstandard.ZstdDecompressor().stream_reader(payload)
