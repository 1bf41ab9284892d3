"""Dirty rows in the engine: set aside, counted, superseded, replayed."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc_assets.engine.replay import replay_dirty
from cdc_assets.engine.run import run_snapshot, run_sync
from resources.errors import TransientError
from resources.stores.dirty_rows import DirtyRowStore
from tests.engine.world import World
from tests.scripted import POISON


def test_refused_rows_are_set_aside_and_replayed_without_overwriting(tmp_path: Path) -> None:
    world = World(tmp_path)
    table = world.source.create("t0")
    run_snapshot(world.pipeline(), table)
    world.reject = lambda column, value: column == "v" and value == "bad"
    world.source.commit((table, 1, (1, "bad")), (table, 2, (2, "bad")), (table, 3, (3, "good")))
    report = run_sync(world.pipeline())
    assert report.tables[table].dirty == 2
    assert world.rows("t0") == {3: "good"}
    world.source.commit((table, 2, (2, "newer")))
    run_sync(world.pipeline())
    assert [r.key for r in world.pipeline().dirty.open_rows()] == ['{"id":1}']
    world.reject = None
    replay_dirty(world.pipeline())
    assert world.rows("t0") == world.expected("t0") == {1: "bad", 2: "newer", 3: "good"}
    assert world.pipeline().dirty.count_open() == 0


def test_undecodable_rows_are_read_again_by_key(tmp_path: Path) -> None:
    world = World(tmp_path)
    table = world.source.create("t0")
    world.source.commit((table, 1, (1, POISON)), (table, 2, (2, "x")))
    run_snapshot(world.pipeline(), table)
    world.source.commit((table, 3, (3, POISON)), (table, 4, (4, POISON)))
    run_sync(world.pipeline())
    assert world.rows("t0") == {2: "x"}
    assert world.pipeline().dirty.count_open() == 3
    world.source.tables[table].pop(4)
    world.source.poison = False
    replay_dirty(world.pipeline())
    assert world.rows("t0") == {1: POISON, 2: "x", 3: POISON}
    assert world.pipeline().dirty.count_open() == 0


def test_a_log_of_changes_is_not_filled_by_reading_rows_again(tmp_path: Path) -> None:
    """A row of the source is no change: what could not be decoded stays open, and says why."""
    world = World(tmp_path, append=("*.t0",))
    table = world.source.create("t0")
    run_sync(world.pipeline())
    world.source.commit((table, 1, (1, POISON)), (table, 2, (2, "x")))
    run_sync(world.pipeline())
    world.source.tables[table].pop(1)
    world.source.poison = False
    (report,) = replay_dirty(world.pipeline())
    assert "a log of changes takes back only" in report.reason
    assert world.pipeline().dirty.count_open() == 1


def test_the_dirty_limit_stops_the_table_and_only_it(tmp_path: Path) -> None:
    world = World(tmp_path, max_dirty=1)
    one, two = world.source.create("t0"), world.source.create("t1")
    for table in (one, two):
        run_snapshot(world.pipeline(), table)
    world.reject = lambda column, value: value == "bad"
    world.source.commit((one, 1, (1, "bad")), (one, 2, (2, "bad")), (two, 1, (1, "ok")))
    report = run_sync(world.pipeline())
    assert report.tables[one].outcome == "stopped"
    assert "2 dirty rows" in report.tables[one].reason
    assert world.rows("t1") == {1: "ok"}
    world.reject = None
    replay_dirty(world.pipeline(), one)
    run_sync(world.pipeline())
    assert world.rows("t0") == {1: "bad", 2: "bad"}


def test_dirty_rows_that_cannot_be_stored_fail_the_run_and_write_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    table = world.source.create("t0")
    run_snapshot(world.pipeline(), table)
    world.reject = lambda column, value: value == "bad"
    world.source.commit((table, 1, (1, "bad")), (table, 2, (2, "ok")))

    def broken(*_args: object) -> int:
        raise TransientError("the state database is read-only")

    with monkeypatch.context() as patch:
        patch.setattr(DirtyRowStore, "add", broken)
        with pytest.raises(TransientError):
            run_sync(world.pipeline())
    assert world.rows("t0") == {}
    run_sync(world.pipeline())
    assert world.rows("t0") == {2: "ok"}
    assert world.pipeline().dirty.count_open() == 1


def test_rows_refused_in_capture_count_in_the_same_sync(tmp_path: Path) -> None:
    world = World(tmp_path, max_dirty=1)
    table = world.source.create("t0")
    run_snapshot(world.pipeline(), table)
    world.source.commit((table, 1, (1, POISON)), (table, 2, (2, POISON)))
    assert run_sync(world.pipeline()).tables[table].outcome == "stopped"


def test_rows_the_sink_refuses_in_a_copy_are_set_aside(tmp_path: Path) -> None:
    world = World(tmp_path, parallel=3)
    table = world.source.create("t0")
    for key in range(20):
        world.source.commit((table, key, (key, "bad" if key % 5 == 0 else "good")))
    world.reject = lambda column, value: value == "bad"
    report, _ = run_snapshot(world.pipeline(), table)
    assert (report.rows, report.dirty) == (16, 4)
    assert set(world.rows("t0").values()) == {"good"}
    world.reject = None
    replay_dirty(world.pipeline())
    assert world.rows("t0") == world.expected("t0")
