"""PARTIAL_UPDATE_ROWS into UPDATE_ROWS: each changed part of a JSON value becomes the value.

In: a PARTIAL_UPDATE_ROWS event (`binlog_row_value_options=PARTIAL_JSON`) and its table. Out: the
UPDATE_ROWS event the server would have written without the option.
Source: mysql-server libs/mysql/binlog/event/rows_event.h ("Row image format"), sql/rpl_record.cc
(`unpack_row`).
"""

from __future__ import annotations

from collections.abc import Sequence

from resources.mysql.binlog.cursor import Cursor, Truncated
from resources.mysql.binlog.events import Event, EventType
from resources.mysql.binlog.json_diff import apply_diffs
from resources.mysql.binlog.json_value import BadJson
from resources.mysql.binlog.rows import row_event
from resources.mysql.binlog.table_schema import DecodableTable
from resources.mysql.binlog.wire_cells import WireCell

_PARTIAL_JSON = 1
_DIFF_SIZE_BYTES = 4


def full_update(event: Event, table: DecodableTable) -> bytes | None:
    """Return the UPDATE_ROWS event with the same meaning, without a checksum.

    Args:
        event: A PARTIAL_UPDATE_ROWS event.
        table: The table it belongs to.

    Returns:
        The event's bytes, None if it does not carry every column of both images.

    Raises:
        Truncated: The bytes are no such event, or a diff does not fit its value.
    """
    body, columns = event.body, table.columns
    documents = [column.kind == "json" for column in table.schema.columns]
    cursor = Cursor(body)
    cursor.take(8)
    cursor.take(cursor.uint(2) - 2)
    count = cursor.packed()
    if count != len(columns):
        raise Truncated(f"{count} columns where the table's map has {len(columns)}")
    bitmaps = cursor.take(2 * ((count + 7) // 8))
    half = len(bitmaps) // 2
    every = (1 << count) - 1
    for bitmap in (bitmaps[:half], bitmaps[half:]):
        if int.from_bytes(bitmap, "little") & every != every:
            return None
    parts = [body[: cursor.pos]]
    while cursor.left:
        begin = cursor.pos
        before = _image(cursor, columns)
        parts += (body[begin : cursor.pos], _after(cursor, columns, documents, before))
    return row_event(event, EventType.UPDATE_ROWS, b"".join(parts))


def _image(cursor: Cursor, columns: Sequence[WireCell]) -> list[bytes | None]:
    """Step over a full image; its cells, length prefixes included."""
    nulls = int.from_bytes(cursor.take((len(columns) + 7) // 8), "little")
    return [None if nulls >> i & 1 else _cell(cursor, c) for i, c in enumerate(columns)]


def _cell(cursor: Cursor, column: WireCell) -> bytes:
    if not column.prefix:
        return cursor.take(column.width)
    size = cursor.take(column.prefix)
    return size + cursor.take(int.from_bytes(size, "little"))


def _after(
    cursor: Cursor,
    columns: Sequence[WireCell],
    documents: Sequence[bool],
    before: Sequence[bytes | None],
) -> bytes:
    """Read an after-image and return it with every JSON value in full."""
    partial = 0
    if cursor.packed() & _PARTIAL_JSON:
        partial = int.from_bytes(cursor.take((sum(documents) + 7) // 8), "little")
    nulls = cursor.take((len(columns) + 7) // 8)
    bits = int.from_bytes(nulls, "little")
    out = [nulls]
    for index, column in enumerate(columns):
        diffs = False
        if documents[index]:
            diffs, partial = bool(partial & 1), partial >> 1
        if bits >> index & 1:
            continue
        if not diffs:
            out.append(_cell(cursor, column))
            continue
        changes = cursor.take(int.from_bytes(cursor.take(_DIFF_SIZE_BYTES), "little"))
        out.append(_changed(before[index], changes, column.prefix))
    return b"".join(out)


def _changed(cell: bytes | None, diffs: bytes, prefix: int) -> bytes:
    if cell is None:
        raise Truncated("a JSON diff for a value that was NULL")
    try:
        value = apply_diffs(cell[prefix:], diffs)
    except BadJson as error:
        raise Truncated(str(error)) from error
    return len(value).to_bytes(prefix, "little") + value
