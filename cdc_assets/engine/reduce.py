"""Many changes of a key become the last one.

In: change batches of one table and one schema version, in `_cdc_seq` order. Out: the rows to
upsert and the keys to delete, disjoint by key.

The reduction goes by key alone and ignores row kinds until one change per key is left, so that
insert-delete-insert and delete-insert-delete of one key come out right. Keys are compared by
their stored bytes, never by a collation: the log names a changed key by its old image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from resources.errors import SchemaMismatch
from resources.model.arrays import from_mask, from_numbers, to_numbers
from resources.model.change import CHANGE_FIELDS, OP, SEQ, RowKind

Codes = npt.NDArray[np.int64]

_SPARSE = 16
"""Integer keys are their own codes while their span is below this many times the rows: a table
of that span is cheaper to fill than a hash table of the rows."""


@dataclass(frozen=True)
class Reduced:
    """What is left of a run of changes.

    Args:
        upserts: The table's columns, one row per key, in order of the last change.
        upsert_seq: The `_cdc_seq` of each row of `upserts`, uint64.
        deletes: The key columns, one row per key, disjoint from the keys of `upserts`.
        last_seq: The last `_cdc_seq` reduced, 0 if there were no rows.
        counts: Changes read by row kind (`insert`, `update_before`, `update_after`, `delete`).
    """

    upserts: pa.Table
    upsert_seq: pa.Array
    deletes: pa.Table
    last_seq: int
    counts: dict[str, int]


def reduce_changes(
    batches: Sequence[pa.RecordBatch],
    key: tuple[str, ...],
    gone: Sequence[pa.RecordBatch] = (),
    *,
    taken: bool = False,
) -> Reduced:
    """Reduce changes to the last one per key.

    Args:
        batches: At least one batch (it may be empty) of `change_schema(table)`, all of one
            schema, `_cdc_seq` strictly increasing over all of them.
        key: Names of the key columns.
        gone: Further changes that leave no row, of their key columns and those of changes;
            `_cdc_seq` strictly increasing over them, and none that `batches` have.
        taken: Whether `batches` is a list that is emptied on the way. Where nobody else has a
            batch, its memory is free for what is kept of the next one.

    Raises:
        ValueError: No batch, no key, or `_cdc_seq` is not strictly increasing.
        SchemaMismatch: A key column is NULL somewhere, is not there, or has a nested type.
    """
    if not batches or not key:
        raise ValueError("reduce_changes needs at least one batch and one key column")
    names = batches[0].schema.names
    columns = [n for n in names if n not in {f.name for f in CHANGE_FIELDS}]
    for name in key:
        _require(name, names)
    rows = sum(batch.num_rows for batch in batches)
    changes = pa.Table.from_batches([b.select([*key, OP, SEQ]) for b in (*batches, *gone)])
    ops, seqs = _numbers(changes[OP]), _numbers(changes[SEQ])
    order = np.argsort(seqs, kind="stable") if gone else None
    for part in (seqs[:rows], seqs[rows:], seqs if order is None else seqs[order]):
        if bool(np.any(part[1:] <= part[:-1])):
            raise ValueError("_cdc_seq is not strictly increasing over the batches")
    last = _last_of_each(_key_codes(changes, key), order)
    upsert = (ops == RowKind.INSERT) | (ops == RowKind.UPDATE_AFTER)
    shape = batches[0].select(columns).schema
    rest = batches if taken and isinstance(batches, list) else list(batches)
    return Reduced(
        upserts=_kept(rest, shape, (last & upsert)[:rows]),
        upsert_seq=from_numbers(pa.uint64(), seqs[last & upsert]),
        deletes=_kept(changes.to_batches(), changes.select(list(key)).schema, last & ~upsert),
        last_seq=int(seqs.max()) if len(seqs) else 0,
        counts={k.name.lower(): int(np.count_nonzero(ops == k)) for k in RowKind},
    )


def _last_of_each(codes: Codes, order: Codes | None = None) -> npt.NDArray[np.bool_]:
    """Return True where no later row has the same code; `order` has the rows as they came."""
    if order is not None:
        last = np.empty(len(codes), dtype=bool)
        last[order] = _last_of_each(codes[order])
        return last
    if not len(codes):
        return np.zeros(0, dtype=bool)
    rows = np.arange(len(codes), dtype=np.int32 if len(codes) < 2**31 else np.int64)
    # Only slots named by a code are read back, so the table need not be cleared; on repeated
    # indices numpy keeps the last assignment, which is the latest change.
    slots = np.empty(int(codes.max()) + 1, dtype=rows.dtype)
    slots[codes] = rows
    return np.asarray(slots[codes] == rows)


def _kept(
    batches: list[pa.RecordBatch], schema: pa.Schema, mask: npt.NDArray[np.bool_]
) -> pa.Table:
    """Return the rows of a mask, emptying the list; batches kept in full are not copied."""
    kept, end = [], len(mask)
    while batches:
        batch = batches.pop().select(schema.names)
        part = mask[end - batch.num_rows : end]
        end -= batch.num_rows
        if part.any():
            kept.append(batch if part.all() else batch.filter(from_mask(part)))
    return pa.Table.from_batches(kept[::-1], schema)


def _key_codes(changes: pa.Table, key: tuple[str, ...]) -> Codes:
    """Return one small integer per row, equal exactly where the keys are equal."""
    codes, size = _column_codes(changes, key[0])
    for name in key[1:]:
        more, more_size = _column_codes(changes, name)
        # Either size is at most the span limit, so the product fits int64 below 2**27 rows.
        codes, size = codes * more_size + more, size * more_size
        if size > _span_limit(len(codes)):
            codes, size = _dense(pa.chunked_array([from_numbers(pa.int64(), codes)]), name)
    return codes


def _require(name: str, names: Sequence[str]) -> None:
    if name not in names:
        raise SchemaMismatch(
            f"key column {name!r} is not among {names}",
            remedy="read the table's schema again; its key changed",
        )


def _column_codes(changes: pa.Table, name: str) -> tuple[Codes, int]:
    """Return a key column's codes and the number of codes they are drawn from."""
    column = changes[name]
    if column.null_count:
        raise SchemaMismatch(
            f"key column {name!r} holds NULL in {column.null_count} changes",
            remedy="choose key columns the source declares NOT NULL",
        )
    if not len(column):
        return np.zeros(0, dtype=np.int64), 1
    if pa.types.is_integer(column.type):
        return _integer_codes(column, name)
    if pa.types.is_floating(column.type):
        column = pc.add(column, pa.scalar(0, column.type))  # -0.0 is the key 0.0
    return _dense(column, name)


def _integer_codes(column: pa.ChunkedArray, name: str) -> tuple[Codes, int]:
    """Shift integers of a narrow span to zero; others are hashed."""
    values = _numbers(column)
    low, high = int(values.min()), int(values.max())
    if high - low >= _span_limit(len(values)):
        return _dense(column, name)
    # uint64 beyond int64 wraps around, twice, and comes out right since the span is small.
    codes: Codes = values.astype(np.int64) - values.min().astype(np.int64)
    return codes, high - low + 1


def _dense(column: pa.ChunkedArray, name: str) -> tuple[Codes, int]:
    """Number the distinct values of a column by Arrow's hash table."""
    try:
        encoded: Any = pc.dictionary_encode(column)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        raise SchemaMismatch(
            f"key column {name!r} has type {column.type}, which cannot be compared as a key",
            remedy="choose key columns of plain types",
        ) from error
    codes = np.concatenate([to_numbers(c.indices) for c in encoded.chunks]).astype(np.int64)
    return codes, int(codes.max()) + 1


def _numbers(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    return to_numbers(pa.concat_arrays(column.chunks))


def _span_limit(rows: int) -> int:
    return _SPARSE * rows + 65_536
