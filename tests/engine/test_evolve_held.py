"""Changes that wait for somebody's decision, or that the sink cannot carry out."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from cdc_assets.engine.evolve import plan_evolution
from cdc_assets.engine.schema_policy import (
    ColumnEventWord,
    PolicyRule,
    PolicyWord,
    SchemaPolicy,
)
from resources.model.column_change import AddColumn, ColumnChange
from resources.model.table import Column
from resources.sinks.contract import Capabilities
from tests.engine.evolution_model import ABLE
from tests.engine.evolve_room import COPY, ID, LIVE, NEW, TEXT, WIDE, A, B, plan, situation


def test_another_key_takes_kept_columns_away_only_when_decided() -> None:
    s = situation(ID, B, key=("b",))
    held = plan_evolution(s)
    assert held.hold == (
        "shop.t: the key was (id), now it is (b), and reading the table again takes column a "
        "away: apply, skip or replace it by the pipeline's decide job",
    )
    made = plan_evolution(replace(s, decided={("alter_key", ""): "applied"}))
    assert (made.waits, made.keep, [c.name for c in made.columns]) == (False, (), ["id", "b"])
    by_hand = plan_evolution(replace(s, decided={("alter_key", ""): "replaced"}))
    assert (by_hand.waits, by_hand.reread, by_hand.columns) == (False, (), LIVE)
    skipped = plan_evolution(replace(s, decided={("alter_key", ""): "skipped"}))
    assert "it cannot be skipped" in skipped.hold[0]


def test_a_new_key_column_is_never_left_out() -> None:
    made = plan(ID, A, B, NEW, origins={"c": ""}, key=("id", "c"), policy=SchemaPolicy("ignore"))
    assert "column c cannot be left out: it is in the key" in made.hold[0]


@pytest.mark.parametrize(
    ("decision", "changes", "ignored"),
    [("applied", (AddColumn(NEW),), set()), ("skipped", (), {"c"}), ("replaced", (), {"c"})],
)
def test_a_held_change_goes_on_once_it_is_decided(
    decision: str, changes: tuple[ColumnChange, ...], ignored: set[str]
) -> None:
    s = situation(ID, A, NEW, B, origins={"c": ""}, policy=SchemaPolicy("hold"))
    held = plan_evolution(s)
    assert held.steps[0].changes == (AddColumn(NEW),), "a person sees what would be done"
    made = plan_evolution(replace(s, decided={("add_column", "c"): decision}))
    assert (made.waits, made.changes, made.ignored) == (False, changes, ignored)


def test_a_decided_change_of_type_is_read_again() -> None:
    s = situation(ID, TEXT, B)
    assert plan_evolution(s).waits
    made = plan_evolution(replace(s, decided={("alter_column_type", "a"): "applied"}))
    assert (made.reread, made.columns[1]) == (
        ("column a was int (int32) and is text (string)",),
        TEXT,
    )


@pytest.mark.parametrize("kind", ["add", "drop", "rename", "retype"])
def test_what_the_sink_cannot_do_is_held_or_passed_over(kind: str) -> None:
    cases: dict[str, tuple[tuple[Column, ...], dict[str, str], str]] = {
        "add": ((ID, A, B, NEW), {"c": ""}, "c"),
        "drop": ((ID, B), {}, "a"),
        "rename": ((ID, COPY, B), {"x": "a"}, "x"),
        "retype": ((ID, WIDE, B), {}, "a"),
    }
    after, origins, name = cases[kind]
    less = Capabilities(schema_changes=ABLE.schema_changes - {kind})
    s = situation(*after, origins=origins, capabilities=less)
    held = plan_evolution(replace(s, policy=SchemaPolicy("evolve")))
    assert f"this sink cannot {kind} columns" in held.hold[0]
    passed = plan_evolution(replace(s, policy=SchemaPolicy("try_evolve")))
    assert (passed.waits, passed.changes, passed.columns) == (False, (), LIVE)
    assert (passed.steps[0].action, passed.steps[0].failed) == ("ignore", True)
    assert passed.failed == (set() if kind == "drop" else {name})
    refused = replace(s, capabilities=ABLE, policy=SchemaPolicy("try_evolve"))
    assert plan_evolution(replace(refused, failed=frozenset({name}))).changes == ()


def test_a_type_beyond_the_sink_is_held() -> None:
    wide = Column("a", pa.decimal256(50, 2))
    small = replace(ABLE, decimal_precision=38)
    made = plan(ID, wide, B, capabilities=small)
    assert "this sink cannot hold column a decimal256(50, 2) exactly" in made.hold[0]
    made = plan(ID, A, B, replace(wide, name="c"), origins={"c": ""}, capabilities=small)
    assert made.waits
    refusing = replace(ABLE, refused_types=frozenset({"date32[day]"}))
    assert plan(ID, A, B, NEW, origins={"c": ""}, capabilities=refusing).waits


def test_a_table_that_cannot_be_read_again_waits() -> None:
    s = situation(ID, A, B, rewrites=True, rereadable=False)
    assert plan_evolution(s).hold == (
        "shop.t: the table cannot be read again, though stored values changed without row "
        "events: apply, skip or replace it by the pipeline's decide job",
    )
    made = plan_evolution(replace(s, decided={("rewrite", ""): "applied"}))
    assert (made.waits, made.reread) == (False, ())


def test_a_rename_stops_before_a_column_of_the_targets_own() -> None:
    own = Column("x", pa.int8())
    made = plan(ID, COPY, B, origins={"x": "a"}, live=(*LIVE, own), policy=SchemaPolicy("evolve"))
    assert "but the target has a column x of its own" in made.hold[0]


@pytest.mark.parametrize("word", ["hold", "exception"])
@pytest.mark.parametrize(
    ("event", "after", "told"),
    [
        ("alter_nullability", (replace(A, nullable=False), B), "column a takes NULL or no longer"),
        ("alter_comment", (replace(A, comment="x"), B), "column a has another comment"),
        ("reorder_columns", (B, A), "columns stand in another order"),
    ],
)
def test_what_changes_nothing_stops_only_where_it_is_named(
    event: ColumnEventWord, after: tuple[Column, ...], told: str, word: PolicyWord
) -> None:
    assert not plan(ID, *after, policy=SchemaPolicy(word)).waits
    named = SchemaPolicy("lenient", (PolicyRule(word, events=frozenset({event})),))
    made = plan(ID, *after, policy=named)
    [why] = made.hold if word == "hold" else made.refused
    assert told in why
    name = "" if event == "reorder_columns" else "a"
    decided = plan(ID, *after, policy=named, decided={(event, name): "applied"})
    assert (decided.waits, decided.changes, decided.reread) == (False, (), ())
