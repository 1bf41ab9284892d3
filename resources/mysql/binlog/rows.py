"""Row events: which rows changed how, as lists of values.

In: a row event's body and the table it belongs to. Out: rows with their kind, in log order.
Source: mysql-server libs/mysql/binlog/event/rows_event.h, `Rows_event`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from resources.model.change import RowKind
from resources.mysql.binlog.bodies import inflate
from resources.mysql.binlog.cursor import Cursor, Truncated
from resources.mysql.binlog.events import EventType
from resources.mysql.binlog.table_schema import DecodableTable
from resources.mysql.binlog.values import BadCell

Values: TypeAlias = tuple[Any, ...]
"""One value per column, in the form of `values`."""

DUMMY_TABLE = 0xFFFFFF
"""Number of the table in an event that only ends a statement."""

_WRITE, _UPDATE, _DELETE = RowKind.INSERT, RowKind.UPDATE_AFTER, RowKind.DELETE
ROW_EVENTS: dict[int, RowKind] = {
    EventType.WRITE_ROWS_V1: _WRITE,
    EventType.UPDATE_ROWS_V1: _UPDATE,
    EventType.DELETE_ROWS_V1: _DELETE,
    EventType.WRITE_ROWS: _WRITE,
    EventType.UPDATE_ROWS: _UPDATE,
    EventType.DELETE_ROWS: _DELETE,
    EventType.WRITE_ROWS_COMPRESSED_V1: _WRITE,
    EventType.UPDATE_ROWS_COMPRESSED_V1: _UPDATE,
    EventType.DELETE_ROWS_COMPRESSED_V1: _DELETE,
    EventType.WRITE_ROWS_COMPRESSED: _WRITE,
    EventType.UPDATE_ROWS_COMPRESSED: _UPDATE,
    EventType.DELETE_ROWS_COMPRESSED: _DELETE,
}
_SECOND_VERSION = frozenset(
    {EventType.WRITE_ROWS, EventType.UPDATE_ROWS, EventType.DELETE_ROWS}
    | {EventType.WRITE_ROWS_COMPRESSED, EventType.UPDATE_ROWS_COMPRESSED}
    | {EventType.DELETE_ROWS_COMPRESSED}
)


@dataclass(frozen=True, slots=True)
class RowImages:
    """A row event, its rows still packed.

    Args:
        kind: INSERT, UPDATE_AFTER (two images per row) or DELETE.
        columns: Number of columns the event says the table has.
        full: Whether every image carries every column.
        data: The images end to end.
    """

    kind: RowKind
    columns: int
    full: bool
    data: bytes


class Row(NamedTuple):
    """One decoded row image.

    Args:
        kind: What happened.
        values: One per column; None for NULL and for bad cells.
        bad: Column indexes and reasons of cells without a value; empty for a good row.
        raw: The image's bytes if the row is bad, else empty.
        size: Bytes of the image.
    """

    kind: RowKind
    values: Values
    bad: tuple[tuple[int, str], ...]
    raw: bytes
    size: int


def row_images(event_type: int, body: bytes) -> RowImages:
    """Read the head of a row event, after its six-byte table number.

    Raises:
        Truncated: The bytes are no row event.
    """
    kind = ROW_EVENTS[event_type]
    cursor = Cursor(body)
    cursor.take(8)
    if event_type in _SECOND_VERSION:
        extra = cursor.uint(2)
        cursor.take(extra - 2)
    count = cursor.packed()
    size = (count + 7) // 8
    every = (1 << count) - 1 if count <= 8 * cursor.left else 0
    full = int.from_bytes(cursor.take(size), "little") & every == every
    if kind is RowKind.UPDATE_AFTER:
        full &= int.from_bytes(cursor.take(size), "little") & every == every
    data = cursor.rest()
    if event_type >= EventType.WRITE_ROWS_COMPRESSED_V1:
        data = inflate(data)
    return RowImages(kind, count, full, data)


class RowDecoder:
    """Decodes the rows of one table in one shape.

    Args:
        table: Its schema, decoders and key.
    """

    def __init__(self, table: DecodableTable) -> None:
        self.table = table
        self._decoders = table.decoders
        self._null_bytes = (len(table.decoders) + 7) // 8
        self._key = table.key

    def rows(self, images: RowImages) -> Iterator[Row]:
        """Yield an event's rows; an update whose key changed is two rows, one without key too.

        Raises:
            Truncated: The images do not end where the event does.
        """
        data, pos, end = images.data, 0, len(images.data)
        update = images.kind is RowKind.UPDATE_AFTER
        while pos < end:
            if update:
                before, pos = self._row(data, pos, RowKind.UPDATE_BEFORE)
                after, pos = self._row(data, pos, RowKind.UPDATE_AFTER)
                if self._keeps_before(before, after):
                    yield before
                yield after
            else:
                row, pos = self._row(data, pos, images.kind)
                yield row

    def _keeps_before(self, before: Row, after: Row) -> bool:
        if not self._key:
            return True
        old, new = before.values, after.values
        if any(old[i] != new[i] for i in self._key):
            return True
        # A bad cell reads as NULL on both sides: whether the key changed, the bytes must say.
        bad = {i for i, _ in (*before.bad, *after.bad)}
        return not bad.isdisjoint(self._key) and before.raw != after.raw

    def _row(self, data: bytes, pos: int, kind: RowKind) -> tuple[Row, int]:
        try:
            try:
                row, end = self._good(data, pos)
                bad: tuple[tuple[int, str], ...] = ()
            except BadCell:
                row, bad, end = self._with_bad_cells(data, pos)
        except (IndexError, KeyError, ValueError, OverflowError, struct.error) as error:
            raise Truncated("a row image ends too early") from error
        if end > len(data):
            raise Truncated("a row image reaches beyond its event")
        return Row(kind, row, bad, data[pos:end] if bad else b"", end - pos), end

    def _good(self, data: bytes, pos: int) -> tuple[Values, int]:
        begin = pos
        pos += self._null_bytes
        nulls = int.from_bytes(data[begin:pos], "little")
        row: list[Any] = []
        append = row.append
        if not nulls:
            for decode in self._decoders:
                value, pos = decode(data, pos)
                append(value)
        else:
            for decode in self._decoders:
                if nulls & 1:
                    append(None)
                else:
                    value, pos = decode(data, pos)
                    append(value)
                nulls >>= 1
        # A tuple of plain values drops out of the garbage collector's sight, a list does not.
        return tuple(row), pos

    def _with_bad_cells(
        self, data: bytes, pos: int
    ) -> tuple[Values, tuple[tuple[int, str], ...], int]:
        begin = pos
        pos += self._null_bytes
        nulls = int.from_bytes(data[begin:pos], "little")
        row: list[Any] = []
        bad: list[tuple[int, str]] = []
        for index, decode in enumerate(self._decoders):
            value = None
            if not nulls >> index & 1:
                try:
                    value, pos = decode(data, pos)
                except BadCell as cell:
                    bad.append((index, cell.reason))
                    pos = cell.end
            row.append(value)
        return tuple(row), tuple(bad), pos
