"""Row events the walk does not take: what is wrong with them, or what they are when inflated.

In: a row event's body. Out: its head, by which it is refused or written anew.
Source: mysql-server libs/mysql/binlog/event/rows_event.h, `Rows_event`; MariaDB sql/log_event.h
for the compressed ones.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from resources.mysql.binlog.bodies import inflate
from resources.mysql.binlog.cursor import Cursor
from resources.mysql.binlog.events import HEADER_SIZE, Event, EventType

DUMMY_TABLE = 0xFFFFFF
"""Number of the table in an event that only ends a statement."""

_HEADER = struct.Struct("<IBIIIH")
_UPDATES = frozenset(
    {EventType.UPDATE_ROWS_V1, EventType.UPDATE_ROWS}
    | {EventType.UPDATE_ROWS_COMPRESSED_V1, EventType.UPDATE_ROWS_COMPRESSED}
)
_FIRST_VERSION: dict[int, EventType] = {
    EventType.WRITE_ROWS_V1: EventType.WRITE_ROWS_V1,
    EventType.UPDATE_ROWS_V1: EventType.UPDATE_ROWS_V1,
    EventType.DELETE_ROWS_V1: EventType.DELETE_ROWS_V1,
    EventType.WRITE_ROWS_COMPRESSED_V1: EventType.WRITE_ROWS_V1,
    EventType.UPDATE_ROWS_COMPRESSED_V1: EventType.UPDATE_ROWS_V1,
    EventType.DELETE_ROWS_COMPRESSED_V1: EventType.DELETE_ROWS_V1,
}
_SECOND_VERSION: dict[int, EventType] = {
    EventType.WRITE_ROWS: EventType.WRITE_ROWS,
    EventType.UPDATE_ROWS: EventType.UPDATE_ROWS,
    EventType.DELETE_ROWS: EventType.DELETE_ROWS,
    EventType.WRITE_ROWS_COMPRESSED: EventType.WRITE_ROWS,
    EventType.UPDATE_ROWS_COMPRESSED: EventType.UPDATE_ROWS,
    EventType.DELETE_ROWS_COMPRESSED: EventType.DELETE_ROWS,
}
ROW_EVENTS = {**_FIRST_VERSION, **_SECOND_VERSION}
"""Row events, each with the uncompressed one of the same meaning."""


@dataclass(frozen=True, slots=True)
class RowHead:
    """What a row event says before its images.

    Args:
        columns: Number of columns the event says the table has.
        full: Whether every image carries every column.
        size: Bytes of the body before the images.
    """

    columns: int
    full: bool
    size: int


def row_head(event: Event) -> RowHead:
    """Read the head of a row event.

    Raises:
        Truncated: The bytes are no row event.
    """
    cursor = Cursor(event.body)
    cursor.take(8)
    if event.type in _SECOND_VERSION:
        cursor.take(cursor.uint(2) - 2)
    count = cursor.packed()
    size = (count + 7) // 8
    every = (1 << count) - 1 if count <= 8 * cursor.left else 0
    full = int.from_bytes(cursor.take(size), "little") & every == every
    if event.type in _UPDATES:
        full &= int.from_bytes(cursor.take(size), "little") & every == every
    return RowHead(count, full, cursor.pos)


def inflated(event: Event, head: RowHead) -> bytes:
    """Return a compressed row event as the plain one, without a checksum.

    Raises:
        Truncated: Its bytes are not what MariaDB compresses.
    """
    body = event.body[: head.size] + inflate(event.body[head.size :])
    return row_event(event, ROW_EVENTS[event.type], body)


def row_event(event: Event, kind: int, body: bytes) -> bytes:
    """Return an event as it would stand within another one: of a type, without a checksum."""
    size = HEADER_SIZE + len(body)
    header = (event.timestamp, kind, event.server_id, size, event.log_pos, event.flags)
    return _HEADER.pack(*header) + body
