"""Strings of row images, a block of one column at a time, end to end as Arrow keeps them.

In: where cells lie, see `row_cells`; labels of ENUM columns. Out: strings, their offsets, which
cells hold one and which are bad.
"""

from __future__ import annotations

import numpy as np

from resources.mysql.kernels import direct as d
from resources.mysql.kernels.cells import Bytes, Ints
from resources.mysql.kernels.integers import uint
from resources.mysql.kernels.intrinsics import BLOCK, copy_block, put_value
from resources.mysql.kernels.jit import lean_inline
from resources.mysql.kernels.numbers import word
from resources.mysql.kernels.utf8 import sequence

_SHORT = 16
_ONE = np.uint64(1)
_NONE = np.uint64(0)


@lean_inline
def has_room(steps: Ints, sizes: Ints, places: Ints, rows: int) -> bool:
    """Write how many bytes of strings a block may have; return whether there is room for them."""
    enough = True
    for column in range(len(steps)):
        do, need = steps[column, d.DO], np.int64(0)
        if do == d.TEXT:
            for row in range(rows):
                need += sizes[column, row]
        elif do == d.LABEL:
            need = rows * steps[column, d.FORM]
        else:
            continue
        places[column, d.NEED] = need
        if places[column, d.USED] + need > places[column, d.ROOM]:
            enough = False
    return enough


@lean_inline
def put_texts(
    data: Bytes,
    step: Ints,
    starts: Ints,
    sizes: Ints,
    place: Ints,
    out: Bytes,
    to: int,
    texts: Bytes,
    rows: int,
) -> tuple[np.uint64, np.uint64]:
    """Add the strings of a block; returns which cells are not NULL, and which of them are no text.

    Args:
        data: The bytes.
        step: The column's of `direct`.
        starts: Where each string begins, -1 for NULL.
        sizes: Their bytes, 0 for NULL.
        place: The column's of `direct`.
        out: Where the offsets go.
        to: Place in it of the first string's begin.
        texts: Where the strings go; there is room for them and a block of `copy_block`.
        rows: Number of cells.
    """
    begin, used, valid, bad = place[d.STRINGS], place[d.USED], _NONE, _NONE
    first, most = begin + used, np.int64(0)
    for row in range(rows):
        most = max(most, sizes[row])
    for row in range(rows):
        at = starts[row]
        if at >= 0:
            valid |= _ONE << np.uint64(row)
            if most <= _SHORT and at + _SHORT <= len(data):
                _copy_short(texts, begin + used, data, at)
            else:
                _copy(texts, begin + used, data, at, sizes[row])
            used += sizes[row]
        put_value(out, to + 4 * (row + 1), np.int32(used))
    place[d.USED] = used
    top, content = np.uint8(0), texts[first : begin + used]
    for byte in range(len(content)):
        top |= content[byte]
    if top >= 0x80 and step[d.FORM]:
        for row in range(rows):
            end = first + sizes[row]
            if not _is_text(texts, first, end, step[d.FORM]):
                bad |= _ONE << np.uint64(row)
            first = end
    return valid, bad


@lean_inline
def put_labels(
    data: Bytes,
    step: Ints,
    numbers: Ints,
    labels: Bytes,
    starts: Ints,
    place: Ints,
    out: Bytes,
    to: int,
    texts: Bytes,
    rows: int,
) -> tuple[np.uint64, np.uint64]:
    """Add the labels of a block of ENUM cells as `put_texts` does strings.

    Args:
        data: The bytes.
        step: The column's of `direct`.
        numbers: Begin and size of labels.
        labels: The labels.
        starts: Where each cell begins, -1 for NULL.
        place: The column's of `direct`.
        out: Where the offsets go.
        to: Place in it of the first string's begin.
        texts: Where the strings go; there is room for them and a block of `copy_block`.
        rows: Number of cells.
    """
    width, first, count = step[d.WIDTH], step[d.FIRST], step[d.COUNT]
    begin, used, valid, bad = place[d.STRINGS], place[d.USED], _NONE, _NONE
    short = step[d.FORM] <= _SHORT
    for row in range(rows):
        at = starts[row]
        if at >= 0:
            index = word(data, at, width)
            if index < count:
                valid |= _ONE << np.uint64(row)
                label, size = numbers[first + 2 * index], numbers[first + 2 * index + 1]
                if short:
                    _copy_short(texts, begin + used, labels, label)
                else:
                    _copy(texts, begin + used, labels, label, size)
                used += size
            else:
                bad |= _ONE << np.uint64(row)
        put_value(out, to + 4 * (row + 1), np.int32(used))
    place[d.USED] = used
    return valid, bad


@lean_inline
def _copy(out: Bytes, to: int, data: Bytes, at: int, size: int) -> None:
    """Copy bytes; `out` has room for a block more."""
    if at + size + BLOCK <= len(data):
        for block in range(0, size, BLOCK):
            copy_block(out, to + block, data, at + block)
    else:
        for byte in range(size):
            out[to + byte] = data[at + byte]


@lean_inline
def _copy_short(out: Bytes, to: int, data: Bytes, at: int) -> None:
    """Copy as many bytes as a short string has at most; both have them."""
    for byte in range(0, _SHORT, 8):
        put_value(out, to + byte, uint(data, at + byte, 8))


@lean_inline
def _is_text(data: Bytes, at: int, end: int, longest: int) -> bool:
    """Return whether bytes are UTF-8 of characters no longer than that."""
    while at < end:
        length = sequence(data, at, end)
        if length == 0 or length > longest:
            return False
        at += length
    return True
