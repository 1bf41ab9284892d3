"""Row images into columns, a block of rows at a time: what a block touches stays in the cache.

In: where images begin, each known to end within its event; what to do with each column, see
`direct`. Out: values, offsets and validity as Arrow keeps them; how many cells are NULL, how many
bad. Bad cells are NULL here, and whoever wants to know which they are asks the column's converter.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from resources.mysql.kernels import direct as d
from resources.mysql.kernels.cells import Bytes, Ints
from resources.mysql.kernels.integers import uint
from resources.mysql.kernels.intrinsics import BLOCK, copy_block, put_value
from resources.mysql.kernels.jit import lean_inline, lean_kernel
from resources.mysql.kernels.numbers import big_word, word
from resources.mysql.kernels.temporal import (
    NO_DAY,
    date_value,
    datetime_value,
    time_value,
    timestamp_value,
)
from resources.mysql.kernels.utf8 import sequence
from resources.mysql.kernels.walk_rows import no_null

Offsets: TypeAlias = npt.NDArray[np.int32]

ROWS = 64
"""Rows of a block: the bits of a word of validity."""

VALUES, VALIDITY, USED, NULLS, BADS, PLACE_FIELDS = range(6)
"""Columns of the places: where in the output values (or offsets) and validity begin; bytes of
strings so far; cells that are NULL, bad ones included; bad cells."""

_ONE = np.uint64(1)
_NONE = np.uint64(0)


@lean_kernel
def convert_images(
    data: Bytes,
    images: Ints,
    steps: Ints,
    numbers: Ints,
    starts: Ints,
    sizes: Ints,
    begins: Ints,
    ends: Ints,
    places: Ints,
    out: Bytes,
    base: int,
) -> None:
    """Convert rows.

    Args:
        data: The bytes.
        images: Where each image begins.
        steps: See `direct`, as are the numbers.
        numbers: Of all columns.
        starts: Scratch, (columns, ROWS).
        sizes: The same.
        begins: (any, rows): where cells begin, -1 for NULL. For TEXT and LABEL where the string to
            copy begins; for PLACE with the length before the cell.
        ends: Where each image ends.
        places: (columns, PLACE_FIELDS).
        out: The output, with room for the rows and those before them.
        base: Rows before them.
    """
    first = 0
    while first < len(images):
        low = base + first
        rows = min(ROWS - low % ROWS, len(images) - first)
        for row in range(rows):
            ends[first + row] = _locate(data, steps, images[first + row], starts, sizes, row)
        for column in range(len(steps)):
            do, index = steps[column, d.DO], steps[column, d.INDEX]
            if do == d.PLACE:
                prefix = steps[column, d.PREFIX]
                for row in range(rows):
                    at = starts[column, row]
                    begins[index, first + row] = at - prefix if at >= 0 else -1
            elif do != d.SKIP:
                valid, bad = _column(
                    data, steps, column, numbers, starts[column], sizes[column], places,
                    begins[index, first:], out, low, rows,
                )  # fmt: skip
                places[column, NULLS] += rows - _bits(valid)
                places[column, BADS] += _bits(bad)
                word = places[column, VALIDITY] + (low // ROWS << 3)
                if low % ROWS:
                    valid = valid << np.uint64(low % ROWS) | np.uint64(uint(out, word, 8))
                put_value(out, word, valid)
        first += rows


@lean_inline
def _bits(word: np.uint64) -> int:
    """Return how many bits are set."""
    count = 0
    while word:
        word &= word - _ONE
        count += 1
    return count


@lean_inline
def _locate(data: Bytes, steps: Ints, begin: int, starts: Ints, sizes: Ints, row: int) -> int:
    """Write where the content of an image's cells begins, -1 for NULL; return where it ends.

    Sizes are written of cells that have a length before them.
    """
    columns = len(steps)
    pos = begin + ((columns + 7) >> 3)
    whole = no_null(data, begin, columns)
    for column in range(columns):
        if not whole and data[np.uint64(begin + (column >> 3))] >> (column & 7) & 1:
            starts[column, row], sizes[column, row] = -1, 0
            continue
        prefix = steps[column, d.PREFIX]
        if prefix == 0:
            starts[column, row] = pos
            pos += steps[column, d.WIDTH]
        else:
            size = int(data[np.uint64(pos)]) if prefix == 1 else uint(data, pos, prefix)
            pos += prefix
            starts[column, row], sizes[column, row] = pos, size
            pos += size
    return pos


@lean_inline
def _column(
    data: Bytes,
    steps: Ints,
    column: int,
    numbers: Ints,
    starts: Ints,
    sizes: Ints,
    places: Ints,
    begins: Ints,
    out: Bytes,
    low: int,
    rows: int,
) -> tuple[np.uint64, np.uint64]:
    """Convert a block of one column; returns which cells hold values, and which are bad."""
    step, place = steps[column], places[column]
    do, to = step[d.DO], place[VALUES] + low * step[d.OUT]
    if do == d.WORD:
        return _words(data, step, starts, out, to, rows), _NONE
    if do == d.TEXT:
        return _texts(starts, sizes, place, begins, out, to, rows), _NONE
    if do == d.LABEL:
        return _labels(data, step, numbers, starts, place, begins, out, to, rows)
    if do == d.DECIMAL:
        return _decimals(data, step, numbers, starts, out, to, rows)
    # Numbers, not `do`: each of them gets a loop of its own.
    if do == d.DATE:
        return _temporal(data, step, d.DATE, starts, out, to, rows)
    if do == d.DATETIME:
        return _temporal(data, step, d.DATETIME, starts, out, to, rows)
    if do == d.TIMESTAMP:
        return _temporal(data, step, d.TIMESTAMP, starts, out, to, rows)
    return _temporal(data, step, d.TIME, starts, out, to, rows)


@lean_inline
def _words(data: Bytes, step: Ints, starts: Ints, out: Bytes, to: int, rows: int) -> np.uint64:
    width, size = step[d.WIDTH], step[d.OUT]
    above = 64 - 8 * width if step[d.FORM] else 0
    valid = _NONE
    for row in range(rows):
        at, value = starts[row], np.int64(0)
        if at >= 0:
            valid |= _ONE << np.uint64(row)
            value = np.int64(word(data, at, width) << above >> above)
        if size == 8:
            put_value(out, to + 8 * row, value)
        elif size == 4:
            put_value(out, to + 4 * row, np.int32(value))
        elif size == 2:
            put_value(out, to + 2 * row, np.int16(value))
        else:
            put_value(out, to + row, np.int8(value))
    return valid


@lean_inline
def _temporal(
    data: Bytes, step: Ints, do: int, starts: Ints, out: Bytes, to: int, rows: int
) -> tuple[np.uint64, np.uint64]:
    fraction, unit, width = step[d.FORM], step[d.UNIT], step[d.WIDTH]
    known, valid = _NONE, _NONE
    for row in range(rows):
        at, value = starts[row], np.int64(NO_DAY)
        if at >= 0:
            known |= _ONE << np.uint64(row)
            if do == d.DATE:
                value = date_value(word(data, at, 3))
            else:
                packed = big_word(data, at, width)
                if do == d.DATETIME:
                    value = datetime_value(packed, fraction, unit)
                elif do == d.TIMESTAMP:
                    value = timestamp_value(packed, fraction, unit)
                else:
                    value = time_value(packed, fraction, unit)
        if value == NO_DAY:
            value = np.int64(0)
        else:
            valid |= _ONE << np.uint64(row)
        if do == d.DATE:
            put_value(out, to + 4 * row, np.int32(value))
        else:
            put_value(out, to + 8 * row, value)
    return valid, known ^ valid if step[d.REJECT] else _NONE


@lean_inline
def _decimals(
    data: Bytes, step: Ints, numbers: Ints, starts: Ints, out: Bytes, to: int, rows: int
) -> tuple[np.uint64, np.uint64]:
    """Convert DECIMALs of at most 18 digits; see `decimals`."""
    first, groups = step[d.FIRST], step[d.COUNT]
    valid, bad = _NONE, _NONE
    for row in range(rows):
        at, value = starts[row], np.int64(0)
        if at >= 0:
            negative = data[at] < 0x80
            flip = 0xFFFFFFFF if negative else 0
            sign = 0x80 << 8 * (numbers[first] - 1)
            wrong = False
            for group in range(groups):
                size, power = numbers[first + 2 * group], numbers[first + 2 * group + 1]
                digits = (big_word(data, at, size) ^ flip ^ sign) & (1 << 8 * size) - 1
                sign = 0
                at += size
                wrong |= digits >= power
                value = value * power + digits
            if wrong:
                bad |= _ONE << np.uint64(row)
                value = np.int64(0)
            else:
                valid |= _ONE << np.uint64(row)
                value = -value if negative else value
        put_value(out, to + 16 * row, value)
        put_value(out, to + 16 * row + 8, value >> 63)
    return valid, bad


@lean_inline
def _texts(
    starts: Ints, sizes: Ints, place: Ints, begins: Ints, out: Bytes, to: int, rows: int
) -> np.uint64:
    """Add up the sizes of strings; `copy_texts` does the rest once there is room for them."""
    used, valid = place[USED], _NONE
    for row in range(rows):
        at = starts[row]
        begins[row] = at
        if at >= 0:
            valid |= _ONE << np.uint64(row)
            used += sizes[row]
        put_value(out, to + 4 * (row + 1), np.int32(used))
    place[USED] = used
    return valid


@lean_inline
def _labels(
    data: Bytes,
    step: Ints,
    numbers: Ints,
    starts: Ints,
    place: Ints,
    begins: Ints,
    out: Bytes,
    to: int,
    rows: int,
) -> tuple[np.uint64, np.uint64]:
    width, first, count = step[d.WIDTH], step[d.FIRST], step[d.COUNT]
    used, valid, bad = place[USED], _NONE, _NONE
    for row in range(rows):
        at = starts[row]
        begins[row] = -1
        if at >= 0:
            index = word(data, at, width)
            if index < count:
                valid |= _ONE << np.uint64(row)
                begins[row] = numbers[first + 2 * index]
                used += numbers[first + 2 * index + 1]
            else:
                bad |= _ONE << np.uint64(row)
        put_value(out, to + 4 * (row + 1), np.int32(used))
    place[USED] = used
    return valid, bad


@lean_kernel
def copy_texts(data: Bytes, begins: Ints, offsets: Offsets, longest: int, out: Bytes) -> int:
    """Copy strings end to end.

    Args:
        data: The bytes they lie in.
        begins: Where each begins, -1 for NULL.
        offsets: int32, where each is to begin and the last one to end.
        longest: Bytes of the longest character of UTF-8; 0 for any bytes.
        out: Where to copy to, with room for a block behind the last one.

    Returns:
        How many are no UTF-8.
    """
    for row in range(len(begins)):
        at = begins[row]
        if at >= 0:
            _copy(out, offsets[row], data, at, offsets[row + 1] - offsets[row])
    if longest == 0:
        return 0
    top, content = np.uint8(0), out[offsets[0] : offsets[len(begins)]]
    for byte in range(len(content)):
        top |= content[byte]
    bad = 0
    if top >= 0x80:
        for row in range(len(begins)):
            bad += not _is_text(out, offsets[row], offsets[row + 1], longest)
    return bad


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
def _is_text(data: Bytes, at: int, end: int, longest: int) -> bool:
    """Return whether bytes are UTF-8 of characters no longer than that."""
    while at < end:
        length = sequence(data, at, end)
        if length == 0 or length > longest:
            return False
        at += length
    return True
