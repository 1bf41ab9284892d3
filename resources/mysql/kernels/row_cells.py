"""Where the cells of row images lie, a block of rows at a time.

In: where images begin, each known to end within its event; the steps of `direct`. Out: where the
content of each cell begins and, where a length is before it, how long it is.
"""

from __future__ import annotations

import numpy as np

from resources.mysql.kernels import direct as d
from resources.mysql.kernels.cells import Bytes, Ints
from resources.mysql.kernels.integers import bits, uint
from resources.mysql.kernels.intrinsics import LINE, fetch
from resources.mysql.kernels.jit import lean_inline
from resources.mysql.kernels.walk_rows import no_null

_FETCHED = 3 * LINE
_ONE = np.uint64(1)


@lean_inline
def locate(
    data: Bytes,
    steps: Ints,
    images: Ints,
    bases: Ints,
    starts: Ints,
    sizes: Ints,
    ends: Ints,
    rows: int,
) -> None:
    """Write where the content of the cells of a block begins, -1 for NULL, and where images end.

    Sizes are written of cells that have a length before them.
    """
    columns = len(steps)
    odd, bitmap = np.uint64(0), (columns + 7) >> 3
    for row in range(rows):
        # A block ahead: the bytes often lie in the cache of the processor that read them.
        ahead = images[min(row + d.ROWS, len(images) - 1)]
        for line in range(0, _FETCHED, LINE):
            fetch(data, ahead + line)
        bases[0, row] = images[row] + bitmap
        if not no_null(data, images[row], columns):
            odd |= _ONE << np.uint64(row)
    _follow(data, steps, bases, rows)
    for column in range(columns):
        if steps[column, d.DO] != d.SKIP:
            _spread(steps[column], bases, starts[column], sizes[column], rows)
    last = steps[columns - 1]
    group, tail = last[d.GROUP], last[d.BEFORE] + last[d.WIDTH]
    if last[d.PREFIX]:
        group, tail = group + 1, np.int64(0)
    for row in range(rows):
        ends[row] = bases[group, row] + tail
    while odd:
        row = bits((odd & (~odd + _ONE)) - _ONE)
        odd &= odd - _ONE
        ends[row] = _seek(data, steps, images[row], starts, sizes, row)


@lean_inline
def _follow(data: Bytes, steps: Ints, bases: Ints, rows: int) -> None:
    """Write where each group of cells begins in images without a NULL; for others, nonsense.

    Row after row is done alike, which is faster than image after image.
    """
    columns, group = len(steps), 0
    column = 0 if steps[0, d.PREFIX] else steps[0, d.NEXT]
    while column < columns:
        before, prefix = steps[column, d.BEFORE], steps[column, d.PREFIX]
        last = len(data) - prefix
        if last < 0:  # every image has a NULL
            break
        for row in range(rows):
            # Nonsense, too, is not to be looked up beyond the bytes.
            pos = min(bases[group, row] + before, last)
            size = int(data[np.uint64(pos)]) if prefix == 1 else uint(data, pos, prefix)
            bases[group + 1, row] = pos + prefix + size
        group += 1
        column = steps[column, d.NEXT]


@lean_inline
def _spread(step: Ints, bases: Ints, starts: Ints, sizes: Ints, rows: int) -> None:
    """Write where a column's cells begin in images without a NULL; into others it writes nonsense.

    Every row is done alike, so that LLVM takes several at once.
    """
    group, gap = step[d.GROUP], step[d.BEFORE] + step[d.PREFIX]
    for row in range(rows):
        starts[row] = bases[group, row] + gap
    if step[d.PREFIX]:
        for row in range(rows):
            sizes[row] = bases[group + 1, row] - starts[row]


@lean_inline
def _seek(data: Bytes, steps: Ints, begin: int, starts: Ints, sizes: Ints, row: int) -> int:
    """Write where the cells of one image begin, whatever is NULL; return where it ends."""
    columns = len(steps)
    pos = begin + ((columns + 7) >> 3)
    for column in range(columns):
        if data[np.uint64(begin + (column >> 3))] >> (column & 7) & 1:
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
