"""Rows a lake format cannot hold, found before anything is written.

In: rows in the target's Arrow types. Out: each row refused, with the column and the reason. No
engine stands behind the files that would refuse them: what is not found here would be there.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from resources.errors import DirtyRowError
from resources.sinks.bisect import Refusal, Rows, bisect_rejected
from resources.sinks.contract import TargetTable
from resources.sinks.retype import is_text
from resources.sinks.text_bytes import text_bytes

_FIRST_DAY, _LAST_DAY = dt.date.min, dt.date.max
_ASCII = 0x80
_DAY_US = 86_400_000_000
_EPOCH = dt.date(1970, 1, 1)
_FIRST_US = (_FIRST_DAY - _EPOCH).days * _DAY_US
_LAST_US = ((_LAST_DAY - _EPOCH).days + 1) * _DAY_US - 1


def refused_rows(
    target: TargetTable, rows: pa.Table, partition_by: Sequence[str] = ()
) -> dict[int, Refusal]:
    """Return why rows are refused, by number: the first reason of each.

    NULL in a key column, text that is not UTF-8, dates outside the years 1 to 9999, and in a
    partition column empty text, which the formats do not tell from NULL.
    """
    found: dict[int, Refusal] = {}
    for name in target.schema.key if target.mode == "merge" else ():
        if rows[name].null_count:
            _note(found, rows[name].is_null(), Refusal(name, "NULL in a key column"))
    for name in rows.column_names:
        column = rows[name]
        if is_text(column.type):
            for row in _not_utf8(column):
                found.setdefault(row, Refusal(name, "text that is not UTF-8"))
            if name in partition_by:
                empty = pc.equal(pc.binary_length(column), 0)
                _note(found, empty, Refusal(name, "empty text in a partition column"))
        outside = _outside_calendar(column)
        if outside is not None:
            _note(found, outside, Refusal(name, "a date outside the years 1 to 9999"))
    return found


def refuse_rows(target: TargetTable, rows: pa.Table, partition_by: Sequence[str] = ()) -> None:
    """Refuse rows if one cannot be held.

    Raises:
        DirtyRowError: Names the first one's column and reason.
    """
    for _, refusal in sorted(refused_rows(target, rows, partition_by).items()):
        raise DirtyRowError(refusal.message, field=refusal.field, where=str(target.id))


def _note(found: dict[int, Refusal], mask: pa.ChunkedArray, refusal: Refusal) -> None:
    chosen = pc.fill_null(mask, False).combine_chunks().to_numpy(zero_copy_only=False)
    for row in np.flatnonzero(chosen):
        found.setdefault(int(row), refusal)


def _not_utf8(column: pa.ChunkedArray) -> list[int]:
    def trial(indices: Rows) -> Refusal | None:
        return None if _is_utf8(column.take(pa.array(indices))) else Refusal("", "")

    if _is_utf8(column):
        return []
    return [refused.index for refused in bisect_rejected(len(column), trial)]


def _is_utf8(column: pa.ChunkedArray) -> bool:
    # Most text is ASCII, which is seen in a tenth of the time.
    if all(text_bytes(chunk).max(initial=0) < _ASCII for chunk in column.chunks):
        return True
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _outside_calendar(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Return which dates lie outside, None if the column has none at all."""
    if t.is_date32(column.type):
        numbers = column.cast(pa.int32())
        low, high = (_FIRST_DAY - _EPOCH).days, (_LAST_DAY - _EPOCH).days
    elif t.is_timestamp(column.type):
        numbers, low, high = column.cast(pa.int64()), _FIRST_US, _LAST_US
    else:
        return None
    ends = pc.min_max(numbers)
    if not ends["min"].is_valid or (ends["min"].as_py() >= low and ends["max"].as_py() <= high):
        return None
    return pc.or_(pc.less(numbers, low), pc.greater(numbers, high))
