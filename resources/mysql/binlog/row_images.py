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
_STRINGS = (d.TEXT, d.LABEL)


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
        self._table = steps.table
        regions = np.empty((len(self._table), 2), np.int64)
        regions[:, r.VALUES] = self._table[:, d.OUT] * (capacity + 1)
        regions[:, r.VALIDITY] = (capacity // r.ROWS + 1) * 8
        regions += -regions % _ALIGNED
        edges = np.cumsum(regions)
        self._places = np.zeros((len(regions), r.PLACE_FIELDS), np.int64)
        self._places[:, : regions.shape[1]] = (edges - regions.ravel()).reshape(regions.shape)
        self._out = pool.lend(int(edges[-1]))
        do = self._table[:, d.DO]
        strings = np.flatnonzero(np.isin(do, _STRINGS))
        self._placed = len(strings) + int((do == d.PLACE).sum())
        self._texts = {int(column): np.empty(0, np.uint8) for column in strings}
        for column in self._texts:
            self._offsets(column, 0, 1)[0] = 0
        self.rows = 0

    @property
    def size(self) -> int:
        """Bytes of strings so far."""
        return int(self._places[:, r.USED].sum())

    def has_room(self, count: int) -> bool:
        """Return whether so many rows fit in."""
        return self.rows + count <= self._capacity

    def add(self, images: Images) -> Mask | None:
        """Add rows there is room for.

        Returns:
            None; or which columns have bad cells or too many bytes of text, and nothing is added.
        """
        table, steps, count = self._table, self._steps, len(images.begins)
        before = self._places.copy()
        self.begins = np.empty((self._placed, count), np.int64)
        self.ends = np.empty(count, np.int64)
        starts, sizes = np.empty((2, len(table), r.ROWS), np.int64)
        r.convert_images(
            images.data, images.begins, table, steps.numbers, starts, sizes,
            self.begins, self.ends, self._places, self._out, self.rows,
        )  # fmt: skip
        for column in self._texts:
            if self._places[column, r.USED] > _MOST:
                self._places[column, r.BADS] = count
            else:
                self._places[column, r.BADS] += self._copy(images, column, count)
        if not self._places[:, r.BADS].any():
            self.rows += count
            return None
        bad: Mask = self._places[:, r.BADS] > 0
        self._places = before
        self._clear_validity()
        return bad

    def _copy(self, images: Images, column: int, count: int) -> int:
        """Copy the strings just measured; returns how many are no text."""
        old, used = self._texts[column], int(self._places[column, r.USED])
        if used + BLOCK > len(old):
            # Enough for as many more rows like these as there is room for, unless they are long:
            # those behind a long one seldom are.
            spare = used if self.rows else used * (self._capacity - count) // count
            self._texts[column] = self._pool.lend(used + min(spare, _MOST_SPARE) + BLOCK)
            self._texts[column][: len(old)] = old
        step, offsets = self._table[column], self._offsets(column, self.rows, count + 1)
        data = images.data if step[d.DO] == d.TEXT else self._steps.text
        begins = self.begins[step[d.INDEX]]
        wrong: int = r.copy_texts(data, begins, offsets, int(step[d.FORM]), self._texts[column])
        return wrong

    def cut(self, rows: int) -> None:
        """Drop the rows from one on."""
        self.rows = rows
        for column in self._texts:
            self._places[column, r.USED] = self._offsets(column, rows, 1)[0]
        self._clear_validity()

    def _clear_validity(self) -> None:
        """Forget which cells behind the last row are NULL: those of new rows are joined to them."""
        words, kept = self.rows // r.ROWS, np.uint64((1 << self.rows % r.ROWS) - 1)
        for at in self._places[:, r.VALIDITY].tolist():
            self._out[at + 8 * words : at + 8 * words + 8].view(np.uint64)[0] &= kept

    def array(self, column: int, convert: Converter) -> pa.Array:
        """Return a column that has a step of its own."""
        assert isinstance(convert, Direct)
        values, validity, used, nulls, _ = self._places[column].tolist()
        out = pa.py_buffer(self._out)
        known = out.slice(validity, (self.rows + 7) // 8) if nulls else None
        if convert.do not in _STRINGS:
            buffers = [known, out.slice(values, convert.out * self.rows)]
        else:
            content = pa.py_buffer(self._texts[column]).slice(0, used)
            buffers = [known, out.slice(values, convert.out * (self.rows + 1)), content]
        # NULLs of rows that were dropped again may have been counted.
        return pa.Array.from_buffers(convert.arrow, self.rows, buffers, -1 if nulls else 0)

    def _offsets(self, column: int, first: int, count: int) -> r.Offsets:
        begin = int(self._places[column, r.VALUES]) + 4 * first
        return self._out[begin : begin + 4 * count].view(np.int32)


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
    placed = np.flatnonzero(np.isin(table[:, d.DO], (d.PLACE, *_STRINGS)))
    table[placed, d.INDEX] = np.arange(len(placed))
    return replace(steps, table=table)
