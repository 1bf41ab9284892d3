"""Rows brought to the columns a target has: exactly, or set aside by name.

In: rows in a source's columns, the columns of the target. Out: rows in the target's columns, and
for every row that cannot be one of them, which column is at fault. Nothing is ever rounded, cut
or left out silently.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa

from cdc_assets.engine.casts import Mask, can_cast, cast, valid
from resources.model.arrays import from_mask
from resources.model.change import CHANGE_FIELDS
from resources.model.table import Column

Rows: TypeAlias = pa.Table | pa.RecordBatch
_CHANGE_NAMES = frozenset(f.name for f in CHANGE_FIELDS)


class BadRow(NamedTuple):
    """A row that an expression failed on, or that the target's columns cannot hold.

    Args:
        row: Its number in the rows given.
        column: The first column at fault; `filter` where it is the filter's expression.
        message: What is wrong, without the value.
    """

    row: int
    column: str
    message: str


@dataclass(frozen=True)
class Conformed:
    """Rows in a target's columns.

    Args:
        rows: The rows that fit, in order: the target's columns, then `_cdc_…` columns given.
        bad: Those that do not, in order.
        keep: Mask over the rows given, true for those in `rows`; None if that is all of them.
    """

    rows: Rows
    bad: list[BadRow]
    keep: pa.BooleanArray | None = None


def conform(
    rows: Rows,
    columns: Sequence[Column],
    ignored: Collection[str] = (),
    fold: Callable[[str], str] = str,
) -> Conformed:
    """Bring rows to a target's columns.

    Rows that have these columns already are handed back as they are, at no cost.

    Args:
        rows: Rows of a source's columns, in any order; `_cdc_…` columns pass through.
        columns: The target's columns. One the rows lack is NULL.
        ignored: Columns the target lacks by decision. Of any other column it lacks, a value that
            is not NULL makes its row a bad one.
        fold: How the target compares column names.

    Returns:
        The rows that fit, and those that do not.
    """
    wanted = [(c.name, c.type) for c in columns]
    given = [(f.name, f.type) for f in rows.schema]
    count = sum(name in _CHANGE_NAMES for name, _ in given)
    if given[: len(given) - count] == wanted:
        return Conformed(rows, [])
    return _Cast(rows, fold).run(wanted, {fold(name) for name in ignored})


class _Cast:
    def __init__(self, rows: Rows, fold: Callable[[str], str]) -> None:
        self._rows = rows
        self._fold = fold
        self._left = {fold(name): i for i, name in enumerate(rows.schema.names)}
        self._bad: dict[int, BadRow] = {}

    def run(self, wanted: Sequence[tuple[str, pa.DataType]], ignored: Collection[str]) -> Conformed:
        made = [self._column(name, arrow) for name, arrow in wanted]
        names = [name for name, _ in wanted]
        for name, index in self._left.items():
            if name in _CHANGE_NAMES:
                names.append(name)
                made.append(self._rows.column(index))
            elif name not in ignored:
                self._refuse_values(index)
        rows = type(self._rows).from_arrays(made, names=names)
        if not self._bad:
            return Conformed(rows, [])
        good = np.ones(rows.num_rows, dtype=bool)
        good[list(self._bad)] = False
        keep = from_mask(good)
        bad = [self._bad[index] for index in sorted(self._bad)]
        return Conformed(rows.filter(keep), bad, keep)

    def _column(self, name: str, arrow: pa.DataType) -> pa.Array | pa.ChunkedArray:
        index = self._left.pop(self._fold(name), None)
        if index is None:
            return pa.nulls(self._rows.num_rows, arrow)
        values = self._rows.column(index)
        if values.type == arrow:
            return values
        if not can_cast(values.type, arrow):
            message = f"values of type {values.type} cannot be {arrow} without loss"
            self._refuse(name, message, valid(values))
            return pa.nulls(len(values), arrow)
        message = f"the value, of type {values.type}, is not exactly one of the target's {arrow}"
        if isinstance(values, pa.Array):
            return self._cast(name, message, values, arrow, 0)
        parts, start = [], 0
        for chunk in values.chunks:
            parts.append(self._cast(name, message, chunk, arrow, start))
            start += len(chunk)
        return pa.chunked_array(parts, arrow)

    def _cast(
        self, name: str, message: str, values: pa.Array, arrow: pa.DataType, start: int
    ) -> pa.Array:
        made, unfit = cast(values, arrow)
        if unfit is not None:
            self._refuse(name, message, unfit, start)
        return made

    def _refuse_values(self, index: int) -> None:
        name, values = self._rows.schema.names[index], self._rows.column(index)
        if values.null_count < len(values):
            self._refuse(name, f"column {name} is not in the target", valid(values))

    def _refuse(self, name: str, message: str, unfit: Mask, start: int = 0) -> None:
        for index in np.flatnonzero(unfit).tolist():
            self._bad.setdefault(start + index, BadRow(start + index, name, message))
