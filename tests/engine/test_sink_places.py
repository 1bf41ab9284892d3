"""A sink is known by its place: company, other names, other places, backups, sinks put back."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from cdc_assets.engine.run import run_snapshot, run_sync
from cdc_assets.engine.sharing import predecessor
from resources.errors import LeaseHeld
from resources.stores.database import StateDatabase
from tests.engine.shared_world import SharedWorld
from tests.engine.world import capture_filter
from tests.scripted import POISON

SINKS = ("one", "two")


@pytest.mark.parametrize("back", [False, True])
def test_an_only_sink_that_gets_company_goes_on_with_its_state(tmp_path: Path, back: bool) -> None:
    world = SharedWorld(tmp_path, [""])
    table = world.source.create("t0")
    run_snapshot(world.of(""), table)
    world.source.commit((table, 1, (1, POISON)), (table, 2, (2, "b")))
    run_sync(world.of(""))
    world.places = {"one": ""}
    world.sinks = ["one", "two"]
    assert predecessor(world.open("one")) == "p"
    assert predecessor(world.open("two")) is None
    busy = world.open("two")
    with (
        busy.leases.held("capture:p", "a run of before", 60),
        pytest.raises(LeaseHeld, match="a run of before"),
    ):
        world.of("one")
    world.source.commit((table, 3, (3, "c")))
    run_sync(world.of("one"))
    assert world.held("one", "t0") == {2: "b", 3: "c"}
    assert world.of("one").dirty.count_open(table) == 1
    assert run_sync(world.of("two")).tables[table].outcome == "waiting"
    if not back:
        return
    world.sinks = [""]
    world.source.commit((table, 4, (4, "d")))
    run_sync(world.of(""))
    assert world.held("", "t0") == {2: "b", 3: "c", 4: "d"}
    assert world.of("").dirty.count_open(table) == 1


def test_a_sink_with_another_name_is_known_by_its_place(tmp_path: Path) -> None:
    world = SharedWorld(tmp_path)
    table = world.source.create("t0")
    for sink in SINKS:
        run_snapshot(world.of(sink), table)
    world.sinks, world.places = ["one", "renamed"], {"renamed": "two"}
    world.source.commit((table, 1, (1, "a")))
    assert run_sync(world.of("renamed")).tables[table].outcome == "applied"
    assert world.held("renamed", "t0") == {1: "a"}


def test_a_sink_that_is_another_one_by_the_same_name_is_loaded(tmp_path: Path) -> None:
    world = SharedWorld(tmp_path)
    table = world.source.create("t0")
    for sink in SINKS:
        run_snapshot(world.of(sink), table)
    world.places = {"two": "elsewhere"}
    world.source.commit((table, 1, (1, "a")))
    report = run_sync(world.of("two")).tables[table]
    assert report.outcome == "needs_snapshot"
    assert "is another one than before" in report.reason
    run_snapshot(world.of("two"), table)
    assert world.held("two", "t0") == world.expected("t0")


def test_rows_of_a_state_that_is_not_there_are_read_again(tmp_path: Path) -> None:
    world = SharedWorld(tmp_path)
    table = world.source.create("t0")
    for sink in SINKS:
        run_snapshot(world.of(sink), table)
    world.sinks, world.places = ["one", "moved"], {}
    opened = world.open_sink
    world.open_sink = lambda sink: opened("two" if sink == "moved" else sink)  # type: ignore[method-assign]
    world.source.commit((table, 1, (1, "a")))
    report = run_sync(world.of("moved")).tables[table]
    assert report.outcome == "needs_snapshot"
    assert "knows nothing of" in report.reason
    run_snapshot(world.of("moved"), table)
    world.source.commit((table, 2, (2, "b")))
    run_sync(world.of("moved"))
    assert world.held("moved", "t0") == world.expected("t0")


def test_a_state_store_from_a_backup_is_noticed_by_a_sink_though_others_moved_the_log_on(
    tmp_path: Path,
) -> None:
    world = SharedWorld(tmp_path)
    table = world.source.create("t0")
    for sink in SINKS:
        run_snapshot(world.of(sink), table)
    world.db.close()
    saved = (world.path / "state.db").read_bytes()
    world.db = StateDatabase(f"sqlite:///{world.path}/state.db")
    for key in range(3):
        world.source.commit((table, key, (key, "x")))
        run_sync(world.of("one"))
        run_sync(world.of("two"))
    world.db.close()
    for file in world.path.glob("state.db*"):
        file.unlink()
    (world.path / "state.db").write_bytes(saved)
    world.db = StateDatabase(f"sqlite:///{world.path}/state.db")
    for key in range(9):
        world.source.commit((table, key, (key, "after")))
        with contextlib.suppress(Exception):
            run_sync(world.of("one"))
    report = run_sync(world.of("two")).tables[table]
    assert report.outcome == "needs_snapshot", "it would have passed over changes in silence"
    run_snapshot(world.of("two"), table)
    assert world.held("two", "t0") == world.expected("t0")


def test_a_table_left_out_by_the_run_that_captured_is_read_again_by_every_sink(
    tmp_path: Path,
) -> None:
    world = SharedWorld(tmp_path)
    one, two = world.source.create("t0"), world.source.create("t1")
    for sink in SINKS:
        for table in (one, two):
            run_snapshot(world.of(sink), table)
    wanted = world.options.capture_filter
    world.own["one"] = {"capture_filter": capture_filter("db.t0")}
    hidden = world.source.tables.pop(two)
    world.source.commit((one, 1, (1, "a")))
    run_sync(world.of("one"))
    world.source.tables[two] = {**hidden, 7: (7, "unseen")}
    world.own.clear()
    assert world.options.capture_filter == wanted
    for sink in SINKS:
        run_sync(world.of(sink))
        states = world.of(sink).tables.all()
        assert (states[one].status, states[two].status) == ("live", "needs_snapshot")


@pytest.mark.parametrize("kept", [True, False])
def test_a_sink_put_back_goes_on_if_the_log_has_what_it_lacks_and_else_is_loaded_again(
    tmp_path: Path, kept: bool
) -> None:
    world = SharedWorld(tmp_path)
    table = world.source.create("t0")
    for sink in SINKS:
        run_snapshot(world.of(sink), table)
        run_sync(world.of(sink))
    taken = world.of("two").applied()
    world.sinks = ["one"]
    for key in range(3):
        world.source.commit((table, key, (key, "x")))
        run_sync(world.of("one"))
    log = world.of("one").log
    log.purge("9999", keep_parquet=False, upto=taken if kept else None)
    world.sinks = ["one", "two"]
    world.source.commit((table, 9, (9, "y")))
    report = run_sync(world.of("two")).tables[table]
    assert report.outcome == ("applied" if kept else "needs_snapshot")
    if not kept:
        assert "was deleted past what this sink had taken" in report.reason
        run_snapshot(world.of("two"), table)
    assert world.held("two", "t0") == world.expected("t0")


def test_log_that_was_lost_unread_marks_the_tables_of_every_sink(tmp_path: Path) -> None:
    world = SharedWorld(tmp_path, on_purged="resnapshot")
    one, two = world.source.create("t0"), world.source.create("t1")
    run_snapshot(world.of("one"), one)
    run_snapshot(world.of("two"), two)
    world.source.commit((one, 1, (1, "lost")), (two, 1, (1, "lost")))
    world.source.purged = len(world.source.log)
    world.source.commit((one, 2, (2, "kept")))
    run_sync(world.of("one"))
    run_sync(world.of("two"))
    assert world.held("one", "t0") == world.expected("t0")
    assert world.held("two", "t1") == world.expected("t1")
