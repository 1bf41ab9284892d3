"""Row images of one table into Arrow: most columns in one compiled loop, some by their converters.

In: bytes, where images begin in them, what to do with their columns. Out: columns that grow from
one buffer of bytes to the next, or a `Converted` for every column of one. None of their memory is
the images'; the columns of one `RowColumns` share theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from resources.mysql.binlog.array_pool import ArrayPool
from resources.mysql.kernels import direct as d
from resources.mysql.kernels import row_columns as r
from resources.mysql.kernels.cells import Bytes, Converted, Converter, Ints, Mask, locate
from resources.mysql.kernels.direct import Direct, Steps
from resources.mysql.kernels.intrinsics import BLOCK

_MOST = (1 << 31) - 1
_MOST_SPARE = 2 << 20
_ALIGNED = 64
_OFFSET = 4


@dataclass(frozen=True)
class Images:
    """Row images of one shape of a table.

    Args:
        data: The bytes they lie in.
        begins: int64, where each begins; it ends within `data`.
    """

    data: Bytes
    begins: Ints


class RowColumns:
    """Columns that row images are added to.

    Args:
        steps: What to do with the columns of an image.
        capacity: The most rows.
        pool: Where memory comes from.

    Attributes:
        rows: Rows so far.
        begins: int64, where cells of the images added last begin, as `row_columns` writes it.
        ends: int64, where those images end.
    """

    def __init__(self, steps: Steps, capacity: int, pool: ArrayPool) -> None:
        self._pool = pool
        self._steps = steps
        self._capacity = capacity
        places, at = [], 0
        for width in steps.widths:
            values, validity = at, at + _aligned(width * (capacity + 1))
            at = validity + _aligned((capacity // d.ROWS + 1) * 8)
            places.append((values, validity, *(0 for _ in range(d.STRINGS, d.PLACE_FIELDS))))
        self._places: Ints = np.array(places, np.int64)
        self._out = pool.lend(at)
        # Strings without a byte need no room, but what copies them writes some bytes behind it.
        self._texts: Bytes = np.empty(BLOCK, np.uint8)
        for column in steps.strings:
            self._out[places[column][d.VALUES] :][:_OFFSET] = 0
        self.rows = 0

    @property
    def size(self) -> int:
        """Bytes of strings so far."""
        return int(self._places[:, d.USED].sum())

    def has_room(self, count: int) -> bool:
        """Return whether so many rows fit in."""
        return self.rows + count <= self._capacity

    def add(self, images: Images) -> Mask | None:
        """Add rows there is room for.

        Returns:
            None; or which columns have bad cells or too many bytes of text, and nothing is added.
        """
        steps, places, count = self._steps, self._places, len(images.begins)
        before = places[:, d.USED :].copy()
        self.begins = np.empty((steps.placed, count), np.int64)
        self.ends = np.empty(count, np.int64)
        scratch = np.empty((3, len(places) + 1, d.ROWS), np.int64)
        done = 0
        while True:
            done = r.convert_images(
                images.data, images.begins, steps.table, steps.numbers, steps.text, scratch,
                self.begins, self.ends, places, self._out, self._texts, self.rows, done,
            )  # fmt: skip
            if done == count or not self._make_room(self.rows + done):
                break
        if not places[:, d.BADS].any():
            self.rows += count
            return None
        bad: Mask = places[:, d.BADS] > 0
        places[:, d.USED :] = before
        self._clear_validity()
        return bad

    def _make_room(self, rows: int) -> bool:
        """Make room for the strings of another block, and more; False if no array has so much.

        Args:
            rows: Rows converted.
        """
        places, block = self._places, d.ROWS - rows % d.ROWS
        left, at = max(self._capacity - rows - block, 0), 0
        moves = []
        for column in self._steps.strings:
            begin, room, need, used, _, bad = places[column, d.STRINGS :].tolist()
            if bad or used + need > _MOST:
                places[column, d.BADS] += 1
                return False
            # Enough for as many more rows like these as there is room for, and half of that; less
            # if they are long: those behind a long one seldom are.
            likely = (used + need) * left // (rows + block) * 3 // 2
            room = max(room, min(used + need + min(likely, _MOST_SPARE), _MOST))
            moves.append((column, begin, used, at, room))
            at += room + BLOCK
        old, self._texts = self._texts, self._pool.lend(at)
        for column, begin, used, to, room in moves:
            self._texts[to : to + used] = old[begin : begin + used]
            places[column, d.STRINGS : d.NEED] = to, room
        return True

    def cut(self, rows: int) -> None:
        """Drop the rows from one on."""
        self.rows = rows
        for column in self._steps.strings:
            begin = int(self._places[column, d.VALUES]) + _OFFSET * rows
            self._places[column, d.USED] = self._out[begin:][:_OFFSET].view(np.int32)[0]
        self._clear_validity()

    def _clear_validity(self) -> None:
        """Forget which cells behind the last row are NULL: those of new rows are joined to them."""
        words, kept = self.rows // d.ROWS, np.uint64((1 << self.rows % d.ROWS) - 1)
        for at in self._places[:, d.VALIDITY].tolist():
            self._out[at + 8 * words : at + 8 * words + 8].view(np.uint64)[0] &= kept

    def array(self, column: int, convert: Converter) -> pa.Array:
        """Return a column that has a step of its own."""
        assert isinstance(convert, Direct)
        place, out, rows = self._places[column].tolist(), pa.py_buffer(self._out), self.rows
        nulls, values = place[d.NULLS], place[d.VALUES]
        buffers = [out.slice(place[d.VALIDITY], (rows + 7) // 8) if nulls else None]
        if convert.do in (d.TEXT, d.LABEL):
            texts = pa.py_buffer(self._texts).slice(place[d.STRINGS], place[d.USED])
            buffers += out.slice(values, _OFFSET * (rows + 1)), texts
        else:
            buffers.append(out.slice(values, convert.out * rows))
        # NULLs of rows that were dropped again may have been counted.
        return pa.Array.from_buffers(convert.arrow, rows, buffers, -1 if nulls else 0)


def _aligned(size: int) -> int:
    return size + -size % _ALIGNED


def convert_images(
    images: Images, steps: Steps, converters: Sequence[Converter], pool: ArrayPool
) -> tuple[list[Converted], Ints]:
    """Return the columns of some images, and where each image ends.

    Args:
        images: At least one.
        steps: What to do with their columns.
        converters: Of the columns to convert, those the steps were made of.
        pool: Where memory comes from.
    """
    made = RowColumns(steps, len(images.begins), pool)
    bad = made.add(images)
    if bad is not None:
        steps = _placing(steps, bad)
        made = RowColumns(steps, len(images.begins), pool)
        made.add(images)
    columns = []
    for step, (index, convert) in zip(steps.table, enumerate(converters), strict=False):
        if step[d.DO] == d.PLACE:
            begins = made.begins[step[d.INDEX]]
            cells = locate(images.data, begins, int(step[d.PREFIX]), int(step[d.WIDTH]))
            columns.append(convert(cells))
        else:
            columns.append(Converted(made.array(index, convert)))
    return columns, made.ends


def _placing(steps: Steps, chosen: Mask) -> Steps:
    """Return steps that leave the chosen columns, too, to their converters."""
    table = steps.table.copy()
    table[chosen, d.DO] = d.PLACE
    placed = np.flatnonzero(table[:, d.DO] == d.PLACE)
    table[placed, d.INDEX] = np.arange(len(placed))
    return replace(steps, table=table)
