"""Row events, as the walk takes them: which images are wanted and where they begin.

In: one row event in bytes, the shapes of the wanted tables. Out: rows. Every image ends within its
event, so that nobody has to check bounds again.
Source: mysql-server libs/mysql/binlog/event/rows_event.h, `Rows_event`.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from resources.mysql.kernels import walk_state as w
from resources.mysql.kernels.cells import Bytes, Ints
from resources.mysql.kernels.integers import uint
from resources.mysql.kernels.jit import lean_inline, lean_kernel
from resources.mysql.kernels.walk_events import HEADER, advance, enter, find_map

Counts: TypeAlias = npt.NDArray[np.uint64]

_DUMMY_TABLE = 0xFFFFFF
_INSERT, _BEFORE, _AFTER, _DELETE = range(4)
_SECOND_VERSION = 30


@lean_inline
def row_event(data: Bytes, s: Ints, maps: Ints, slots: Ints, at: int, end: int) -> int:
    """Take a row event: unwanted rows are passed over, wanted ones left to `read_rows`."""
    body = at + HEADER
    if end - body < 8:
        return w.EVENT
    number = uint(data, body, 6)
    slot = -1
    if number != _DUMMY_TABLE:
        known = find_map(maps, number)
        if known < 0 or maps[known, w.MAP_EPOCH] != s[w.EPOCH]:
            return w.EVENT
        slot = maps[known, w.MAP_SLOT]
        if slot >= 0 and s[w.MUTED]:
            slots[slot, w.SLOT_EPOCH] = s[w.EPOCH]
            slot = -1
    if slot < 0:
        enter(data, s, at, True)
        advance(s)
        return 0
    type_ = int(data[at + 4])
    second = bool(type_ >= _SECOND_VERSION)
    first = type_ - (30 if second else 23)
    kind = _INSERT if first == 0 else (_AFTER if first == 1 else _DELETE)
    images = _images(data, slots[slot, w.SLOT_COLUMNS], kind == _AFTER, second, body, end)
    if images < 0:
        return w.EVENT
    enter(data, s, at, True)
    slots[slot, w.SLOT_EPOCH] = s[w.EPOCH]
    s[w.ROW_AT], s[w.ROW_END], s[w.ROW_SLOT], s[w.ROW_KIND] = images, end, slot, kind
    return 0


@lean_inline
def _images(data: Bytes, columns: int, update: bool, second: bool, body: int, end: int) -> int:
    """Return where the images begin; -1 unless each carries all of the table's columns."""
    pos = body + 8
    if second:
        if end - pos < 2:
            return -1
        extra = uint(data, pos, 2)
        if extra < 2:
            return -1
        pos += extra
    if end - pos < 1:
        return -1
    count = int(data[pos])
    pos += 1
    if count == 0xFC and end - pos >= 2:
        count = uint(data, pos, 2)
        pos += 2
    elif count > 0xFA:
        return -1
    bitmap = (count + 7) >> 3
    images = 2 if update else 1
    if count != columns or end - pos < bitmap * images:
        return -1
    last = 0xFF >> (-count & 7)
    for _ in range(images):
        for byte in range(bitmap - 1):
            if data[pos + byte] != 0xFF:
                return -1
        if data[pos + bitmap - 1] & last != last:
            return -1
        pos += bitmap
    return pos


@lean_inline
def read_rows(data: Bytes, s: Ints, slots: Ints, layout: Ints, rows: Ints, runs: Ints) -> int:
    """Find the rows of the row event at hand, as far as there is room."""
    if s[w.ROWS_USED] and s[w.ROWS_BUFFER] != s[w.BUFFER]:
        return w.FULL
    if s[w.RUNS_USED] == len(runs):
        return w.FULL
    s[w.ROWS_BUFFER] = s[w.BUFFER]
    pos, end, slot, kind = s[w.ROW_AT], s[w.ROW_END], s[w.ROW_SLOT], s[w.ROW_KIND]
    first, columns = slots[slot, w.SLOT_FIRST], slots[slot, w.SLOT_COLUMNS]
    keyed, skip = slots[slot, w.SLOT_KEYED], s[w.SKIP_ROWS]
    used, size, code = s[w.ROWS_USED], 0, 0
    last_row = len(rows) - 2
    while pos < end:
        if used > last_row:
            code = w.FULL
            break
        begin = pos
        if kind == _AFTER:
            begin = _image(data, layout, first, columns, pos, end)
        stop = begin
        if begin >= 0:
            stop = _image(data, layout, first, columns, begin, end)
        if stop < 0:
            code = w.CORRUPT
            break
        if kind == _AFTER and (
            keyed == 0 or _key_differs(data, layout, first, columns, keyed, pos, begin)
        ):
            if skip:
                skip -= 1
            else:
                rows[used] = pos << w.KIND_BITS | _BEFORE
                used += 1
                size += begin - pos
        if skip:  # handed out before the connection was lost
            skip -= 1
        else:
            rows[used] = begin << w.KIND_BITS | kind
            used += 1
            size += stop - begin
        pos = stop
    s[w.SKIP_ROWS] = skip
    _keep(s, runs, slot, used, size, pos)
    s[w.ROW_AT] = pos if code == w.FULL else 0
    return code


@lean_inline
def _keep(s: Ints, runs: Ints, slot: int, used: int, size: int, end: int) -> None:
    """Count the rows found in an event, if any."""
    first, run, time = s[w.ROWS_USED], s[w.RUNS_USED], s[w.COMMIT_US]
    count = used - first
    if count == 0:
        return
    runs[run, w.RUN_SLOT], runs[run, w.RUN_FIRST], runs[run, w.RUN_ROWS] = slot, first, count
    runs[run, w.RUN_SEQ], runs[run, w.RUN_US] = s[w.SEQ], time
    runs[run, w.RUN_AT], runs[run, w.RUN_END] = s[w.AT], end
    if s[w.ROWS] == 0:
        s[w.FIRST_US], s[w.LAST_US] = time, time
    s[w.FIRST_US], s[w.LAST_US] = min(s[w.FIRST_US], time), max(s[w.LAST_US], time)
    s[w.SEQ] += count
    s[w.ROWS] += count
    s[w.IMAGE_BYTES] += size
    s[w.ROWS_USED], s[w.RUNS_USED] = used, run + 1


@lean_inline
def _image(data: Bytes, layout: Ints, first: int, columns: int, begin: int, end: int) -> int:
    """Return where an image ends, -1 if beyond its event."""
    pos = begin + ((columns + 7) >> 3)
    if pos > end:
        return -1
    whole = no_null(data, begin, columns)
    column = 0
    while column < columns:
        cell = first + column
        if whole:
            pos += layout[cell, w.CELL_SKIP]
            column += layout[cell, w.CELL_NEXT]
            if column == columns:
                break
            cell = first + column
        elif data[begin + (column >> 3)] >> (column & 7) & 1:
            column += 1
            continue
        prefix = layout[cell, w.CELL_PREFIX]
        if prefix == 0:
            pos += layout[cell, w.CELL_WIDTH]
        elif end - pos < prefix:
            return -1
        elif prefix == 1:
            pos += 1 + int(data[np.uint64(pos)])
        else:
            pos += prefix + uint(data, pos, prefix)
        column += 1
    return pos if pos <= end else -1


@lean_inline
def no_null(data: Bytes, begin: int, columns: int) -> bool:
    """Return whether no cell of an image is NULL; bits beyond the last column mean nothing."""
    for byte in range(columns >> 3):
        if data[begin + byte]:
            return False
    rest = columns & 7
    return rest == 0 or data[begin + (columns >> 3)] & ((1 << rest) - 1) == 0


@lean_inline
def _key_differs(
    data: Bytes, layout: Ints, first: int, columns: int, left: int, before: int, after: int
) -> bool:
    """Compare the key's cells, `left` of them, of two images that end within their event."""
    old, new = before + ((columns + 7) >> 3), after + ((columns + 7) >> 3)
    column = 0
    while left:
        byte, bit = column >> 3, column & 7
        old_null, new_null = data[before + byte] >> bit & 1, data[after + byte] >> bit & 1
        prefix = layout[first + column, w.CELL_PREFIX]
        old_size = new_size = prefix + layout[first + column, w.CELL_WIDTH]
        if prefix:
            old_size += 0 if old_null else uint(data, old, prefix)
            new_size += 0 if new_null else uint(data, new, prefix)
        old_size, new_size = 0 if old_null else old_size, 0 if new_null else new_size
        if layout[first + column, w.CELL_KEY]:
            if old_null != new_null or old_size != new_size:
                return True
            at = 0
            while at + 8 <= old_size:
                if uint(data, old + at, 8) != uint(data, new + at, 8):
                    return True
                at += 8
            while at < old_size:
                if data[old + at] != data[new + at]:
                    return True
                at += 1
            left -= 1
        old += old_size
        new += new_size
        column += 1
    return False


@lean_kernel
def pick(rows: Ints, runs: Ints, images: Ints, kinds: Bytes, seqs: Counts, times: Ints) -> None:
    """Lay the rows of some runs out column by column.

    Args:
        rows: All rows.
        runs: The runs wanted.
        images: Where to write where each image begins.
        kinds: Where to write row kinds.
        seqs: Where to write counter values.
        times: Where to write commit times.
    """
    to = 0
    for run in range(len(runs)):
        first, seq, time = runs[run, w.RUN_FIRST], runs[run, w.RUN_SEQ], runs[run, w.RUN_US]
        count = runs[run, w.RUN_ROWS]
        # A loop for each: of simple loops LLVM makes ones that take several rows at once.
        for row in range(count):
            images[to + row] = rows[first + row] >> w.KIND_BITS
        for row in range(count):
            kinds[to + row] = rows[first + row] & w.KIND_MASK
        for row in range(count):
            seqs[to + row] = seq + row
        for row in range(count):
            times[to + row] = time
        to += count
