"""TRANSACTION_PAYLOAD: the events of a compressed transaction, one after the other.

In: the event's body. Out: the bytes of each inner event, decompressed as they are asked for, so
that memory holds one event and not the transaction.
Source: mysql-server libs/mysql/binlog/event/control_events.h, `Transaction_payload_event`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import IO

from resources.mysql.binlog.cursor import Cursor, Truncated
from resources.mysql.binlog.events import HEADER_SIZE

_END, _SIZE, _COMPRESSION, _UNCOMPRESSED = 0, 1, 2, 3
_ZSTD, _NONE = 0, 255
_LARGEST_EVENT = 1 << 31


def inner_events(body: bytes) -> Iterator[bytes]:
    """Yield the inner events of a TRANSACTION_PAYLOAD; they carry no checksums.

    Raises:
        Truncated: The payload is damaged, of an unknown compression, or expands to more than
            it announces.
    """
    cursor = Cursor(body)
    compression, announced = _NONE, -1
    while (kind := cursor.packed()) != _END:
        value = Cursor(cursor.packed_bytes())
        if kind == _COMPRESSION:
            compression = value.packed()
        elif kind == _UNCOMPRESSED:
            announced = value.packed()
    payload = cursor.rest()
    left = announced if announced >= 0 else len(payload)
    source = _open(payload, compression)
    while header := _exactly(source, HEADER_SIZE):
        size = int.from_bytes(header[9:13], "little")
        left -= size
        if not HEADER_SIZE <= size <= _LARGEST_EVENT or left < 0:
            raise Truncated("an inner event is larger than its payload announces")
        rest = _exactly(source, size - HEADER_SIZE)
        if len(header) + len(rest) != size:
            raise Truncated("the payload ends within an event")
        yield header + rest


def _open(payload: bytes, compression: int) -> IO[bytes]:
    if compression == _NONE:
        return io.BytesIO(payload)
    if compression != _ZSTD:
        raise Truncated(f"unknown compression {compression}")
    import zstandard

    return zstandard.ZstdDecompressor().stream_reader(payload)


def _exactly(source: IO[bytes], size: int) -> bytes:
    """Read `size` bytes, fewer only at the end."""
    import zstandard

    parts: list[bytes] = []
    while size:
        try:
            part = source.read(min(size, 1 << 20))
        except zstandard.ZstdError as error:
            raise Truncated("the compressed bytes are damaged") from error
        if not part:
            break
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
