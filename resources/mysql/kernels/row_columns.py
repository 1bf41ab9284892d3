"""Row images into columns, a block of rows at a time: what a block touches stays in the cache.

In: where images begin, each known to end within its event; what to do with each column, see
`direct`. Out: values, offsets, strings and validity as Arrow keeps them; how many cells are NULL,
how many bad. What a bad cell becomes is left open: whoever has one asks the column's converter.
"""

from __future__ import annotations

import numpy as np

from resources.mysql.kernels import direct as d
from resources.mysql.kernels.cells import Bytes, Ints
from resources.mysql.kernels.integers import bits, uint
from resources.mysql.kernels.intrinsics import put_value
from resources.mysql.kernels.jit import lean_inline, lean_kernel
from resources.mysql.kernels.numbers import big_word, word
from resources.mysql.kernels.row_cells import locate
from resources.mysql.kernels.row_strings import has_room, put_labels, put_texts
from resources.mysql.kernels.temporal import (
    NO_DAY,
    date_value,
    datetime_value,
    time_value,
    timestamp_value,
)

_ONE = np.uint64(1)
_NONE = np.uint64(0)


@lean_kernel
def convert_images(
    data: Bytes,
    images: Ints,
    steps: Ints,
    numbers: Ints,
    labels: Bytes,
    scratch: Ints,
    begins: Ints,
    ends: Ints,
    places: Ints,
    out: Bytes,
    texts: Bytes,
    base: int,
    first: int,
) -> int:
    """Convert rows, block by block as long as there is room for their strings.

    Args:
        data: The bytes.
        images: Where each image begins.
        steps: See `direct`, as are the numbers and labels.
        numbers: Of all columns.
        labels: Of all columns.
        scratch: (3, columns + 1, ROWS).
        begins: (any, rows): where the cells of PLACE begin, the length before them included; -1 for
            NULL.
        ends: Where each image ends.
        places: (columns, PLACE_FIELDS).
        out: The output, with room for the rows and those before them.
        texts: The strings; each column has room for a block of `copy_block` more than it says.
        base: Rows converted before these images.
        first: Images already converted.

    Returns:
        How many images are converted; NEED says what the next block lacks if not all are.
    """
    bases, starts, sizes = scratch[0], scratch[1], scratch[2]
    while first < len(images):
        low = base + first
        rows = min(d.ROWS - low % d.ROWS, len(images) - first)
        locate(data, steps, images[first:], bases, starts, sizes, ends[first:], rows)
        if not has_room(steps, sizes, places, rows):
            break
        for column in range(len(steps)):
            do, index = steps[column, d.DO], steps[column, d.INDEX]
            if do == d.PLACE:
                prefix = steps[column, d.PREFIX]
                for row in range(rows):
                    at = starts[column, row]
                    begins[index, first + row] = at - prefix if at >= 0 else -1
            elif do != d.SKIP:
                valid, bad = _column(
                    data, steps[column], numbers, labels, starts[column], sizes[column],
                    places[column], out, texts, low, rows,
                )  # fmt: skip
                places[column, d.NULLS] += rows - bits(valid)
                places[column, d.BADS] += bits(bad)
                word = places[column, d.VALIDITY] + (low // d.ROWS << 3)
                if low % d.ROWS:
                    valid = valid << np.uint64(low % d.ROWS) | np.uint64(uint(out, word, 8))
                put_value(out, word, valid)
        first += rows
    return first


@lean_inline
def _column(
    data: Bytes,
    step: Ints,
    numbers: Ints,
    labels: Bytes,
    starts: Ints,
    sizes: Ints,
    place: Ints,
    out: Bytes,
    texts: Bytes,
    low: int,
    rows: int,
) -> tuple[np.uint64, np.uint64]:
    """Convert a block of one column; returns which cells hold values, and which are bad."""
    do, to = step[d.DO], place[d.VALUES] + low * step[d.OUT]
    if do == d.WORD:
        return _words(data, step, starts, out, to, rows), _NONE
    if do == d.TEXT:
        return put_texts(data, step, starts, sizes, place, out, to, texts, rows)
    if do == d.LABEL:
        return put_labels(data, step, numbers, labels, starts, place, out, to, texts, rows)
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
    first = numbers[step[d.FIRST] :]
    size, shift, size2 = first[0], first[1], first[2]
    mask0, mask1, mask2 = first[4], first[6], first[8]
    power0, power1, power2 = first[5], first[7], first[9]
    sign = (mask0 + 1) >> 1
    valid, bad = _NONE, _NONE
    for row in range(rows):
        at, value = starts[row], np.int64(0)
        if at >= 0:
            negative = data[at] < 0x80
            flip = np.int64(-1 if negative else 0)
            both = big_word(data, at, size) ^ flip
            digits0, digits1 = (both >> shift ^ sign) & mask0, both & mask1
            digits2 = np.int64(0)
            if size2:
                digits2 = (big_word(data, at + size, size2) ^ flip) & mask2
            if (digits0 >= power0) | (digits1 >= power1) | (digits2 >= power2):
                bad |= _ONE << np.uint64(row)
            else:
                valid |= _ONE << np.uint64(row)
                value = (digits0 * power1 + digits1) * power2 + digits2
                value = (value ^ flip) - flip
        put_value(out, to + 16 * row, value)
        put_value(out, to + 16 * row + 8, value >> 63)
    return valid, bad
