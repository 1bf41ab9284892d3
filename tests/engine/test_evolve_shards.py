"""Shards of one target: their statements in every order end in the same columns."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc_assets.engine.evolution import Situation, changed_columns
from cdc_assets.engine.evolve import plan_evolution
from cdc_assets.engine.schema_policy import PolicyWord, SchemaPolicy
from resources.model.column_change import AddColumn, RetypeColumn
from resources.model.table import Column, TableSchema
from tests.engine.evolution_model import (
    ABLE,
    NAMES,
    TABLE,
    Ddl,
    SourceTable,
    TargetTable,
    plan_twice,
)

ID = Column("id", pa.int64(), nullable=False)
EXACT = [
    *(pa.int8(), pa.uint8(), pa.int16(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64()),
    *(pa.decimal128(5, 2), pa.decimal128(12, 4)),
]
"""Types of which any two have one that holds both."""
START = TableSchema(TABLE, (ID, Column("a", pa.int16()), Column("b", pa.uint8())), ("id",))
LIVE = tuple(replace(c, nullable=True) for c in START.columns)
WORDS: list[PolicyWord] = ["lenient", "evolve", "try_evolve"]


def feed(policy: SchemaPolicy) -> Situation:
    return Situation(LIVE, START, policy=policy, capabilities=ABLE, shared=True)


@st.composite
def statements(draw: st.DrawFn) -> list[Ddl]:
    """Two statements of one shard."""
    shard, made = SourceTable(START), []
    for _ in range(2):
        kind = draw(st.sampled_from(["add", "drop", "drop+add", "retype", "rename", "swap"]))
        ddl = shard.alter(draw, draw(st.sampled_from(NAMES)), kind, EXACT)
        made += [ddl] if ddl is not None else []
    return made


def every_order(*counts: int) -> Iterator[tuple[int, ...]]:
    turns = [shard for shard, count in enumerate(counts) for _ in range(count)]
    return iter(sorted(set(itertools.permutations(turns))))


@settings(max_examples=25)
@given(st.tuples(statements(), statements(), statements()), st.sampled_from(WORDS))
def test_the_order_of_the_shards_statements_makes_no_difference(
    shards: tuple[list[Ddl], ...], word: PolicyWord
) -> None:
    ends = set()
    for order in every_order(*map(len, shards)):
        feeds = [TargetTable(feed(SchemaPolicy(word))) for _ in shards]
        live, waiting = LIVE, [iter(shard) for shard in shards]
        for turn in order:
            ddl = next(waiting[turn])
            feeds[turn].situation = replace(feeds[turn].situation, live=live)
            situation = feeds[turn].plan(ddl)
            plan = plan_evolution(situation)
            assert not plan.waits, plan.hold
            live = changed_columns(live, plan.changes)
            assert live == plan.columns
            feeds[turn].situation = replace(situation, kept=plan.kept)
        ends.add(frozenset((c.name, c.type, c.kind) for c in live))
    assert len(ends) == 1
    (end,) = ends
    every = {c.name for shard in shards for ddl in shard for c in ddl.after.columns}
    assert {name for name, _, _ in end} == every | {c.name for c in LIVE}, "nothing is dropped"


@settings(max_examples=80)
@given(st.data(), st.sampled_from(WORDS))
def test_every_shard_stays_its_source(data: st.DataObject, word: PolicyWord) -> None:
    draw = data.draw
    sources = [SourceTable(START) for _ in range(3)]
    targets = [TargetTable(feed(SchemaPolicy(word))) for _ in sources]
    for _ in range(draw(st.integers(1, 6))):
        turn = draw(st.integers(0, 2))
        source, target = sources[turn], targets[turn]
        for _ in range(draw(st.integers(0, 2))):
            target.merge(source, [source.write(draw)])
        kind = draw(st.sampled_from(["add", "drop", "drop+add", "retype", "rename", "swap"]))
        ddl = source.alter(draw, draw(st.sampled_from(NAMES)), kind, EXACT)
        if ddl is None:
            continue
        situation = target.plan(ddl)
        plan = plan_twice(target, situation, 0)
        for other in targets:
            if other is not target:
                for change in plan.changes:
                    other.change(change)
        target.follow(situation, plan, source)
        for one, other in zip(sources, targets, strict=True):
            other.check(one)


def altered(*columns: Column) -> TableSchema:
    return TableSchema(TABLE, (ID, *columns), ("id",))


@pytest.mark.parametrize("word", WORDS[:2])
def test_types_without_one_that_holds_both_are_held_by_name(word: PolicyWord) -> None:
    after = altered(Column("a", pa.string(), "varchar(20)"), Column("b", pa.uint8()))
    situation = replace(feed(SchemaPolicy(word)), before=START, after=after, origins={})
    plan = plan_evolution(situation)
    assert (plan.changes, plan.columns) == ((), LIVE)
    assert plan.hold == (
        "shop.t: column a is int16 in the target and varchar(20) (string) on the source, and no "
        "type holds both: apply, skip or replace it by the pipeline's decide job",
    )
    assert plan.steps[0].action == "hold"
    passed = plan_evolution(replace(situation, policy=SchemaPolicy("try_evolve")))
    assert (passed.waits, passed.changes, passed.failed) == (False, (), {"a"})


def test_a_new_shard_widens_the_target_and_leaves_the_rest() -> None:
    after = altered(Column("a", pa.uint32()), Column("c", pa.date32()))
    plan = plan_evolution(replace(feed(SchemaPolicy()), after=after))
    assert plan.changes == (
        RetypeColumn(Column("a", pa.int64())),
        AddColumn(Column("c", pa.date32())),
    )
    assert [c.name for c in plan.columns] == ["id", "a", "b", "c"]
    assert (plan.reread, plan.kept) == ((), frozenset())


def test_a_key_that_differs_between_shards_is_held_until_decided() -> None:
    after = TableSchema(TABLE, START.columns, ("id", "b"))
    situation = replace(feed(SchemaPolicy()), before=START, after=after, origins={})
    plan = plan_evolution(situation)
    assert "while other feeds of the target may have another one" in plan.hold[0]
    decided = plan_evolution(replace(situation, decided={("alter_key", ""): "applied"}))
    assert decided.reread == ("the key was (id), now it is (id, b)",)
