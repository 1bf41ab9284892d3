"""Random histories of a table: the target holds what the rule makes of the table."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc_assets.engine.reduce import reduce_changes
from cdc_assets.engine.transforms.rule import RowRule, TransformRule
from cdc_assets.engine.transforms.transform import Transform, compile_transform
from resources.model.change import RowKind
from resources.model.table import Column, TableId, TableSchema
from tests.engine.transforms.columns import CONTEXT, change_rows, snapshot_rows, transform_of

INS, UB, UA, DEL = RowKind
TABLE = TableSchema(
    TableId("shop", "t"),
    (
        Column("id", pa.int32(), nullable=False),
        Column("a", pa.int32()),
        Column("b", pa.string(), nullable=False),
    ),
    ("id",),
)
Row = dict[str, Any]
Change = tuple[RowKind, Row]
rows_of = st.tuples(st.integers(0, 5), st.integers(-2, 2) | st.none(), st.sampled_from("xyz"))
action = st.tuples(st.sampled_from("ssssdk"), rows_of)


def history(
    actions: list[tuple[str, tuple[int, int | None, str]]], watched: frozenset[str]
) -> tuple[list[Change], dict[int, Row]]:
    """Changes as capture writes them, and the table they leave."""
    table: dict[int, Row] = {}
    changes: list[Change] = []
    for kind, (key, a, b) in actions:
        row, old = {"id": key, "a": a, "b": b}, table.get(key)
        if kind == "d":
            if old:
                changes.append((DEL, table.pop(key)))
        elif kind == "k" and table:
            moved = min(table)
            old = table.pop(moved)
            if key in table:
                changes.append((DEL, table.pop(key)))
            changes += [(UB, old), (UA, row)]
            table[key] = row
        elif old is None:
            changes.append((INS, row))
            table[key] = row
        else:
            before = [(UB, old)] if any(old[n] != row[n] for n in watched) else []
            changes += [*before, (UA, row)]
            table[key] = row
    return changes, table


def folded(transform: Transform, changes: list[Change], cuts: int) -> dict[Any, Row]:
    """The target after applying the changes in pieces."""
    target: dict[Any, Row] = {}
    key = transform.schema.key
    size = max(1, len(changes) // (cuts + 1))
    for start in range(0, len(changes), size):
        batch = change_rows(changes[start : start + size], TABLE, start + 1)
        done = transform.split(batch, CONTEXT)
        reduced = reduce_changes([done.rows], key, [done.gone] if done.gone is not None else [])
        for row in reduced.deletes.to_pylist():
            target.pop(tuple(row[k] for k in key), None)
        for row in reduced.upserts.to_pylist():
            target[tuple(row[k] for k in key)] = row
    return target


def loaded(transform: Transform, table: dict[int, Row]) -> dict[Any, Row]:
    """The target after a snapshot of the table."""
    done = transform.apply_rows(snapshot_rows(list(table.values()), TABLE), CONTEXT)
    key = transform.schema.key
    return {tuple(r[k] for k in key): r for r in done.rows.to_pylist()}


PROJECTION = ("id", "a * 2 AS twice", "CONCAT(b, '-', id) AS name")


def expected(table: dict[int, Row]) -> dict[Any, Row]:
    return {
        (r["id"],): {
            "id": r["id"],
            "twice": None if r["a"] is None else r["a"] * 2,
            "name": f"{r['b']}-{r['id']}",
        }
        for r in table.values()
        if r["a"] is not None and r["a"] > 0
    }


@given(st.lists(action, max_size=40), st.integers(0, 3))
@settings(max_examples=40)
def test_the_target_is_projection_and_filter_of_the_table(actions: Any, cuts: int) -> None:
    transform = transform_of(*PROJECTION, schema=TABLE, filter="a > 0")
    changes, table = history(actions, transform.watched)
    assert transform.watched == frozenset()
    assert folded(transform, changes, cuts) == expected(table)
    assert loaded(transform, table) == expected(table)


@given(st.lists(action, max_size=40), st.integers(0, 3))
@settings(max_examples=25)
def test_other_keys_follow_when_the_images_they_watch_are_there(actions: Any, cuts: int) -> None:
    transform = transform_of(
        "id",
        "a",
        "UPPER(b) AS kind",
        schema=TABLE,
        filter="a > 0",
        primary_keys=("id", "kind"),
    )
    assert transform.watched == {"b"}
    assert transform.schema.key == ("id", "kind")
    changes, table = history(actions, transform.watched)
    wanted = {
        (r["id"], r["b"].upper()): {"id": r["id"], "a": r["a"], "kind": r["b"].upper()}
        for r in table.values()
        if r["a"] is not None and r["a"] > 0
    }
    assert folded(transform, changes, cuts) == wanted
    assert loaded(transform, table) == wanted


@given(st.lists(action, max_size=40), st.integers(0, 3))
@settings(max_examples=25)
def test_soft_deletes_keep_every_row_that_was_there(actions: Any, cuts: int) -> None:
    transform = transform_of("*", schema=TABLE, filter="a > 0", soft_delete="_deleted")
    changes, table = history(actions, transform.watched)
    target = folded(transform, changes, cuts)
    living = {k: v for k, v in target.items() if not v["_deleted"]}
    passing = {(k,): r for k, r in table.items() if r["a"] is not None and r["a"] > 0}
    assert living == {k: {**r, "_deleted": False} for k, r in passing.items()}
    once = {r["id"] for kind, r in changes if kind in (INS, UA) and (r["a"] or 0) > 0}
    gone = {k[0] for k, v in target.items() if v["_deleted"]}
    assert once - {k[0] for k in passing} <= gone
    assert loaded(transform, table) == living


@given(
    st.lists(st.tuples(st.sampled_from(RowKind), st.integers(0, 4) | st.none(),
                       st.sampled_from(["x", "0", "1", "12"])), min_size=1, max_size=20),
)  # fmt: skip
@settings(max_examples=40)
def test_changes_that_leave_no_row_are_the_same_apart_as_keys(changes: Any) -> None:
    transform = transform_of(
        "a",
        "CAST(b AS DECIMAL(1, 0)) AS digit",  # 12 is none
        schema=TABLE,
        filter="CAST(b AS SIGNED) > 0",  # x is no number
        primary_keys=("a",),
        rules=(RowRule("small", "a", max="3", on_fail="skip"),),
    )
    batch = change_rows([(kind, {"id": 1, "a": a, "b": b}) for kind, a, b in changes], TABLE)
    together, apart = transform.apply(batch, CONTEXT), transform.split(batch, CONTEXT)
    gone = [] if apart.gone is None else apart.gone.to_pylist()
    assert all(row["_cdc_op"] in (UB, DEL) for row in gone)
    assert by_seq([*apart.rows.to_pylist(), *gone]) == by_seq(together.rows.to_pylist())
    assert (apart.failed, apart.skipped) == (together.failed, together.skipped)


def by_seq(rows: list[Row]) -> dict[int, Row]:
    """What counts of changes: of those that leave no row the key alone."""
    return {
        r["_cdc_seq"]: r if r["_cdc_op"] in (INS, UA) else {"a": r["a"], "_cdc_op": r["_cdc_op"]}
        for r in rows
    }


def test_each_kind_of_change_that_the_filter_refuses() -> None:
    transform = transform_of("*", schema=TABLE, filter="a > 0")
    good, bad = {"id": 1, "a": 1, "b": "x"}, {"id": 1, "a": 0, "b": "x"}
    unknown = {"id": 1, "a": None, "b": "x"}
    done = transform.apply(
        change_rows(
            [(INS, bad), (INS, good), (UA, bad), (UA, unknown), (UB, bad), (DEL, bad)], TABLE
        ),
        CONTEXT,
    )
    found = [(r["_cdc_op"], r["_cdc_seq"]) for r in done.rows.to_pylist()]
    assert found == [(INS, 2), (DEL, 3), (DEL, 4), (UB, 5), (DEL, 6)]
    assert (done.skipped, done.failed) == (3, [])


def test_an_append_target_keeps_the_images_that_pass_as_they_are() -> None:
    rule = TransformRule(("shop.t",), (), "a > 0")
    transform = compile_transform(rule, TABLE, append=True)
    changes = [(k, {"id": 1, "a": a, "b": "x"}) for k in (INS, UB, UA, DEL) for a in (0, 1)]
    done = transform.apply(change_rows(changes, TABLE), CONTEXT)
    assert [r["_cdc_op"] for r in done.rows.to_pylist()] == [INS, UB, UA, DEL]


@pytest.mark.parametrize(
    ("kind", "row", "out"),
    [
        (DEL, {"a": 1}, [(UA, True)]),
        (DEL, {"a": 0}, []),
        (UB, {"a": 1}, [(UA, True)]),
        (UA, {"a": 1}, [(UA, False)]),
        (UA, {"a": 0}, [(UA, True)]),
        (INS, {"a": 0}, []),
        (INS, {"a": 1}, [(INS, False)]),
    ],
)
def test_what_a_soft_delete_makes_of_a_change(
    kind: RowKind, row: Row, out: list[tuple[RowKind, bool]]
) -> None:
    transform = transform_of("*", schema=TABLE, filter="a > 0", soft_delete="_deleted")
    done = transform.apply(change_rows([(kind, {"id": 1, "b": "x", **row})], TABLE), CONTEXT)
    assert [(r["_cdc_op"], r["_deleted"]) for r in done.rows.to_pylist()] == out
    assert not transform.schema.column("_deleted").nullable


def test_rows_without_a_key_are_set_aside_and_their_deletes_have_nothing_to_delete() -> None:
    transform = transform_of("id", "a", schema=TABLE, primary_keys=("a",))
    assert not transform.schema.column("a").nullable
    row = {"id": 1, "a": None, "b": "x"}
    changes = change_rows([(INS, row), (UB, row), (UA, {**row, "a": 3}), (DEL, row)], TABLE)
    done = transform.apply(changes, CONTEXT)
    assert [(r["_cdc_op"], r["a"]) for r in done.rows.to_pylist()] == [(UA, 3)]
    assert [(f.row, f.column, f.message) for f in done.failed] == [
        (0, "a", "a column of the key is NULL")
    ]


def test_an_expression_that_fails_sets_its_row_aside_and_never_the_batch() -> None:
    transform = transform_of("id", "CAST(b AS SIGNED) AS n", schema=TABLE, filter="a > 0")
    rows = [
        (INS, {"id": 0, "a": 1, "b": "7"}),
        (INS, {"id": 1, "a": 1, "b": "secret"}),
        (UA, {"id": 2, "a": 1, "b": "1.5"}),
        (UA, {"id": 3, "a": 0, "b": "secret"}),  # leaves the filter: its column does not matter
        (DEL, {"id": 4, "a": 1, "b": "secret"}),  # a delete needs its key alone
        (INS, {"id": 5, "a": 1, "b": " -3 "}),
    ]
    done = transform.apply(change_rows(rows, TABLE), CONTEXT)
    found = [(r["_cdc_op"], r["id"], r["n"]) for r in done.rows.to_pylist()]
    assert found == [(INS, 0, 7), (DEL, 3, None), (DEL, 4, None), (INS, 5, -3)]
    message = "`CAST(b AS SIGNED) AS n` cannot be evaluated for this row"
    assert [(f.row, f.column, f.message) for f in done.failed] == [
        (1, "n", message),
        (2, "n", message),
    ]


def test_a_filter_that_fails_sets_its_row_aside() -> None:
    transform = transform_of("*", schema=TABLE, filter="CAST(b AS SIGNED) > 3")
    rows = [(INS, {"id": n, "a": 1, "b": b}) for n, b in enumerate(["5", "x", "2"])]
    done = transform.apply(change_rows([*rows, (DEL, rows[1][1])], TABLE), CONTEXT)
    assert [(r["_cdc_op"], r["id"]) for r in done.rows.to_pylist()] == [(INS, 0), (DEL, 1)]
    assert [(f.row, f.column) for f in done.failed] == [(1, "filter")]
    assert done.skipped == 1


def test_nothing_is_copied_that_is_not_computed() -> None:
    transform = transform_of("*", "a + 1 AS more", schema=TABLE)
    batch = change_rows([(INS, {"id": n, "a": n, "b": "x"}) for n in range(9)], TABLE)
    done = transform.apply(batch, CONTEXT).rows
    for name in (*TABLE.names, "_cdc_op", "_cdc_seq", "_cdc_ts"):
        ours, theirs = done.column(name).buffers(), batch.column(name).buffers()
        assert [b and b.address for b in ours] == [b and b.address for b in theirs]


def test_no_rows_at_all() -> None:
    transform = transform_of("*", "a + 1 AS more", schema=TABLE, filter="a > 0")
    done = transform.apply(change_rows([], TABLE), CONTEXT)
    assert (done.rows.num_rows, done.failed, done.skipped) == (0, [], 0)
    assert done.rows.schema.names == ["id", "a", "b", "more", "_cdc_op", "_cdc_seq", "_cdc_ts"]
