"""Which changes can only be followed by reading the table again, and what that takes along."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from cdc_assets.engine.evolve import plan_evolution
from cdc_assets.engine.schema_policy import (
    PolicyRule,
    PolicyWord,
    SchemaPolicy,
)
from resources.model.column_change import (
    AddColumn,
    DropColumn,
    RetypeColumn,
)
from resources.model.table import Column, TableSchema
from tests.engine.evolution_model import TABLE
from tests.engine.evolve_room import COPY, ID, LIVE, NARROW, NEW, TEXT, WIDE, A, B, plan, situation


def test_evolve_reads_again_into_the_very_type() -> None:
    for column in (NARROW, TEXT):
        made = plan(ID, column, B, policy=SchemaPolicy("evolve"))
        assert made.columns == (LIVE[0], column, B)
        assert made.keep == ()
    hand = Column("hand", pa.int8())
    made = plan(ID, TEXT, B, policy=SchemaPolicy("evolve"), live=(*LIVE, hand))
    assert made.changes == (DropColumn("a"), AddColumn(TEXT))
    assert (made.keep, made.columns[-1]) == (("hand",), TEXT)


def test_values_changed_without_row_events_are_read_again_under_every_policy() -> None:
    for word in ("lenient", "evolve", "try_evolve", "ignore", "exception", "hold"):
        made = plan(ID, A, B, rewrites=True, policy=SchemaPolicy(word))
        assert made.reread == ("stored values changed without row events",)
        assert made.steps[0].change_class == "lossy"
    named = SchemaPolicy("lenient", (PolicyRule("hold", events=frozenset({"rewrite"})),))
    assert plan(ID, A, B, rewrites=True, policy=named).hold
    skipped = plan(ID, A, B, rewrites=True, policy=named, decided={("rewrite", ""): "skipped"})
    assert (skipped.waits, skipped.reread) == (False, ())


def test_a_name_used_again_is_read_again() -> None:
    old = plan(ID, B)
    again = plan(
        ID, A, B, before=TableSchema(TABLE, (ID, B), ("id",)), origins={"a": ""}, kept=old.kept
    )
    assert again.reread == ("new column a has the name of one that was there before",)
    assert (again.changes, again.kept, again.keep) == ((), frozenset(), ())


def test_a_column_that_cannot_be_taken_over_leaves_no_values_of_another_one() -> None:
    """`try_evolve` passes the change over; rows that then do not fit become dirty rows."""
    told = ("column b of the target has other values than the source's",)
    text, number = Column("b", pa.string()), Column("b", pa.int32())
    policy = SchemaPolicy("lenient", (PolicyRule("try_evolve", events=frozenset({"add_column"})),))
    before = TableSchema(TABLE, (ID, A), ("id",))
    live = (*LIVE[:2], number)
    kept = plan(
        ID, A, text, origins={"b": ""}, before=before, live=live, kept=frozenset({"b"}),
        policy=policy,
    )  # fmt: skip
    assert (kept.reread, kept.failed, kept.columns) == (told, {"b"}, live)
    fills = {"b": pa.scalar("")}
    filled = plan(
        ID, A, text, origins={"b": ""}, before=before, live=live, policy=policy, fills=fills
    )
    assert (filled.reread, filled.failed) == (told, {"b"})
    unknown = plan(ID, A, text, origins={"b": ""}, before=before, live=live, policy=policy)
    assert (unknown.reread, unknown.failed) == ((), {"b"})


def test_a_rename_onto_the_name_of_a_column_that_was_there_is_read_again() -> None:
    number = Column("b", pa.int32())
    told = ("new column b has the values of a",)
    both = TableSchema(TABLE, (ID, A, number), ("id",))
    live = (*LIVE[:2], number)
    at_once = plan(ID, number, origins={"b": "a"}, before=both, live=live)
    assert (at_once.reread, at_once.changes, at_once.kept) == (told, (), {"a"})
    later = plan(
        ID, number, origins={"b": "a"}, live=live, kept=frozenset({"b"}),
        before=TableSchema(TABLE, (ID, A), ("id",)),
    )  # fmt: skip
    assert (later.reread, later.keep) == (told, ("a",))


@pytest.mark.parametrize("word", ["lenient", "evolve"])
def test_a_column_left_out_is_read_when_it_comes_under_another_name(word: PolicyWord) -> None:
    s = situation(
        ID, COPY, B, origins={"x": "a"}, live=(LIVE[0], B), ignored=frozenset({"a"}),
        policy=SchemaPolicy(word),
    )  # fmt: skip
    made = plan_evolution(s)
    assert made.columns[-1] == COPY
    assert made.reread == ("new column x has the values of a",)
    again = plan_evolution(replace(s, live=made.columns))
    assert (again.reread, again.changes, again.ignored) == (made.reread, (), frozenset())


def test_a_rename_that_is_ignored_still_leaves_no_wrong_value() -> None:
    own = Column("x", pa.int32())
    made = plan(ID, COPY, B, origins={"x": "a"}, live=(*LIVE, own), policy=SchemaPolicy("ignore"))
    assert made.reread == ("column x of the target has the values of another one",)


def test_a_table_made_anew_by_a_load_is_not_altered_before() -> None:
    made = plan(ID, WIDE, B, NEW, origins={"c": ""}, rewrites=True)
    assert (made.changes, made.keep) == ((), ())
    assert made.columns == (LIVE[0], WIDE, B, NEW)
    shared = plan(ID, WIDE, B, NEW, origins={"c": ""}, rewrites=True, shared=True)
    assert shared.changes == (AddColumn(NEW), RetypeColumn(WIDE))


def test_a_copy_of_another_type_is_widened_after_it_is_made() -> None:
    wide = replace(WIDE, name="x")
    made = plan(ID, wide, B, origins={"x": "a"})
    assert made.changes == (AddColumn(COPY, copy_of="a"), RetypeColumn(wide))
    text = replace(TEXT, name="x")
    made = plan(ID, text, B, origins={"x": "a"})
    assert (made.changes, made.keep) == ((AddColumn(text),), ("a",))
    assert made.reread == ("new column x has the values of a",)


def test_another_key_is_read_again() -> None:
    made = plan(ID, A, B, key=("id", "b"))
    assert made.reread == ("the key was (id), now it is (id, b)",)
    assert [(s.event, s.action, s.change_class) for s in made.steps] == [
        ("alter_key", "reread", "lossy")
    ]
    assert plan(ID, A, B, key=("id", "b"), keyed=False).steps == ()
    none = plan(ID, A, B, key=())
    assert "rows cannot be merged without a key" in none.hold[0]


def test_only_shapes_are_known() -> None:
    made = plan(ID, COPY, B, origins=None)
    assert [(s.event, s.columns) for s in made.steps] == [
        ("drop_column", ("a",)),
        ("add_column", ("x",)),
    ]
    assert (made.changes, made.reread) == ((AddColumn(COPY),), ())
    filled = plan(ID, A, B, replace(NEW, nullable=False), origins=None)
    assert filled.reread == ("the values rows have in new column c are unknown",)
    cut = plan(ID, NARROW, B, origins=None)
    assert "what became of the values of column a" in cut.reread[0]
    assert cut.columns == LIVE


def test_a_column_missing_in_the_target_comes_back() -> None:
    made = plan(ID, WIDE, B, live=(LIVE[0], B))
    assert made.columns[-1] == WIDE
    assert made.reread == ("column a is missing in the target",)
    left_out = plan(ID, WIDE, B, live=(LIVE[0], B), ignored=frozenset({"a"}))
    assert (left_out.changes, left_out.reread, left_out.ignored) == ((), (), {"a"})
