"""Converters that compiled code also knows by number, so that it works whole rows at a time.

In: a converter and what the loop needs that does the same. Out: a converter like any other one,
and a table of steps, a row of numbers per column, for `row_columns`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from resources.mysql.kernels.cells import Bytes, Cells, Converted, Converter, Ints
from resources.mysql.kernels.intrinsics import BLOCK

SKIP, PLACE, WORD, DECIMAL, DATE, DATETIME, TIMESTAMP, TIME, TEXT, LABEL = range(10)
"""What to do with a column's cells: nothing; write where they begin, for a converter of its own;
or convert them: see `row_columns`."""
MOST_GROUPED = 18
"""Digits of the longest DECIMAL that fits into one word."""

(
    DO,  # One of the numbers above.
    PREFIX,  # Bytes of the length before a cell, else 0.
    WIDTH,  # Else bytes of the cell.
    OUT,  # Bytes of a value in Arrow; of an offset for TEXT and LABEL.
    REJECT,  # Whether a date or time that does not exist is a bad cell; NULL otherwise.
    # WORD: signed or not; dates: bytes of the fraction; TEXT: bytes of a character, at most, 0 for
    # any bytes; LABEL: bytes of the longest one.
    FORM,
    UNIT,  # Microseconds that the fraction counts in.
    FIRST,  # Index of its first number.
    COUNT,  # Pairs of numbers: of a DECIMAL those of `decimals`; begin and size of a label.
    INDEX,  # PLACE: row of `begins` to write to.
    # Where an image without a NULL has the cell.
    GROUP,  # Cells with a length before them that come before it.
    BEFORE,  # Bytes from the last one of those, or from the first cell, up to it.
    NEXT,  # The column behind it that is the next one with a length, else the number of columns.
    STEP_FIELDS,
) = range(14)

ROWS = 64
"""Rows of a block: the bits of a word of validity."""

VALUES, VALIDITY, STRINGS, ROOM, NEED, USED, NULLS, BADS, PLACE_FIELDS = range(9)
"""Columns of the places: where in the output values (or offsets) and validity begin; where in the
texts a column's strings begin, bytes there are for them, bytes a block may add to them; bytes of
strings so far; cells that are NULL, bad ones often included; bad cells."""


@dataclass(frozen=True)
class Direct:
    """A converter with a loop of its own in `row_columns`.

    Args:
        convert: The converter; it says which cells are bad, the loop only how many.
        do: The loop.
        arrow: The type both make.
        out: Bytes of a value in Arrow; of an offset for TEXT and LABEL.
        form: See FORM.
        unit: See UNIT.
        reject: See REJECT.
        numbers: Pairs, see COUNT.
        text: LABEL: all labels end to end.
    """

    convert: Converter
    do: int
    arrow: pa.DataType
    out: int
    form: int = 0
    unit: int = 0
    reject: bool = False
    numbers: tuple[tuple[int, int], ...] = ()
    text: bytes = b""

    def __call__(self, cells: Cells) -> Converted:
        """Convert cells wherever they lie."""
        return self.convert(cells)


@dataclass(frozen=True)
class Steps:
    """What to do with the columns of one shape of a table.

    Args:
        table: int64, (columns, STEP_FIELDS).
        numbers: int64, the numbers of all columns.
        text: uint8, the labels of all columns, and a block behind them.
    """

    table: Ints
    numbers: Ints
    text: Bytes

    @cached_property
    def whole(self) -> bool:
        """Whether no column is left to its converter."""
        return not self.placed

    @cached_property
    def placed(self) -> int:
        """Number of columns left to their converters."""
        return int((self.table[:, DO] == PLACE).sum())

    @cached_property
    def strings(self) -> list[int]:
        """Columns whose strings are copied."""
        found: list[int] = np.flatnonzero(np.isin(self.table[:, DO], (TEXT, LABEL))).tolist()
        return found

    @cached_property
    def widths(self) -> list[int]:
        """Bytes of a value, or offset, of each column in Arrow."""
        widths: list[int] = self.table[:, OUT].tolist()
        return widths


def steps_of(columns: Sequence[tuple[int, int, Converter]], shown: int) -> Steps:
    """Return what to do with columns.

    Args:
        columns: Of each bytes of prefix, width, and converter.
        shown: How many are converted; those behind are passed over.
    """
    table = np.zeros((len(columns), STEP_FIELDS), np.int64)
    _lay_out(table, columns)
    numbers: list[int] = []
    text, placed = b"", 0
    for index, (_, _, convert) in enumerate(columns):
        step = table[index]
        if index >= shown:  # only the log has it
            continue
        if not isinstance(convert, Direct):
            step[[DO, INDEX]] = PLACE, placed
            placed += 1
            continue
        step[[DO, OUT, FORM, UNIT]] = convert.do, convert.out, convert.form, convert.unit
        step[REJECT], step[FIRST], step[COUNT] = convert.reject, len(numbers), len(convert.numbers)
        for low, high in convert.numbers:
            numbers += low + len(text) if convert.do == LABEL else low, high
        text += convert.text
    padded = np.frombuffer(text + bytes(BLOCK), np.uint8).copy()
    return Steps(table, np.array(numbers or [0], np.int64), padded)


def _lay_out(table: Ints, columns: Sequence[tuple[int, int, Converter]]) -> None:
    """Write into the steps where cells lie."""
    group = before = 0
    for step, (prefix, width, _) in zip(table, columns, strict=True):
        step[[PREFIX, WIDTH, GROUP, BEFORE]] = prefix, width, group, before
        group, before = (group + 1, 0) if prefix else (group, before + width)
    following = len(table)
    for index in reversed(range(len(table))):
        table[index, NEXT] = following
        if table[index, PREFIX]:
            following = index
