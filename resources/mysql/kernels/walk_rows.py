"""Row events, as the walk takes them: which images are wanted and where their cells begin.

In: one row event in bytes, the shapes of the wanted tables. Out: rows and cells. Every image ends
within its event, so that nobody has to check bounds again.
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
def read_rows(data: Bytes, s: Ints, slots: Ints, layout: Ints, rows: Ints, cells: Ints) -> int:
    """Find the cells of the row event at hand, as far as there is room."""
    if s[w.ROWS_USED] and s[w.ROWS_BUFFER] != s[w.BUFFER]:
        return w.FULL
    s[w.ROWS_BUFFER] = s[w.BUFFER]
    pos, end, slot, kind = s[w.ROW_AT], s[w.ROW_END], s[w.ROW_SLOT], s[w.ROW_KIND]
    first, columns = slots[slot, w.SLOT_FIRST], slots[slot, w.SLOT_COLUMNS]
    keyed = slots[slot, w.SLOT_KEYED]
    used, cell, code = s[w.ROWS_USED], s[w.CELLS_USED], 0
    last_row, last_cell = len(rows) - 2, len(cells) - 2 * columns
    while pos < end:
        if used > last_row or cell > last_cell:
            code = w.FULL
            break
        begin, before = pos, pos
        if kind == _AFTER:
            begin = _image(data, layout, first, columns, pos, end, cells, cell + columns)
        stop = begin
        if begin >= 0:
            stop = _image(data, layout, first, columns, begin, end, cells, cell)
        if stop < 0:
            code = w.CORRUPT
            break
        if kind == _AFTER and (
            keyed == 0 or _key_differs(data, layout, first, columns, cells, cell)
        ):
            if _keep(s, rows, used, slot, _BEFORE, before, begin, cell + columns):
                used += 1
            if _keep(s, rows, used, slot, _AFTER, begin, stop, cell):
                used += 1
            cell += 2 * columns
        elif _keep(s, rows, used, slot, kind, begin, stop, cell):
            used += 1
            cell += columns
        pos = stop
    s[w.ROWS_USED], s[w.CELLS_USED] = used, cell
    s[w.ROW_AT] = pos if code == w.FULL else 0
    return code


@lean_inline
def _image(
    data: Bytes,
    layout: Ints,
    first: int,
    columns: int,
    begin: int,
    end: int,
    cells: Ints,
    at: int,
) -> int:
    """Find the cells of one image; returns where it ends, -1 if beyond its event."""
    pos = begin + ((columns + 7) >> 3)
    if pos > end:
        return -1
    for column in range(columns):
        if data[begin + (column >> 3)] >> (column & 7) & 1:
            cells[at + column] = -1
            continue
        cells[at + column] = pos
        prefix = layout[first + column, w.CELL_PREFIX]
        if prefix == 0:
            pos += layout[first + column, w.CELL_WIDTH]
        else:
            if end - pos < prefix:
                return -1
            pos += prefix + uint(data, pos, prefix)
    return pos if pos <= end else -1


@lean_inline
def _key_differs(
    data: Bytes, layout: Ints, first: int, columns: int, cells: Ints, after: int
) -> bool:
    """Compare the key's cells of both images; the one before lies behind the one after."""
    for column in range(columns):
        if layout[first + column, w.CELL_KEY] == 0:
            continue
        old, new = cells[after + columns + column], cells[after + column]
        if old < 0 or new < 0:
            if old != new:
                return True
            continue
        prefix, size = layout[first + column, w.CELL_PREFIX], layout[first + column, w.CELL_WIDTH]
        if prefix:
            size = prefix + uint(data, old, prefix)
            if size != prefix + uint(data, new, prefix):
                return True
        for byte in range(size):
            if data[old + byte] != data[new + byte]:
                return True
    return False


@lean_inline
def _keep(
    s: Ints, rows: Ints, row: int, slot: int, kind: int, begin: int, stop: int, cell: int
) -> bool:
    """Take an image as a row, unless it was handed out before the connection was lost."""
    if s[w.SKIP_ROWS]:
        s[w.SKIP_ROWS] -= 1
        return False
    time = s[w.COMMIT_US]
    rows[row, w.OUT_SLOT], rows[row, w.OUT_KIND] = slot, kind
    rows[row, w.OUT_SEQ], rows[row, w.OUT_US] = s[w.SEQ], time
    rows[row, w.OUT_BEGIN], rows[row, w.OUT_END] = begin, stop
    rows[row, w.OUT_AT], rows[row, w.OUT_CELLS] = s[w.AT], cell
    if s[w.ROWS] == 0:
        s[w.FIRST_US], s[w.LAST_US] = time, time
    s[w.FIRST_US], s[w.LAST_US] = min(s[w.FIRST_US], time), max(s[w.LAST_US], time)
    s[w.SEQ] += 1
    s[w.ROWS] += 1
    s[w.IMAGE_BYTES] += stop - begin
    return True


_BLOCK = 64


@lean_kernel
def lay_out(
    cells: Ints, rows: Ints, picks: Ints, begins: Ints, kinds: Bytes, seqs: Counts, times: Ints
) -> None:
    """Lay some rows out column by column.

    Args:
        cells: All cells, row by row.
        rows: All rows.
        picks: Indexes of the rows wanted, all of one table slot.
        begins: Where to write, by column and row, where each cell begins.
        kinds: Where to write row kinds.
        seqs: Where to write counter values.
        times: Where to write commit times.
    """
    columns, count = begins.shape
    for low in range(0, count, _BLOCK):
        high = min(low + _BLOCK, count)
        for row in range(low, high):
            at = picks[row]
            kinds[row], seqs[row] = rows[at, w.OUT_KIND], rows[at, w.OUT_SEQ]
            times[row] = rows[at, w.OUT_US]
        for column in range(columns):
            for row in range(low, high):
                begins[column, row] = cells[rows[picks[row], w.OUT_CELLS] + column]
