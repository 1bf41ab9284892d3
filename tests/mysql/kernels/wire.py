"""Cells as the walk finds them: somewhere in a buffer, with other bytes around them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from resources.mysql.kernels.cells import Cells, Converted, locate


def cells(values: Sequence[bytes | None], prefix: int = 0) -> Cells:
    """Return a column of cells; the last one ends where the buffer ends.

    Args:
        values: Their content, of one size if there is no prefix; None for NULL.
        prefix: Bytes of the length before each cell.
    """
    data, begins, width = bytearray(), [], 0
    for value in values:
        if value is None:
            begins.append(-1)
            continue
        data += b"\xa5" * (len(data) % 5)
        begins.append(len(data))
        data += (len(value).to_bytes(prefix, "little") if prefix else b"") + value
        width = 0 if prefix else len(value)
    buffer = np.frombuffer(bytes(data), np.uint8).copy()
    return locate(buffer, np.array(begins, np.int64), prefix, width)


def good(converted: Converted, arrow: pa.DataType) -> pa.Array:
    """Return an array without bad cells, after checking that it is sound and of its type."""
    assert converted.bad is None or not converted.bad.any()
    converted.array.validate(full=True)
    assert converted.array.type == arrow
    return converted.array


def bad_rows(converted: Converted) -> list[int]:
    """Return the rows marked as bad, which have to be NULL."""
    converted.array.validate(full=True)
    if converted.bad is None:
        return []
    rows = [int(row) for row in np.flatnonzero(converted.bad)]
    assert not any(converted.array[row].is_valid for row in rows)
    return rows


def columns(values: st.SearchStrategy[bytes]) -> st.SearchStrategy[list[bytes | None]]:
    """Columns of such values with NULLs anywhere, empty ones too."""
    return st.lists(st.none() | values, max_size=30)
