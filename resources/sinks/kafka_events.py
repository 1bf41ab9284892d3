"""Rows of a change batch -> events, one for each message.

In: row images with their kinds and sequence numbers. Out: per event its kind and the rows that are
its images. An update's images are one event; one that changes the key is the delete of the old key
and the creation of the new one, so that a fold by key is right.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from resources.model.arrays import to_numbers
from resources.model.change import OP, SEQ, TS, RowKind

NONE = -1
"""Number of the row where there is no image."""
Numbers = npt.NDArray[Any]


class Kind(IntEnum):
    """What an event says of its key."""

    CREATE = 0
    UPDATE = 1
    DELETE = 2
    READ = 3


@dataclass(frozen=True)
class Events:
    """Events in their order; all arrays have one element per event.

    Args:
        kinds: uint8, of `Kind`.
        before: int64, the row that is the image before it, `NONE` for none.
        after: int64, likewise after it.
        seqs: uint64, `_cdc_seq` of the row that carries its key; 0 for rows that were read.
        ts_us: int64, commit times in microseconds since the epoch; when a row was read.
    """

    kinds: npt.NDArray[np.uint8]
    before: npt.NDArray[np.int64]
    after: npt.NDArray[np.int64]
    seqs: npt.NDArray[np.uint64]
    ts_us: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.kinds)

    @property
    def keys(self) -> npt.NDArray[np.int64]:
        """The row that carries each event's key."""
        return np.where(self.kinds == Kind.DELETE, self.before, self.after)

    def slice(self, start: int, stop: int) -> tuple[Events, int, int]:
        """Return some events, numbered within the stretch of rows that has their images.

        Returns:
            The events, the first row of the stretch and the row after its last.
        """
        part = np.s_[start:stop]
        before, after = self.before[part], self.after[part]
        used = np.concatenate([before[before >= 0], after[after >= 0]])
        low, high = int(used.min()), int(used.max()) + 1
        before, after = (np.where(rows >= 0, rows - low, NONE) for rows in (before, after))
        found = Events(self.kinds[part], before, after, self.seqs[part], self.ts_us[part])
        return found, low, high


def events_of(rows: pa.Table, key: tuple[str, ...], now_us: int) -> Events:
    """Return the events of changes, or of rows that were read: those lack the `_cdc_…` columns.

    Args:
        rows: They, in log order.
        key: The key's columns.
        now_us: The time of reading.
    """
    count = rows.num_rows
    numbers = np.arange(count, dtype=np.int64)
    if OP not in rows.column_names:
        kinds = np.full(count, Kind.READ, np.uint8)
        none, times = np.full(count, NONE), np.full(count, now_us)
        return Events(kinds, none, numbers, np.zeros(count, np.uint64), times)
    ops, seqs = _numbers(rows, OP), _numbers(rows, SEQ)
    paired = np.zeros(count, bool)  # an after-image whose before-image is the row in front of it
    paired[1:] = (ops[1:] == RowKind.UPDATE_AFTER) & (ops[:-1] == RowKind.UPDATE_BEFORE)
    paired[1:] &= seqs[1:] == seqs[:-1] + 1
    moved = paired.copy()  # to another key
    moved[paired] = _differ(rows, np.flatnonzero(paired), key)
    same = paired & ~moved
    deletes = (ops == RowKind.DELETE) | (ops == RowKind.UPDATE_BEFORE)
    creates = (ops == RowKind.INSERT) | moved
    kinds = np.where(deletes, Kind.DELETE, np.where(creates, Kind.CREATE, Kind.UPDATE))
    before = np.where(deletes, numbers, np.where(same, numbers - 1, NONE))
    after = np.where(deletes, NONE, numbers)
    emitted = np.ones(count, bool)
    emitted[:-1] = ~same[1:]
    ts_us = _numbers(rows, TS)
    return Events(
        kinds[emitted].astype(np.uint8),
        before[emitted],
        after[emitted],
        seqs[emitted],
        ts_us[emitted],
    )


def _numbers(rows: pa.Table, name: str) -> Numbers:
    column = rows.column(name).combine_chunks()
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    return to_numbers(column)


def _differ(rows: pa.Table, after: npt.NDArray[np.int64], key: tuple[str, ...]) -> Numbers:
    """Return which of these rows have another key than the row in front of them."""
    found = np.zeros(len(after), bool)
    for name in key:
        now, then = (rows.column(name).take(pa.array(i)) for i in (after, after - 1))
        found |= ~pc.equal(now, then).fill_null(False).to_numpy()
    return found
