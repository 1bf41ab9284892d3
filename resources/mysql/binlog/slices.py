"""What a slice of the log holds besides its rows, gathered until it is full.

In: notices; counts the walk keeps. Out: `LogSlice` values still without their rows, see `Gatherer`.
What a transaction added since its last mark can be taken back, for when its connection is lost
halfway.
"""

from __future__ import annotations

import numpy as np

from resources.model.change import LogSlice, TableNotice
from resources.model.position import BinlogPosition
from resources.model.table import TableId
from resources.mysql.kernels import walk_state as w
from resources.mysql.kernels.cells import Ints

_COUNTS = (w.ROWS, w.IMAGE_BYTES, w.BYTES_READ, w.TRANSACTIONS, w.NOTICES, w.FIRST_US, w.LAST_US)
_MARKED = {
    w.SEQ: w.MARK_SEQ,
    w.ROWS: w.MARK_ROWS,
    w.IMAGE_BYTES: w.MARK_IMAGE_BYTES,
    w.BYTES_READ: w.MARK_BYTES_READ,
    w.NOTICES: w.MARK_NOTICES,
    w.FIRST_US: w.MARK_FIRST_US,
    w.LAST_US: w.MARK_LAST_US,
}


class SliceBuilder:
    """Gathers one slice after the other; the row counter runs on through all of them.

    Attributes:
        numbers: The walk's state, see `walk_state`; the counts of the slice are in it.
        state: The same as plain integers.
    """

    def __init__(self) -> None:
        self.numbers: Ints = np.zeros(w.SIZE, np.int64)
        self.state = self.numbers.data
        self._clear()

    def _clear(self) -> None:
        for count in _COUNTS:
            self.state[count] = 0
        self._notices: list[TableNotice] = []
        self.mark()

    def notice(self, notice: TableNotice) -> None:
        """Take a notice."""
        self._notices.append(notice)
        self.state[w.NOTICES] += 1

    def noticed(self, table: TableId, kind: str) -> bool:
        """Return whether the slice has a notice of this kind of a table."""
        return any(n.table == table and n.kind == kind for n in self._notices)

    def mark(self) -> None:
        """Remember this moment: a transaction begins, or a part of one was just taken."""
        state = self.state
        for count, mark in _MARKED.items():
            state[mark] = state[count]

    def since_mark(self) -> int:
        """Return how many rows came since the mark."""
        return self.state[w.SEQ] - self.state[w.MARK_SEQ]

    def back_to_mark(self) -> None:
        """Forget everything that came since the mark; its rows are to be taken back, too."""
        state = self.state
        for count, mark in _MARKED.items():
            state[count] = state[mark]
        del self._notices[state[w.NOTICES] :]

    def take(self, end: BinlogPosition, complete: bool) -> LogSlice:
        """Return the slice without its rows, and begin the next one.

        Args:
            end: The last transaction boundary.
            complete: Whether nothing of a transaction beyond it is in the slice.
        """
        state = self.state
        taken = LogSlice(
            batches=[],
            end=end,
            rows=state[w.ROWS],
            first_ts_us=state[w.FIRST_US],
            last_ts_us=state[w.LAST_US],
            complete=complete,
            transactions=state[w.TRANSACTIONS],
            notices=self._notices,
            bytes_read=state[w.BYTES_READ],
        )
        self._clear()
        return taken
