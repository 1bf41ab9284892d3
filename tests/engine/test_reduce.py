"""Reduction by key alone, against a plain dict."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc_assets.engine.reduce import reduce_changes
from resources.errors import SchemaMismatch
from resources.model.change import RowKind
from resources.model.table import Column, TableId, TableSchema
from tests.strategies import (
    COLUMN_TYPES,
    KEY_TYPES,
    WIDE_DECIMALS,
    Changes,
    change_sequences,
    comparable,
    state_table,
    table_schemas,
)

INS, DEL = RowKind.INSERT, RowKind.DELETE
UB, UA = RowKind.UPDATE_BEFORE, RowKind.UPDATE_AFTER
ALL_TYPES = (*COLUMN_TYPES, *WIDE_DECIMALS)
ALL_KEYS = (*KEY_TYPES, *WIDE_DECIMALS)
SMALL = TableSchema(
    TableId("shop", "t"), (Column("id", pa.int64()), Column("v", pa.string())), ("id",)
)


def reduce_small(*rows: tuple[RowKind, int, str]) -> tuple[dict[int, str], set[int]]:
    changes = Changes(SMALL, [(k, {"id": i, "v": v}) for k, i, v in rows])
    reduced = reduce_changes([changes.batch()], ("id",))
    upserts = {r["id"]: r["v"] for r in reduced.upserts.to_pylist()}
    return upserts, set(reduced.deletes["id"].to_pylist())


@given(
    change_sequences(table_schemas(ALL_TYPES, ALL_KEYS), max_size=40),
    st.lists(st.integers(0, 40), max_size=3),
)
@settings(max_examples=300, deadline=None)
def test_equals_one_by_one(changes: Changes, cuts: list[int]) -> None:
    size = len(changes.rows)
    reduced = reduce_changes(changes.batches([min(c, size) for c in cuts]), changes.schema.key)
    state: dict[tuple[Any, ...], dict[str, Any]] = {}
    changes.apply(state)
    assert comparable(reduced.upserts) == comparable(state_table(changes.schema, state))
    kept = [changes.rows[seq - changes.first][1] for seq in reduced.upsert_seq.to_pylist()]
    by_seq = state_table(changes.schema, dict(enumerate(kept)))
    assert comparable(by_seq) == comparable(reduced.upserts)
    touched = {tuple(r[k] for k in changes.schema.key) for _, r in changes.rows}
    assert reduced.deletes.num_rows == len(touched - set(state))
    assert reduced.upserts.num_rows + reduced.deletes.num_rows == len(touched)
    assert reduced.deletes.column_names == list(changes.schema.key)
    assert reduced.last_seq == (changes.first + size - 1 if size else 0)
    assert reduced.counts == {
        kind.name.lower(): sum(k == kind for k, _ in changes.rows) for kind in RowKind
    }


@given(change_sequences(table_schemas(ALL_TYPES, ALL_KEYS), max_size=40), st.data())
@settings(max_examples=60, deadline=None)
def test_changes_apart_that_leave_no_row_count_in_their_place(
    changes: Changes, data: st.DataObject
) -> None:
    batch, key = changes.batch(), changes.schema.key
    apart = [k in (DEL, UB) and data.draw(st.booleans()) for k, _ in changes.rows]
    gone = batch.filter(pa.array(apart, pa.bool_())).select([*key, "_cdc_op", "_cdc_seq"])
    rest = batch.filter(pa.array([not a for a in apart], pa.bool_()))
    reduced, whole = reduce_changes([rest], key, [gone]), reduce_changes([batch], key)
    assert comparable(reduced.upserts) == comparable(whole.upserts)
    assert comparable(reduced.deletes) == comparable(whole.deletes)
    assert reduced.upsert_seq.equals(whole.upsert_seq)
    assert (reduced.last_seq, reduced.counts) == (whole.last_seq, whole.counts)


def test_insert_delete_insert() -> None:
    assert reduce_small((INS, 1, "a"), (DEL, 1, "a"), (INS, 1, "b")) == ({1: "b"}, set())


def test_delete_insert_delete() -> None:
    assert reduce_small((DEL, 1, "a"), (INS, 1, "b"), (DEL, 1, "b")) == ({}, {1})


def test_swap_of_two_keys_by_a_third() -> None:
    swapped = reduce_small(
        *((UB, 1, "one"), (UA, 99, "one"), (UB, 2, "two"), (UA, 1, "two")),
        *((UB, 99, "one"), (UA, 2, "one")),
    )
    assert swapped == ({1: "two", 2: "one"}, {99})


def test_key_change_onto_a_deleted_key() -> None:
    assert reduce_small((DEL, 2, "two"), (UB, 1, "one"), (UA, 2, "one")) == ({2: "one"}, {1})


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        (pa.int8(), [-128, 127, -128, 127, 0]),
        (pa.int64(), [-(2**63), 2**63 - 1, -(2**63), 0, 2**63 - 1]),
        (pa.uint64(), [2**64 - 1, 2**64 - 2, 2**64 - 1, 2**63, 2**63 - 1]),
        (pa.uint64(), [0, 2**64 - 1, 0, 2**63, 2**63]),
    ],
    ids=str,
)
def test_integers_of_any_span(type_: pa.DataType, values: list[int]) -> None:
    schema = TableSchema(TableId("shop", "t"), (Column("id", type_),), ("id",))
    changes = Changes(schema, [(INS, {"id": v}) for v in values])
    reduced = reduce_changes([changes.batch()], ("id",))
    assert sorted(reduced.upserts["id"].to_pylist()) == sorted(set(values))


def test_composite_key_wider_than_64_bits() -> None:
    columns = tuple(Column(f"k{i}", pa.int64()) for i in range(5))
    schema = TableSchema(TableId("shop", "t"), columns, tuple(c.name for c in columns))
    rows = [{c.name: (i * 7919 + j) << 34 for j, c in enumerate(columns)} for i in range(3000)]
    changes = Changes(schema, [(INS, r) for r in [*rows, *rows[:10]]])
    assert reduce_changes([changes.batch()], schema.key).upserts.num_rows == 3000


def test_null_key_is_refused() -> None:
    changes = Changes(SMALL, [(INS, {"id": None, "v": "a"})])
    with pytest.raises(SchemaMismatch, match="'id' holds NULL"):
        reduce_changes([changes.batch()], ("id",))


def test_missing_key_column_is_refused() -> None:
    with pytest.raises(SchemaMismatch, match="'gone' is not among"):
        reduce_changes([Changes(SMALL, []).batch()], ("gone",))


def test_nested_key_is_refused() -> None:
    schema = TableSchema(TableId("s", "t"), (Column("g", pa.list_(pa.float32())),), ("g",))
    with pytest.raises(SchemaMismatch, match="cannot be compared"):
        reduce_changes([Changes(schema, [(INS, {"g": [1.0]})]).batch()], ("g",))


def test_order_is_checked() -> None:
    later = Changes(SMALL, [(INS, {"id": 1, "v": "a"})], first=5).batch()
    with pytest.raises(ValueError, match="strictly increasing"):
        reduce_changes([later, later], ("id",))


def test_nothing_at_all() -> None:
    reduced = reduce_changes([Changes(SMALL, []).batch()], ("id",))
    assert (reduced.upserts.num_rows, reduced.deletes.num_rows, reduced.last_seq) == (0, 0, 0)
    with pytest.raises(ValueError, match="at least one batch"):
        reduce_changes([], ("id",))
