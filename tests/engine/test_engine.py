"""The engine's promise, driven through random histories: source equals sink at the end.

Every example mixes commits, syncs, snapshots with commits inside their chunk reads, and crashes
at named points; the last sync must leave every table equal to the scripted source.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdc_assets.engine import pending
from cdc_assets.engine.run import run_snapshot, run_sync, run_tables
from cdc_assets.engine.schema_policy import PolicyRule, PolicyWord, SchemaPolicy
from resources.errors import LeaseHeld, PositionPurged, SinkUnavailable
from resources.failpoints import FailpointReached
from resources.sinks.contract import TargetId
from resources.sinks.memory import MemorySink
from resources.stores.database import StateDatabase
from tests.armed import armed
from tests.engine.world import World, capture_filter, commit, crashing, snapshot, step
from tests.scripted import MARK, Event


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(step, max_size=14))
def test_any_history_with_crashes_ends_equal(tmp_path: Path, steps: list[Any]) -> None:
    world = World(tmp_path)
    world.source.create("t0")
    world.source.create("t1")
    for kind, detail in steps:
        if kind == "commit":
            commit(world, detail)
        elif kind == "hours":
            world.source.clock_us += detail * 3_600_000_000
        elif kind == "sync":
            crashing(detail, lambda: run_sync(world.pipeline()))
        else:
            table, kill, meanwhile = detail
            crashing(kill, lambda t=table, m=meanwhile: snapshot(world, f"t{t}", m))
    for table in ("t0", "t1"):
        snapshot(world, table, [])
    run_sync(world.pipeline())
    for table in ("t0", "t1"):
        assert world.rows(table) == world.expected(table)
    assert world.pipeline().log.check(full=True) == []


def test_a_table_that_was_never_loaded_waits_and_loses_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    table = world.source.create("t0")
    run_sync(world.pipeline())
    world.source.commit((table, 1, (1, "a")))
    report = run_sync(world.pipeline())
    assert report.tables[table].outcome == "waiting"
    assert world.pipeline().log.segments.shapes() == {MARK: "1"}
    run_snapshot(world.pipeline(), table)
    assert world.rows("t0") == {1: "a"}


def test_truncate_is_followed_where_it_happened(tmp_path: Path) -> None:
    world = World(tmp_path)
    one, two = world.source.create("t0"), world.source.create("t1")
    world.source.commit((one, 1, (1, "a")))
    for table in (one, two):
        run_snapshot(world.pipeline(), table)
    world.source.commit((one, 3, (3, "c")))
    world.source.tables[one].clear()
    world.source.commit(notice=Event(one, notice="truncate"))
    world.source.commit((two, 5, (5, "x")))
    world.source.commit((one, 2, (2, "b")))
    for kill in ("apply.before_truncate", "apply.after_commit", None):
        crashing(kill, lambda: run_sync(world.pipeline()))
    assert world.rows("t1") == {5: "x"}
    assert world.rows("t0") == {2: "b"}
    (change,) = world.pipeline().changes.list(one)
    assert (change.event, change.state) == ("truncate_table", "applied")


@pytest.mark.parametrize("word", ["ignore", "exception", "hold"])
def test_a_truncate_is_ignored_refused_or_held_as_the_policy_says(
    tmp_path: Path, word: PolicyWord
) -> None:
    rule = PolicyRule(word, "db.t0", frozenset({"truncate_table"}))
    world = World(tmp_path, policy=SchemaPolicy("lenient", (rule,)))
    one = world.source.create("t0")
    world.source.commit((one, 1, (1, "a")))
    run_snapshot(world.pipeline(), one)
    world.source.tables[one].clear()
    world.source.commit(notice=Event(one, notice="truncate"))
    world.source.commit((one, 2, (2, "b")))
    report = run_sync(world.pipeline()).tables[one]
    expected = {"ignore": "applied", "exception": "stopped", "hold": "held"}[word]
    assert report.outcome == expected
    rows = {1: "a", 2: "b"} if word == "ignore" else {1: "a"}
    assert world.rows("t0") == rows
    if word == "hold":
        assert run_sync(world.pipeline()).tables[one].outcome == "held"
        (change,) = world.pipeline().changes.held()
        assert world.pipeline().changes.decide(change.id, "applied", "Ann", "rows were test data")
        run_sync(world.pipeline())
        assert world.rows("t0") == {2: "b"}


def test_statements_given_in_place_of_a_change_that_are_refused_hold_it_again(
    tmp_path: Path,
) -> None:
    rule = PolicyRule("hold", "*.*", frozenset({"truncate_table"}))
    world = World(tmp_path, policy=SchemaPolicy("lenient", (rule,)))
    one = world.source.create("t0")
    world.source.commit((one, 1, (1, "a")))
    run_snapshot(world.pipeline(), one)
    world.source.tables[one].clear()
    world.source.commit(notice=Event(one, notice="truncate"))
    assert run_sync(world.pipeline()).tables[one].outcome == "held"
    for statement in ("DELETE", "TRUNCATE"):  # the sink in memory takes no statements at all
        (change,) = world.pipeline().changes.held()
        world.pipeline().changes.decide(change.id, "replaced", "Ann", "by hand", statement)
        report = run_sync(world.pipeline()).tables[one]
        assert report.outcome == "held"
        assert repr(statement) in report.reason
    (change,) = world.pipeline().changes.held()
    assert world.pipeline().changes.decide(change.id, "applied", "Ann", "after all")
    run_sync(world.pipeline())
    assert world.rows("t0") == {}


def test_rows_changed_without_row_events_are_read_again_by_the_run_that_sees_it(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    one, two = world.source.create("t0"), world.source.create("t1")
    world.source.commit((one, 1, (1, "a")), (two, 1, (1, "x")))
    for table in (one, two):
        run_snapshot(world.pipeline(), table)
    world.source.tables[one][1] = (1, "rewritten")
    world.source.commit(notice=Event(one, notice="statement"))
    world.source.commit((two, 5, (5, "y")), (one, 2, (2, "b")))
    report = run_sync(world.pipeline())
    assert world.rows("t1") == {1: "x", 5: "y"}
    assert world.rows("t0") == world.expected("t0") == {1: "rewritten", 2: "b"}
    assert report.tables[one].outcome in ("applied", "loaded")


def test_without_rereading_the_table_waits_for_its_snapshot(tmp_path: Path) -> None:
    world = World(tmp_path, reread=False)
    one = world.source.create("t0")
    world.source.commit((one, 1, (1, "a")))
    run_snapshot(world.pipeline(), one)
    world.source.tables[one][1] = (1, "rewritten")
    world.source.commit(notice=Event(one, notice="statement"))
    report = run_sync(world.pipeline())
    assert report.tables[one].outcome == "needs_snapshot"
    assert "statement" in report.tables[one].reason
    assert world.rows("t0") == {1: "a"}
    run_snapshot(world.pipeline(), one)
    world.source.commit((one, 3, (3, "c")))
    run_sync(world.pipeline())
    assert world.rows("t0") == {1: "rewritten", 3: "c"}


def test_a_killed_copy_does_not_read_finished_chunks_again(tmp_path: Path) -> None:
    world = World(tmp_path, parallel=1)
    table = world.source.create("t0")
    for key in range(12):
        world.source.commit((table, key, (key, "x")))
    with armed("copy.after_chunk:raise:3"), pytest.raises(FailpointReached):
        run_snapshot(world.pipeline(), table)
    assert world.source.chunks_read[:3] == [1, 2, 3]
    before = len(world.source.chunks_read)
    report, _ = run_snapshot(world.pipeline(), table)
    assert report.resumed
    assert world.source.chunks_read[before:] == [4]
    assert world.rows("t0") == world.expected("t0")


def test_two_runs_never_capture_at_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.source.create("t0")
    pipeline = world.pipeline()
    with (
        pipeline.leases.held(pipeline.lease_name, "run of Ann", 60),
        pytest.raises(LeaseHeld, match="run of Ann"),
    ):
        run_sync(world.pipeline())
    run_sync(world.pipeline())


def test_single_tables_are_merged_from_the_log_with_the_source_away(tmp_path: Path) -> None:
    world = World(tmp_path)
    table = world.source.create("t0")
    run_snapshot(world.pipeline(), table)
    world.source.commit((table, 1, (1, "a")))
    with armed("apply.before_merge:raise"), pytest.raises(FailpointReached):
        run_sync(world.pipeline())
    assert world.rows("t0") == {}
    world.source.log.clear()
    (report,) = run_tables(world.pipeline(), [table])
    assert report.outcome == "applied"
    assert world.rows("t0") == {1: "a"}


@pytest.mark.parametrize("history", ["none", "snapshot"])
def test_append_targets_keep_every_change(tmp_path: Path, history: str) -> None:
    world = World(tmp_path, append=("db.t0",), history=history)
    table = world.source.create("t0")
    run_sync(world.pipeline())
    world.source.commit((table, 1, (1, "a")))
    world.source.commit((table, 1, (1, "b")))
    world.source.commit((table, 1, None))
    run_sync(world.pipeline())
    run_sync(world.pipeline())
    rows = MemorySink(world.sink_name).read_table(TargetId("db", "t0")).to_pylist()
    assert [(r["id"], r["v"], r["_cdc_op"]) for r in rows] == [
        (1, "a", 0),
        (1, "b", 2),
        (1, "b", 3),
    ]


@pytest.mark.parametrize("policy", ["fail", "resnapshot"])
def test_a_purged_position_fails_or_reads_loaded_tables_again(tmp_path: Path, policy: str) -> None:
    world = World(tmp_path, on_purged=policy)
    one, two = world.source.create("t0"), world.source.create("t1")
    run_snapshot(world.pipeline(), one)
    world.source.commit((one, 1, (1, "lost")), (two, 1, (1, "lost")))
    world.source.purged = len(world.source.log)
    world.source.commit((one, 2, (2, "kept")))
    if policy == "fail":
        with pytest.raises(PositionPurged):
            run_sync(world.pipeline())
        return
    with armed("copy.before_finish:raise"), pytest.raises(FailpointReached):
        run_sync(world.pipeline())
    assert world.pipeline().tables.all()[one].status == "needs_snapshot"
    assert world.pipeline().log.segments.shapes() == {}, "they were those of the place before"
    report = run_sync(world.pipeline())
    assert report.tables[one].outcome in ("applied", "loaded")
    assert world.rows("t0") == world.expected("t0")
    assert two not in report.tables
    run_snapshot(world.pipeline(), two)
    world.source.commit((one, 3, (3, "x")), (two, 3, (3, "x")))
    run_sync(world.pipeline())
    assert world.rows("t0") == world.expected("t0")
    assert world.rows("t1") == world.expected("t1")
    assert world.pipeline().log.check(full=True) == []


def test_a_table_that_an_edited_file_left_out_for_a_while_is_read_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    one, two = world.source.create("t0"), world.source.create("t1")
    for table in (one, two):
        run_snapshot(world.pipeline(), table)
    world.options = replace(world.options, capture_filter=capture_filter("db.t0"))
    hidden = world.source.tables.pop(two)
    world.source.commit((one, 1, (1, "a")))
    run_sync(world.pipeline())
    world.source.tables[two] = {**hidden, 7: (7, "unseen")}
    world.options = replace(world.options, capture_filter=capture_filter("db.*"))
    run_sync(world.pipeline())
    states = world.pipeline().tables.all()
    assert (states[one].status, states[two].status) == ("live", "needs_snapshot")
    assert "did not select this table" in states[two].reason
    run_snapshot(world.pipeline(), two)
    world.source.commit((two, 8, (8, "x")))
    run_sync(world.pipeline())
    assert world.rows("t1") == world.expected("t1") == {7: "unseen", 8: "x"}


@pytest.mark.parametrize("backup", [False, True])
def test_a_lost_state_store_is_noticed_and_mended_by_snapshots(
    tmp_path: Path, backup: bool
) -> None:
    world = World(tmp_path)
    one, two = world.source.create("t0"), world.source.create("t1")
    for table in (one, two):
        run_snapshot(world.pipeline(), table)
    world.db.close()
    saved = (world.path / "state.db").read_bytes()
    world.db = StateDatabase(f"sqlite:///{world.path}/state.db")
    for key in range(5):
        world.source.commit((one, key, (key, "x")), (two, key, (key, "x")))
        run_sync(world.pipeline())
    world.db.close()
    for file in world.path.glob("state.db*"):
        file.unlink()
    if backup:
        (world.path / "state.db").write_bytes(saved)
    world.db = StateDatabase(f"sqlite:///{world.path}/state.db")
    world.source.commit((one, 0, (0, "after")), (two, 9, (9, "after")))
    report = run_sync(world.pipeline())
    for table in (one, two):
        assert world.pipeline().tables.all()[table].status == "needs_snapshot"
        assert table not in report.tables or report.tables[table].outcome == "needs_snapshot"
        run_snapshot(world.pipeline(), table)
    world.source.commit((one, 1, None), (two, 1, None))
    run_sync(world.pipeline())
    for table in ("t0", "t1"):
        assert world.rows(table) == world.expected(table)


def test_a_sink_that_is_away_for_a_while_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    table = world.source.create("t0")
    run_snapshot(world.pipeline(), table)
    world.source.commit((table, 1, (1, "a")))
    monkeypatch.setattr(pending, "SINK_RETRIES", (0.01, 0.01))
    merge, failures = MemorySink.merge, iter([True, True, False])

    def sometimes(*arguments: Any) -> Any:
        if next(failures, True):
            raise SinkUnavailable("the sink is away")
        return merge(*arguments)

    monkeypatch.setattr(MemorySink, "merge", sometimes)
    assert run_sync(world.pipeline()).tables[table].outcome == "applied"
    assert world.rows("t0") == {1: "a"}
    world.source.commit((table, 2, (2, "b")))
    with pytest.raises(SinkUnavailable):
        run_sync(world.pipeline())
    monkeypatch.undo()
    run_sync(world.pipeline())
    assert world.rows("t0") == {1: "a", 2: "b"}
