"""Random schema changes between random writes: the target stays its source, whatever the policy."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc_assets.engine.evolution import Situation
from cdc_assets.engine.evolve import plan_evolution
from cdc_assets.engine.schema_policy import PolicyRule, PolicyWord, SchemaPolicy
from resources.model.table import Column, TableSchema
from resources.model.widening import holds, same
from tests.engine.evolution_model import (
    ABLE,
    NAMES,
    TABLE,
    SourceTable,
    TargetTable,
    plan_twice,
)

KINDS = [
    "add",
    "add filled",
    "drop",
    "drop+add",
    "retype",
    "rename",
    "swap",
    "drop+rename",
    "chain",
]
COLUMN_EVENTS = ["add_column", "drop_column", "rename_column", "alter_column_type"]
HAND = Column("hand", pa.string())
START = TableSchema(
    TABLE,
    (Column("id", pa.int64(), nullable=False), Column("a", pa.int32()), Column("b", pa.int8())),
    ("id",),
)


def begin(policy: SchemaPolicy, *extra: Column) -> tuple[SourceTable, TargetTable]:
    live = (*(replace(c, nullable=True) for c in START.columns), *extra)
    source = SourceTable(START)
    return source, TargetTable(Situation(live, START, policy=policy, capabilities=ABLE))


@st.composite
def policies(draw: st.DrawFn) -> SchemaPolicy:
    words = st.sampled_from(["lenient", "evolve", "try_evolve", "ignore"])
    some = st.lists(st.tuples(st.sampled_from(COLUMN_EVENTS), words), max_size=2)
    rules = [PolicyRule(word, events=frozenset({event})) for event, word in draw(some)]
    return SchemaPolicy(draw(words), tuple(rules))


def run(draw: st.DrawFn, source: SourceTable, target: TargetTable, *, told: bool) -> None:
    """Alternate statements and writes, checking target against source all the way."""
    for _ in range(draw(st.integers(1, 5))):
        for _ in range(draw(st.integers(0, 3))):
            target.merge(source, [source.write(draw)])
        target.check(source)
        ddl = source.alter(draw, draw(st.sampled_from(NAMES)), draw(st.sampled_from(KINDS)))
        if ddl is None:
            continue
        situation = target.plan(ddl, told=told)
        plan = plan_twice(target, situation, draw(st.integers(0, 3)))
        if plan.waits:
            assert (plan.changes, plan.reread, plan.columns) == ((), (), situation.live)
            assert all("decide job" in why for why in plan.hold)
            return
        before = target.situation.live
        target.follow(situation, plan, source)
        assert target.situation.live == plan.columns
        check_policy(situation, before)
        check_policy(situation, plan.columns)
        target.check(source)


def check_policy(s: Situation, columns: tuple[Column, ...]) -> None:
    made = {c.name: c for c in columns}
    if s.policy.rules:
        return
    if s.policy.default == "lenient":
        for column in s.live:
            assert holds(made[column.name], column), "nothing is dropped or narrowed"
    if s.policy.default == "ignore":
        assert [c.name for c in columns] == [c.name for c in s.live]


@settings(max_examples=150)
@given(st.data(), policies())
def test_the_target_stays_its_source(data: st.DataObject, policy: SchemaPolicy) -> None:
    source, target = begin(policy)
    run(data.draw, source, target, told=True)


@pytest.mark.nightly
@settings(max_examples=3000)
@given(st.data(), policies(), st.booleans())
def test_the_target_stays_its_source_for_long(
    data: st.DataObject, policy: SchemaPolicy, by_hand: bool
) -> None:
    source, target = begin(policy, *([HAND] if by_hand else []))
    run(data.draw, source, target, told=True)


@settings(max_examples=60)
@given(st.data(), policies())
def test_columns_added_by_hand_are_never_touched(data: st.DataObject, policy: SchemaPolicy) -> None:
    source, target = begin(policy, HAND)
    run(data.draw, source, target, told=True)
    assert HAND in target.situation.live


@settings(max_examples=60)
@given(st.data())
def test_evolve_ends_in_the_very_columns_of_the_source(data: st.DataObject) -> None:
    source, target = begin(SchemaPolicy("evolve"))
    run(data.draw, source, target, told=True)
    made = {c.name: c for c in target.situation.live}
    assert made.keys() == set(source.schema.names)
    assert all(same(made[c.name], c) for c in source.schema.columns)


WORDS: list[PolicyWord] = ["lenient", "evolve", "try_evolve", "ignore"]


@pytest.mark.parametrize("word", WORDS)
def test_an_empty_difference_is_an_empty_plan(word: PolicyWord) -> None:
    _, target = begin(SchemaPolicy(word))
    plan = plan_evolution(replace(target.situation, before=START))
    assert (plan.steps, plan.changes, plan.reread) == ((), (), ())
    assert plan.columns == target.situation.live
