"""Rows that the primary key of a load's table will refuse, found while it has none yet.

In: parts of a chunk. Out: nothing, or the error that the key would raise. A load's table gets its
key once all chunks are in, since an index that is built at once costs a third of one that grows row
by row; what it would refuse of one part by itself must be told when the part comes.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from resources.errors import DirtyRowError, TerminalError
from resources.sinks.contract import TargetTable
from resources.sinks.shape import keys_of

SURE_TO_FIT = 1000
"""Bytes of texts in a key that an index holds in any case; a third of a page is the end."""


def check_repeats(target: TargetTable, rows: pa.Table) -> None:
    """Refuse a part of a load in which two rows have one key.

    Args:
        target: Its table.
        rows: The target's columns.

    Raises:
        DirtyRowError: Two have.
    """
    keys = list(keys_of(target))
    if keys and _has_repeats(rows.select(keys).drop_null()):
        where = str(target.id)
        raise DirtyRowError(f"two rows have one key ({', '.join(keys)})", where=where)


def repeated_key(target: TargetTable) -> TerminalError:
    """Return the error of a load of which two parts have a row with one key."""
    keys = ", ".join(keys_of(target))
    return TerminalError(
        f"two rows of the load have one key ({keys})",
        where=str(target.id),
        remedy="make columns that tell them apart part of the target's key, then load it again",
    )


def long_keys(rows: pa.Table, keys: Sequence[str]) -> pa.Table:
    """Return the keys that may be too long for an index; only the server can tell.

    Args:
        rows: Rows of a `merge` target.
        keys: The key columns.
    """
    found = rows.select(list(keys))
    texts = [c for c in found.columns if _has_bytes(c.type)]
    if not texts:
        return found.slice(0, 0)
    sizes = [pc.fill_null(pc.binary_length(c), 0).cast(pa.int64()) for c in texts]
    if sum(pc.max(s).as_py() or 0 for s in sizes) <= SURE_TO_FIT:
        return found.slice(0, 0)
    whole = sizes[0]
    for more in sizes[1:]:
        whole = pc.add(whole, more)
    return found.filter(pc.greater(whole, SURE_TO_FIT))


def _has_repeats(keys: pa.Table) -> bool:
    """Return whether two rows are equal. A type that cannot be compared here has none."""
    first = keys.column(0)
    if _is_ordered(first.type):
        rising = pc.less(first.slice(0, max(keys.num_rows - 1, 0)), first.slice(1))
        if pc.all(rising).as_py() is not False:
            return False
    if any(pa.types.is_nested(f.type) for f in keys.schema):
        return False
    different = keys.group_by(keys.column_names, use_threads=False).aggregate([])
    return bool(different.num_rows < keys.num_rows)


def _is_ordered(type_: pa.DataType) -> bool:
    """Return whether Arrow can tell that rows rise by a column, as those of a chunk mostly do."""
    numbers = pa.types.is_integer(type_) or pa.types.is_date(type_) or pa.types.is_timestamp(type_)
    return bool(numbers) or _has_bytes(type_)


def _has_bytes(type_: pa.DataType) -> bool:
    return type_ in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())
