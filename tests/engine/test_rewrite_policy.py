"""Statements that change rows without row events: the policy decides, but never about a gap."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc_assets.engine.run import run_snapshot, run_sync
from cdc_assets.engine.schema_policy import PolicyRule, PolicyWord, SchemaPolicy
from tests.engine.world import World
from tests.scripted import Event


@pytest.mark.parametrize("kind", ["alter", "partition", "statement"])
def test_a_statement_that_changes_rows_unseen_has_the_policy_that_names_it(
    tmp_path: Path, kind: str
) -> None:
    """Whether or not it tells the table's shape; and once it is decided the table goes on."""

    def rule(word: PolicyWord) -> PolicyRule:
        return PolicyRule(word, f"db.{word}", frozenset({"rewrite"}))

    words: tuple[PolicyWord, ...] = ("ignore", "exception", "hold", "evolve")
    world = World(tmp_path, policy=SchemaPolicy("lenient", tuple(map(rule, words))))
    tables = [world.source.create(word) for word in words]
    for table in tables:
        world.source.commit((table, 1, (1, "a")))
        run_snapshot(world.pipeline(), table)
        world.source.tables[table][1] = (1, "rewritten")
        world.source.commit(notice=Event(table, notice=kind))
        world.source.commit((table, 2, (2, "b")))
    states = {t.table: r.outcome for t, r in run_sync(world.pipeline()).tables.items()}
    assert states.pop("evolve") in ("applied", "loaded")
    assert states == {"ignore": "applied", "exception": "stopped", "hold": "held"}
    whole = {1: "rewritten", 2: "b"}
    wanted = {"ignore": {1: "a", 2: "b"}, "exception": {1: "a"}, "hold": {1: "a"}, "evolve": whole}
    assert {word: world.rows(word) for word in words} == wanted
    pipeline = world.pipeline()
    [held] = pipeline.changes.held()
    assert (held.event, held.table.table) == ("rewrite", "hold")
    assert pipeline.changes.decide(held.id, "applied", "Ann", "as planned")
    run_sync(pipeline)
    assert world.rows("hold") == whole


def test_the_statement_given_in_place_of_reading_again_is_run(tmp_path: Path) -> None:
    rule = PolicyRule("hold", events=frozenset({"rewrite"}))
    world = World(tmp_path, policy=SchemaPolicy("lenient", (rule,)))
    table = world.source.create("t0")
    world.source.commit((table, 1, (1, "a")))
    run_snapshot(world.pipeline(), table)
    world.source.commit(notice=Event(table, notice="partition"))
    run_sync(world.pipeline())
    pipeline = world.pipeline()
    [held] = pipeline.changes.held()
    assert pipeline.changes.decide(held.id, "replaced", "Ann", "by hand", "DELETE FROM t0")
    run_sync(pipeline)
    [again] = pipeline.changes.held()
    assert "DELETE FROM t0' was refused" in again.why, "the memory sink knows no statements"


def test_a_gap_of_the_log_is_read_again_by_every_policy(tmp_path: Path) -> None:
    rule = PolicyRule("ignore", events=frozenset({"rewrite"}))
    world = World(tmp_path, policy=SchemaPolicy("ignore", (rule,)))
    table = world.source.create("t0")
    world.source.commit((table, 1, (1, "a")))
    run_snapshot(world.pipeline(), table)
    world.source.tables[table][1] = (1, "unseen")
    world.source.commit(notice=Event(table, notice="incident"))
    run_sync(world.pipeline())
    assert world.rows("t0") == {1: "unseen"}
