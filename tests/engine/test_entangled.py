"""Runs, statements, copies and dirty rows that meet at the wrong moment: nothing is lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cdc_assets.engine import run
from cdc_assets.engine.copy import finish_copy
from cdc_assets.engine.replay import replay_dirty
from cdc_assets.engine.report import CopyReport
from cdc_assets.engine.routing import Router, RouteRule
from cdc_assets.engine.rules import Transforms
from cdc_assets.engine.run import run_snapshot, run_sync
from cdc_assets.engine.schema_policy import PolicyRule, SchemaPolicy
from cdc_assets.engine.transforms.rule import TransformRule
from cdc_assets.retention import find_need, needed_window
from resources.errors import SchemaMismatch
from resources.model.table import TableId
from resources.sinks.contract import TargetId
from tests.engine.world import World, crashing
from tests.scripted import POISON, Event, scripted_schema


def made(table: TableId) -> Event:
    return Event(table, notice="create", rewrites=False, shape=scripted_schema(table))


def refuse_bad(column: str, value: Any) -> bool:
    return column == "v" and value == "bad"


def test_an_undecodable_row_is_not_superseded_by_an_older_change_of_its_key(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    table = world.source.create("t0")
    run_snapshot(world.pipeline(), table)
    world.source.commit((table, 1, (1, "old")), (table, 1, (1, POISON)), (table, 2, (2, "x")))
    run_sync(world.pipeline())
    assert world.rows("t0") == {1: "old", 2: "x"}
    assert [row.key for row in world.pipeline().dirty.open_rows()] == ['{"id":1}']


@pytest.mark.parametrize("stage", ["sink", "transform"])
def test_a_merge_that_is_repeated_does_not_close_its_own_dirty_rows(
    tmp_path: Path, stage: str
) -> None:
    world = World(tmp_path)
    if stage == "transform":
        rule = TransformRule(("db.*",), projection=("id", "v", "CAST(v AS INT) AS n"))
        world.options = replace(world.options, transforms=Transforms((rule,)))
    table = world.source.create("t0")
    world.source.commit((table, 9, (9, "9")))
    run_snapshot(world.pipeline(), table)
    world.reject = refuse_bad if stage == "sink" else None
    world.source.commit((table, 1, (1, "bad")), (table, 2, (2, "2")))
    for kill in ("sink.before_commit", None):
        crashing(kill, lambda: run_sync(world.pipeline()))
    assert world.rows("t0") == {2: "2", 9: "9"}
    assert [row.key for row in world.pipeline().dirty.open_rows()] == ['{"id":1}']


def test_a_dropped_table_loaded_again_keeps_its_rows_when_the_run_is_killed(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    table = world.source.create("t0")
    world.source.commit((table, 1, (1, "a")))
    run_snapshot(world.pipeline(), table)
    world.source.tables[table].clear()
    world.source.commit(notice=Event(table, notice="drop", rewrites=False))
    run_sync(world.pipeline())
    world.source.commit(notice=made(table))
    world.source.commit((table, 2, (2, "b")))
    meanwhile = iter([(table, 3, (3, "c"))])

    def disturb() -> None:
        for change in meanwhile:
            world.source.commit(change)

    world.source.on_read = disturb
    crashing("copy.after_finish", lambda: run_snapshot(world.pipeline(), table))
    world.source.commit((table, 4, (4, "d")))
    run_sync(world.pipeline())
    run_sync(world.pipeline())
    assert world.rows("t0") == world.expected("t0") == {2: "b", 3: "c", 4: "d"}


def test_a_table_that_cannot_be_read_again_keeps_no_other_waiting(tmp_path: Path) -> None:
    world = World(tmp_path)
    one, two = world.source.create("t0"), world.source.create("t1")
    world.source.commit((one, 1, (1, "a")), (two, 1, (1, "x")))
    for table in (one, two):
        run_snapshot(world.pipeline(), table)
    world.source.tables[two][1] = (1, "rewritten")
    world.source.commit(notice=Event(one, notice="statement"))
    world.source.commit(notice=Event(two, notice="statement"))
    world.source.commit(notice=Event(one, notice="drop", rewrites=False))
    del world.source.tables[one]
    report = run_sync(world.pipeline())
    assert report.tables[one].outcome in ("needs_snapshot", "dropped", "stopped")
    assert "not on the source" in report.tables[one].reason
    assert world.rows("t1") == {1: "rewritten"}


def test_a_table_whose_making_is_ignored_has_no_target(tmp_path: Path) -> None:
    rule = PolicyRule("ignore", "*.*", frozenset({"create_table"}))
    world = World(tmp_path, policy=SchemaPolicy("lenient", (rule,)))
    run_sync(world.pipeline())
    table = world.source.create("t0")
    world.source.commit(notice=made(table))
    world.source.commit((table, 1, (1, "a")))
    run_sync(world.pipeline())
    world.source.commit((table, 2, (2, "b")))
    run_sync(world.pipeline())
    with pytest.raises(SchemaMismatch):
        world.rows("t0")
    run_snapshot(world.pipeline(), table)
    assert world.rows("t0") == {1: "a", 2: "b"}


def test_a_row_of_a_copy_that_is_not_in_yet_is_not_replayed(tmp_path: Path) -> None:
    world = World(tmp_path)
    table = world.source.create("t0")
    world.source.commit((table, 1, (1, "a")), (table, 2, (2, "b")))
    run_snapshot(world.pipeline(), table)
    world.source.commit((table, 1, (1, POISON)))
    run_sync(world.pipeline())
    crashing("copy.before_copied", lambda: run_snapshot(world.pipeline(), table))
    world.source.poison = False
    replay_dirty(world.pipeline())
    run_snapshot(world.pipeline(), table)
    replay_dirty(world.pipeline())
    assert world.rows("t0") == world.expected("t0")


def test_a_copied_row_is_replayed_under_the_key_its_target_has(tmp_path: Path) -> None:
    world = World(tmp_path)
    rule = TransformRule(("db.*",), projection=("id AS nr", "v"), primary_keys=("nr",))
    world.options = replace(world.options, transforms=Transforms((rule,)))
    table = world.source.create("t0")
    world.source.commit((table, 1, (1, "bad")), (table, 2, (2, "b")))
    world.reject = refuse_bad
    run_snapshot(world.pipeline(), table)
    world.reject = None
    replay_dirty(world.pipeline())
    rows = world._sink().read_table(TargetId("db", "t0")).to_pylist()
    open_rows = world.pipeline().dirty.count_open()
    assert ({r["nr"]: r["v"] for r in rows}, open_rows) == ({1: "bad", 2: "b"}, 0)


def test_a_table_made_live_does_not_write_into_the_target_of_another(tmp_path: Path) -> None:
    router = Router((RouteRule(("db.t*",), "db.all", merge=False),))
    world = World(tmp_path, router=router)
    one = world.source.create("t0")
    world.source.commit((one, 1, (1, "a")))
    run_snapshot(world.pipeline(), one)
    two = TableId("db", "t1")
    # the source lists it only after the run began
    world.source.commit(notice=made(two))
    world.source.tables[two] = {}
    world.source.commit((two, 1, (1, "other")))
    listed = world.source.list_tables
    world.source.list_tables = lambda: [one]  # type: ignore[method-assign]
    report = run_sync(world.pipeline())
    world.source.list_tables = listed  # type: ignore[method-assign]
    assert report.tables[two].outcome == "stopped"
    assert world.rows("all") == {1: "a"}


def test_a_table_loaded_again_beside_syncs_gets_into_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    table = world.source.create("t0")
    world.source.commit((table, 1, (1, "a")))
    run_snapshot(world.pipeline(), table)

    def after_a_sync(*args: Any) -> CopyReport:
        world.source.commit((table, 2, (2, "b")))
        run_sync(world.pipeline())
        return finish_copy(*args)

    monkeypatch.setattr(run, "finish_copy", after_a_sync)
    run_snapshot(world.pipeline(), table)
    run_sync(world.pipeline())
    assert world.rows("t0") == world.expected("t0")


DAY_US = 86_400_000_000


def test_a_table_made_after_retention_removed_an_older_one_is_taken_from_there(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, policy=SchemaPolicy("evolve"))
    table, other = world.source.create("t0"), world.source.create("t1")
    run_snapshot(world.pipeline(), table)
    world.source.commit((table, 1, (1, "a")))
    world.source.tables[table].clear()
    world.source.commit(notice=Event(table, notice="drop", rewrites=False))
    run_sync(world.pipeline())
    world.source.clock_us += 10 * DAY_US
    world.source.commit((other, 1, (1, "x")))
    run_sync(world.pipeline())
    world.pipeline().log.purge("2100-01-01", keep_parquet=False)
    assert world.pipeline().log.segments.table_floor(table)
    world.source.commit(notice=made(table))
    world.source.commit((table, 2, (2, "b")))
    run_sync(world.pipeline())
    assert world.rows("t0") == {2: "b"}


def test_retention_keeps_what_a_table_needs_whose_making_is_held(tmp_path: Path) -> None:
    rule = PolicyRule("hold", "*.*", frozenset({"create_table"}))
    world = World(tmp_path, policy=SchemaPolicy("lenient", (rule,)))
    run_sync(world.pipeline())
    table, other = world.source.create("t0"), world.source.create("t1")
    world.source.commit(notice=made(table))
    world.source.commit((table, 1, (1, "a")))
    assert run_sync(world.pipeline()).tables[table].outcome == "held"
    begin = world.pipeline().log.segments.last()
    world.source.clock_us += 10 * DAY_US
    world.source.commit((other, 1, (1, "x")))
    run_sync(world.pipeline())
    pipeline = world.pipeline()
    assert begin is not None
    assert needed_window(pipeline, find_need(pipeline)) == begin.window
    (change,) = world.pipeline().changes.held()
    assert world.pipeline().changes.decide(change.id, "applied", "Ann", "it is wanted")
    run_sync(world.pipeline())
    assert world.rows("t0") == {1: "a"}
