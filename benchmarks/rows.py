"""Rows and changes that benchmarks make without a server.

In: how many. Out: Arrow tables of ten columns whose values derive from their ids, and changes at
random keys of them.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from resources.model.change import CHANGE_FIELDS, RowKind
from resources.model.table import Column, TableId, TableSchema

BATCH = 100_000
"""Rows of a part or batch."""


def schema(key: str) -> TableSchema:
    """Return a table of ten columns keyed by an integer, a string or both."""
    keys = {"int": ("id",), "string": ("code",), "composite": ("id", "code")}[key]
    columns = (
        Column("id", pa.int64(), nullable=False),
        Column("code", pa.string(), nullable=False),
        *(Column(f"n{i}", pa.int64()) for i in range(4)),
        *(Column(f"s{i}", pa.string()) for i in range(2)),
        Column("price", pa.decimal128(21, 2)),
        Column("at", pa.timestamp("us")),
    )
    return TableSchema(TableId("bench", "t"), columns, keys)


def table_rows(ids: np.ndarray) -> pa.Table:
    """Build rows whose values derive from their ids."""
    number = pa.array(ids)
    text = number.cast(pa.string())
    values = {
        "id": number,
        "code": text,
        **{f"n{i}": number for i in range(4)},
        **{f"s{i}": text for i in range(2)},
        "price": number.cast(pa.decimal128(19, 0)).cast(pa.decimal128(21, 2)),
        "at": number.cast(pa.timestamp("us")),
    }
    return pa.table(values)


def change_batches(changes: int, rows: int, stride: int) -> list[pa.RecordBatch]:
    """Build changes at random keys: a fifth deletes, a fifth inserts, the rest updates."""
    random = np.random.default_rng(7)
    table = table_rows(random.integers(0, rows, changes) * stride)
    ops = random.choice(
        np.array([RowKind.DELETE, RowKind.INSERT, RowKind.UPDATE_AFTER], dtype=np.uint8),
        changes,
        p=[0.2, 0.2, 0.6],
    )
    extra = (
        pa.array(ops),
        pa.array(np.arange(1, changes + 1, dtype=np.uint64)),
        pa.array(np.zeros(changes, dtype=np.int64)).cast(CHANGE_FIELDS[2].type),
    )
    for field, column in zip(CHANGE_FIELDS, extra, strict=True):
        table = table.append_column(field, column)
    batches: list[pa.RecordBatch] = table.to_batches(max_chunksize=BATCH)
    return batches


def parts(rows: int) -> list[pa.Table]:
    """Build the rows 0 to `rows`, in parts."""
    return [table_rows(np.arange(at, min(at + BATCH, rows))) for at in range(0, rows, BATCH)]


def reduced(rows: int, count: int, seed: int, newest: int = 0) -> tuple[pa.Table, pa.Table]:
    """Build what is left of changes to a table of `rows` rows.

    Args:
        rows: Of the table when it was loaded.
        count: Changes.
        seed: Of the choice; other seeds bring other new rows.
        newest: The changes go to so many of the newest rows; to rows all over the table if 0.

    Returns:
        Rows to upsert, four of five, half of them new, and keys to delete.
    """
    random = np.random.default_rng(seed)
    among = newest or rows
    ids = rows - among + random.choice(among, count, replace=False)
    new = int(count * 0.4)
    kept, gone = ids[new : count * 4 // 5], ids[count * 4 // 5 :]
    fresh = rows * (seed + 1) + np.arange(new)
    upserts = table_rows(np.concatenate([kept, fresh]))
    return upserts, pa.table({"id": pa.array(gone)})


def as_changes(upserts: pa.Table, deletes: pa.Table, seq: int) -> pa.Table:
    """Return what `reduced` gave as rows of a change log: inserts and deletes.

    Args:
        upserts: Rows.
        deletes: Keys.
        seq: The number of the first change.
    """
    rows = pa.concat_tables([upserts, table_rows(deletes["id"].to_numpy())])
    ops = np.repeat(
        np.array([RowKind.INSERT, RowKind.DELETE], np.uint8), [upserts.num_rows, deletes.num_rows]
    )
    extra = (
        pa.array(ops),
        pa.array(np.arange(seq, seq + rows.num_rows, dtype=np.uint64)),
        pa.array(np.zeros(rows.num_rows, np.int64)).cast(CHANGE_FIELDS[2].type),
    )
    for field, column in zip(CHANGE_FIELDS, extra, strict=True):
        rows = rows.append_column(field.name, column)
    return rows
