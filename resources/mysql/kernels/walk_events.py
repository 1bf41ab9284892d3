"""Events without rows, as the walk takes them: who began, which table follows, what ended.

In: one event in bytes, its checksum verified and cut off; the walk's state. Out: the state moved
on, or False where the event is for Python, which must then find the state as it was.
"""

from __future__ import annotations

import numpy as np

from resources.mysql.kernels import walk_state as w
from resources.mysql.kernels.cells import Bytes, Ints
from resources.mysql.kernels.integers import uint
from resources.mysql.kernels.jit import lean_inline

HEADER = 19
_LOW = 0xFFFFFFFF
_STANDALONE = 1
_COMMIT_ID = 2
_ALTER = 2 | 4 | 8
"""Flags behind the commit id: START, COMMIT and ROLLBACK ALTER."""
_XA = 64 | 128  # prepares one, or decides over one
_TIME_FLAG = 1 << 55


@lean_inline
def enter(data: Bytes, s: Ints, at: int, follow: bool) -> None:
    """Count an event's bytes and follow the offset; see `LogPlace.enter`."""
    if s[w.INSIDE]:
        return
    here, size, low = s[w.AT], uint(data, at + 9, 4), uint(data, at + 13, 4)
    s[w.BYTES_READ] += size
    # No offset is 0, unless it is that of the 4 GB just reached.
    if follow and (low or (here + size) & _LOW == 0):
        there = (here & ~_LOW) | low
        if there >= here:
            s[w.AT] = there
        elif here - there > 1 << 31:
            s[w.AT] = there + _LOW + 1


@lean_inline
def advance(s: Ints) -> None:
    """Go behind the event at hand."""
    s[w.POS] = s[w.NEXT]
    s[w.SEQUENCE] = (s[w.SEQUENCE] + s[w.PACKETS]) & 0xFF


@lean_inline
def mark(s: Ints) -> None:
    """Remember how much the slice holds; see `SliceBuilder.mark`."""
    s[w.MARK_SEQ], s[w.MARK_ROWS] = s[w.SEQ], s[w.ROWS]
    s[w.MARK_IMAGE_BYTES], s[w.MARK_BYTES_READ] = s[w.IMAGE_BYTES], s[w.BYTES_READ]
    s[w.MARK_NOTICES] = s[w.NOTICES]
    s[w.MARK_FIRST_US], s[w.MARK_LAST_US] = s[w.FIRST_US], s[w.LAST_US]


@lean_inline
def begin(s: Ints, commit_us: int, begun: int, source: int, number: int) -> None:
    """Open a transaction."""
    s[w.OPEN], s[w.MUTED], s[w.BEGUN], s[w.COMMIT_US] = 1, 0, begun, commit_us
    s[w.SOURCE], s[w.NUMBER] = source, number
    mark(s)


@lean_inline
def commit(s: Ints, sources: Ints) -> None:
    """End the transaction here; see `LogReader.commit`."""
    source = s[w.SOURCE]
    if source >= 0:
        sources[source, w.GTID_LAST] = s[w.NUMBER]
        if s[w.NUMBER] >= sources[source, w.GTID_UNTIL]:
            s[w.HALT] = 1
    s[w.OPEN], s[w.MUTED], s[w.SOURCE] = 0, 0, w.NO_GTID
    s[w.BOUND_AT], s[w.BOUND_HERE] = s[w.AT], 1
    s[w.SKIP_ROWS], s[w.HANDED_OUT] = 0, 0
    s[w.TRANSACTIONS] += 1
    s[w.EPOCH] += 1
    mark(s)


@lean_inline
def mysql_gtid(data: Bytes, s: Ints, sources: Ints, at: int, end: int, named: bool) -> bool:
    """Open the transaction of GTID (`named`) or ANONYMOUS_GTID; its id continues a known row."""
    body, source = at + HEADER, w.NO_GTID
    if s[w.OPEN] or end - body < 25:
        return False
    number = uint(data, body + 17, 8)
    if named and s[w.GTIDS_KNOWN]:
        high, low = uint(data, body + 1, 8), uint(data, body + 9, 8)
        for row in range(len(sources)):
            same = sources[row, w.GTID_HIGH] == high and sources[row, w.GTID_LOW] == low
            if same and sources[row, w.GTID_LAST] + 1 == number:
                source = row
                break
        if source == w.NO_GTID:
            return False
    commit_us = uint(data, at, 4) * 1_000_000
    if end - body >= 49:  # logical clock, then the commit time of 8.0 and later
        commit_us = uint(data, body + 42, 7) & ~_TIME_FLAG
    begin(s, commit_us, 0, source, number)
    return True


@lean_inline
def mariadb_gtid(data: Bytes, s: Ints, sources: Ints, at: int, end: int) -> bool:
    """Open the transaction of MariaDB's GTID, of a known domain and server, its number greater."""
    body, source = at + HEADER, w.NO_GTID
    if s[w.OPEN] or end - body < 13 or data[body + 12] & _XA:
        return False
    extra = body + (21 if data[body + 12] & _COMMIT_ID else 13)
    if extra < end and data[extra] & _ALTER:
        return False
    number = uint(data, body, 8)
    if s[w.GTIDS_KNOWN]:
        domain, server = uint(data, body + 8, 4), uint(data, at + 5, 4)
        for row in range(len(sources)):
            same = sources[row, w.GTID_HIGH] == domain and sources[row, w.GTID_LOW] == server
            if same and sources[row, w.GTID_LAST] < number:
                source = row
                break
        if source == w.NO_GTID:
            return False
    begun = 0 if data[body + 12] & _STANDALONE else 1
    begin(s, uint(data, at, 4) * 1_000_000, begun, source, number)
    return True


@lean_inline
def begin_query(data: Bytes, s: Ints, at: int, end: int) -> bool:
    """Take a QUERY whose text is BEGIN."""
    body = at + HEADER
    if end - body < 13 + 1 + 5:
        return False
    text = body + 13 + uint(data, body + 11, 2) + data[body + 8] + 1
    if text + 5 != end:
        return False
    if (
        data[text] != 0x42
        or data[text + 1] != 0x45
        or data[text + 2] != 0x47
        or data[text + 3] != 0x49
        or data[text + 4] != 0x4E
    ):
        return False
    if s[w.OPEN] == 0:
        begin(s, uint(data, at, 4) * 1_000_000, 1, w.NO_GTID, 0)
    s[w.BEGUN] = 1
    return True


@lean_inline
def find_map(maps: Ints, number: int) -> int:
    """Return the row of a table number's map, -1 if none is known."""
    mask = len(maps) - 1
    at = number & mask
    while maps[at, w.MAP_NUMBER] >= 0:
        if maps[at, w.MAP_NUMBER] == number:
            return at
        at = (at + 1) & mask
    return -1


@lean_inline
def table_map(data: Bytes, s: Ints, maps: Ints, arena: Bytes, body: int, end: int) -> bool:
    """Take a TABLE_MAP that equals the one known for its number, byte for byte."""
    size = end - body
    if size < 6:
        return False
    known = find_map(maps, uint(data, body, 6))
    if known < 0 or maps[known, w.MAP_SIZE] != size:
        return False
    at = maps[known, w.MAP_BODY]
    different = np.uint8(0)
    for byte in range(size):
        different |= arena[at + byte] ^ data[body + byte]
    if different:
        return False
    maps[known, w.MAP_EPOCH] = s[w.EPOCH]
    return True
