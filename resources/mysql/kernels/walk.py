"""The walk over binlog bytes: framing, checksums, transactions, and where row images begin.

In: bytes holding MySQL packets or bare events, the state of `walk_state`. Out: row images in
`rows`, what those of one event share in `runs`, and the reason why it stopped. What is rare or
wrong is an event for Python, untouched; the walk itself refuses nothing but row images.
Source: mysql-server libs/mysql/binlog/event; MariaDB "Replication Protocol".
"""

from __future__ import annotations

import numpy as np

from resources.mysql.kernels import walk_state as w
from resources.mysql.kernels.cells import Bytes, Ints
from resources.mysql.kernels.crc32 import crc32
from resources.mysql.kernels.integers import uint
from resources.mysql.kernels.jit import lean_inline, lean_kernel
from resources.mysql.kernels.walk_events import (
    HEADER,
    advance,
    begin,
    begin_query,
    commit,
    enter,
    mariadb_gtid,
    mysql_gtid,
    table_map,
)  # fmt: skip
from resources.mysql.kernels.walk_rows import read_rows, row_event

_HOUR_US = 3_600_000_000
_JOINED = 0xFFFFFF
_PASS, _HEARTBEAT, _GTID, _ANONYMOUS, _MARIADB_GTID, _QUERY, _MAP, _ROWS, _XID = range(1, 10)
_UNCHANGED = (5, 9, 11, 13, 14, 17, 28, 29, 36, 37, 160)


def _actions() -> Bytes:
    """Return what to do by event type; 0 leaves it to Python."""
    actions = np.zeros(256, np.uint8)
    actions[list(_UNCHANGED)] = _PASS
    actions[[27, 41]] = _HEARTBEAT
    actions[[33, 34, 162]] = _GTID, _ANONYMOUS, _MARIADB_GTID
    actions[[2, 16, 19]] = _QUERY, _XID, _MAP
    actions[[23, 24, 25, 30, 31, 32]] = _ROWS
    return actions


_ACTIONS = _actions()


@lean_kernel
def walk(
    data: Bytes,
    s: Ints,
    maps: Ints,
    arena: Bytes,
    slots: Ints,
    layout: Ints,
    sources: Ints,
    rows: Ints,
    runs: Ints,
) -> int:
    """Walk from event to event until Python has to act.

    Args:
        data: The bytes; those in [POS, END) are walked.
        s: The state, see `walk_state`.
        maps: Known table maps.
        arena: Their bodies.
        slots: Wanted tables in one shape each.
        layout: The columns of all slots.
        sources: Where GTIDs come from.
        rows: Room for rows, at least 2.
        runs: Room for runs, at least 1.

    Returns:
        An answer of `walk_state`.
    """
    while True:
        if s[w.ROW_AT]:
            code = read_rows(data, s, slots, layout, rows, runs)
            if code:
                return code
            advance(s)
        code = _due(s)
        if code == 0:
            code = _frame(data, s)
        if code == 0:
            code = _event(data, s, maps, arena, slots, sources)
        if code:
            return code


@lean_inline
def _due(s: Ints) -> int:
    """Return whether the slice is to end here, or the boundary to be looked at."""
    if s[w.OPEN] == 0:
        if s[w.ROWS] >= s[w.SLICE_ROWS] or s[w.IMAGE_BYTES] >= s[w.SLICE_BYTES]:
            return w.CUT
        reached = s[w.BOUND_HERE] and s[w.BOUND_AT] >= s[w.UNTIL_AT]
        if (s[w.HALT] or reached) and s[w.INSIDE] == 0:
            return w.BOUNDARY
    elif s[w.ROWS]:
        if s[w.SEQ] == s[w.MARK_SEQ]:
            if s[w.FIRST_US] // _HOUR_US != s[w.COMMIT_US] // _HOUR_US:
                return w.CUT
        elif s[w.ROWS] >= s[w.PART_ROWS] or s[w.IMAGE_BYTES] >= s[w.PART_BYTES]:
            return w.PART
    return 0


@lean_inline
def _frame(data: Bytes, s: Ints) -> int:
    """Find the next event."""
    pos, left = s[w.POS], s[w.END] - s[w.POS]
    if s[w.PACKETS]:
        s[w.NEED] = 4
        if left < 4:
            return w.NEED_BYTES
        size = uint(data, pos, 3)
        if data[pos + 3] != s[w.SEQUENCE]:
            return w.DISORDER
        if size == _JOINED:
            return w.JOIN
        s[w.NEED] = 4 + size
        if left < 4 + size:
            return w.NEED_BYTES
        s[w.EVENT_BEGIN], s[w.EVENT_END] = pos + 4, pos + 4 + size
        if size == 0 or data[pos + 4]:
            return w.PACKET
        s[w.EVENT_BEGIN] += 1
        s[w.NEXT] = pos + 4 + size
        return 0
    s[w.NEED] = HEADER
    if left < HEADER:
        return w.NEED_BYTES
    size = max(uint(data, pos + 9, 4), HEADER)
    s[w.NEED] = size
    if left < size:
        return w.NEED_BYTES
    s[w.EVENT_BEGIN], s[w.EVENT_END] = pos, pos + size
    s[w.NEXT] = pos + size
    return 0


@lean_inline
def _event(data: Bytes, s: Ints, maps: Ints, arena: Bytes, slots: Ints, sources: Ints) -> int:
    """Take one event, or leave it untouched for Python."""
    at, end = s[w.EVENT_BEGIN], s[w.EVENT_END]
    if end - at < HEADER or uint(data, at + 9, 4) != end - at:
        return w.EVENT
    action = _ACTIONS[data[at + 4]]
    if action == 0:
        return w.EVENT
    if s[w.CHECKSUMS] and s[w.INSIDE] == 0:
        end -= 4
        if end - at < HEADER or crc32(data, at, end) != uint(data, end, 4):
            return w.EVENT
    if action == _ROWS:
        if s[w.OPEN] == 0:  # neither transaction id nor BEGIN: it begins with its rows
            begin(s, uint(data, at, 4) * 1_000_000, 1, w.NO_GTID, 0)
            code = _due(s)
            if code:
                return code
        return row_event(data, s, maps, slots, at, end)
    if not _taken(data, s, maps, arena, sources, action, at, end):
        return w.EVENT
    enter(data, s, at, action != _HEARTBEAT)
    if action == _XID:
        commit(s, sources)
    advance(s)
    return 0


@lean_inline
def _taken(
    data: Bytes, s: Ints, maps: Ints, arena: Bytes, sources: Ints, action: int, at: int, end: int
) -> bool:
    """Take an event without rows; False leaves it to Python."""
    if action == _MAP:
        return table_map(data, s, maps, arena, at + HEADER, end)
    if action == _QUERY:
        return begin_query(data, s, at, end)
    if action == _XID:
        return bool(s[w.SOURCE] != w.HELD_GTID and s[w.MUTED] == 0)
    if action == _MARIADB_GTID:
        return mariadb_gtid(data, s, sources, at, end)
    if action in (_GTID, _ANONYMOUS):
        return mysql_gtid(data, s, sources, at, end, action == _GTID)
    return True
