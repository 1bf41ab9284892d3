"""The corpus as servers write it by default: table maps that do not name their columns.

In: a recorded log. Out: the same log, its table maps as `binlog_row_metadata` MINIMAL (MySQL) or
NO_LOG (MariaDB) leaves them.
"""

from __future__ import annotations

from dataclasses import replace

from resources.mysql.binlog.cursor import Cursor
from resources.mysql.binlog.events import EventType
from tests.fuzz.corpus import CHECKSUM, HEADER, RecordedLog
from tests.fuzz.mutate import made_whole

_MINIMAL = frozenset({1, 2, 3, 7, 13})
"""Signs, character sets of text, kinds of geometry, sizes of vectors."""


def without_names(log: RecordedLog) -> RecordedLog:
    """Return a log with the names left out."""
    kept = _MINIMAL if log.flavor == "mysql" else frozenset()
    tail = CHECKSUM if log.checksums else 0
    events = [
        _stripped(event, kept, tail) if event[4] == EventType.TABLE_MAP else event
        for event in log.events
    ]
    return replace(log, events=tuple(made_whole(events)))


def _stripped(event: bytes, kept: frozenset[int], tail: int) -> bytes:
    cursor = Cursor(event, HEADER, len(event) - tail)
    cursor.take(8)
    for _ in ("database", "table"):
        cursor.take(cursor.uint(1) + 1)
    count = cursor.packed()
    cursor.take(count)
    cursor.packed_bytes()
    cursor.take((count + 7) // 8)
    out = [event[: cursor.pos]]
    while cursor.left:
        begin = cursor.pos
        kind = cursor.uint(1)
        cursor.packed_bytes()
        if kind in kept:
            out.append(event[begin : cursor.pos])
    return b"".join(out) + bytes(tail)
