"""Several sinks on one change log: each ends right by itself, whatever becomes of the others."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc_assets.engine import pending
from cdc_assets.engine.replay import replay_dirty
from cdc_assets.engine.run import SyncOptions, run_snapshot, run_sync
from resources.errors import LeaseHeld, SinkUnavailable
from resources.failpoints import FailpointReached
from resources.sinks.contract import Sink
from tests.armed import armed
from tests.engine.shared_world import SharedWorld
from tests.engine.world import KILLS, commit, transaction
from tests.scripted import POISON, Event, scripted_schema

SINKS = ("one", "two")
step = st.one_of(
    st.tuples(st.just("commit"), transaction),
    st.tuples(st.just("truncate"), st.integers(0, 1)),
    st.tuples(st.just("sync"), st.sampled_from(SINKS), st.sampled_from(KILLS) | st.none()),
    st.tuples(
        st.just("snapshot"),
        st.sampled_from(SINKS),
        st.integers(0, 1),
        st.sampled_from(KILLS) | st.none(),
    ),
)


def crashing(kill: str | None, run: Any) -> None:
    """Run with a crash armed at a named point; the run may or may not get there."""
    if kill is None:
        run()
        return
    with armed(f"{kill}:raise"), contextlib.suppress(FailpointReached):
        run()


def one_history(path: Path, steps: list[Any]) -> None:
    world = SharedWorld(path)
    tables = [world.source.create(f"t{n}") for n in range(2)]
    for what, *more in steps:
        if what == "commit":
            commit(world, more[0])
        elif what == "truncate":
            world.source.tables[tables[more[0]]].clear()
            world.source.commit(notice=Event(tables[more[0]], notice="truncate"))
        elif what == "sync":
            crashing(more[1], lambda sink=more[0]: run_sync(world.of(sink)))
        else:
            table = tables[more[1]]
            crashing(more[2], lambda sink=more[0], t=table: run_snapshot(world.of(sink), t))
    for sink in SINKS:
        for table in tables:
            run_snapshot(world.of(sink), table)
    commit(world, [(0, 1, 1, "last"), (1, 2, None, "")])
    for sink in SINKS:
        run_sync(world.of(sink))
    for sink in SINKS:
        for name in ("t0", "t1"):
            assert world.held(sink, name) == world.expected(name)
    assert world.of("one").log.check(full=True) == []
    world.db.close()


@settings(max_examples=4, deadline=None)
@given(st.lists(step, max_size=12))
def test_every_sink_ends_equal_whatever_runs_are_killed(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Any]
) -> None:
    one_history(tmp_path_factory.mktemp("world"), steps)


@pytest.mark.nightly
@settings(max_examples=400, deadline=None)
@given(st.lists(step, max_size=25))
def test_every_sink_ends_equal_whatever_runs_are_killed_at_length(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Any]
) -> None:
    one_history(tmp_path_factory.mktemp("world"), steps)


def test_each_transaction_is_read_once_whoever_asks_for_it(tmp_path: Path) -> None:
    world = SharedWorld(tmp_path)
    table = world.source.create("t0")
    read: list[tuple[int, int]] = []
    stream = world.source.stream_changes

    def counted(after: Any, *rest: Any) -> Any:
        for part in stream(after, *rest):
            read.append((after.offset, part.rows))
            yield part

    world.source.stream_changes = counted  # type: ignore[method-assign]
    for sink in SINKS:
        run_snapshot(world.of(sink), table)
    for key in range(6):
        world.source.commit((table, key, (key, "x")))
        if key % 2:
            run_sync(world.of("one"))
    for sink in SINKS:
        run_sync(world.of(sink))
        assert world.held(sink, "t0") == world.expected("t0")
    assert sum(rows for _, rows in read) == 6


def test_a_run_follows_what_another_captures_and_captures_when_that_one_dies(
    tmp_path: Path,
) -> None:
    world = SharedWorld(tmp_path, commit_interval=0.05)
    table = world.source.create("t0")
    for sink in SINKS:
        run_snapshot(world.of(sink), table)
    done = threading.Event()
    ended = threading.Event()
    first, second = (
        threading.Thread(
            target=run_sync, args=(world.of(sink), SyncOptions(follow_for=60, stop=event.is_set))
        )
        for sink, event in (("one", done), ("two", ended))
    )
    first.start()
    wait_for(lambda: world.of("one").leases.holder("capture:p") is not None)
    second.start()
    world.source.commit((table, 1, (1, "a")))
    for sink in SINKS:
        wait_for(lambda sink=sink: world.held(sink, "t0") == {1: "a"})
    done.set()
    first.join()
    world.source.commit((table, 2, (2, "b")))
    wait_for(lambda: world.held("two", "t0") == {1: "a", 2: "b"})
    assert world.held("one", "t0") == {1: "a"}
    ended.set()
    second.join()
    run_sync(world.of("one"))
    assert world.held("one", "t0") == world.expected("t0")


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)


def test_a_sink_that_is_broken_holds_up_no_other_and_is_equal_once_it_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = SharedWorld(tmp_path)
    table = world.source.create("t0")
    for sink in SINKS:
        run_snapshot(world.of(sink), table)
    monkeypatch.setattr(pending, "SINK_RETRIES", ())
    opened = SharedWorld.open_sink

    def broken(self: SharedWorld, sink: str) -> Sink:
        if sink == "one":
            raise SinkUnavailable("the sink is away")
        return opened(self, sink)

    for key in range(4):
        world.source.commit((table, key, (key, "x")))
        with monkeypatch.context() as away:
            away.setattr(SharedWorld, "open_sink", broken)
            with pytest.raises(SinkUnavailable):
                run_sync(world.of("one"))
            run_sync(world.of("two"))
    assert world.held("two", "t0") == world.expected("t0")
    assert world.held("one", "t0") == {}
    run_sync(world.of("one"))
    assert world.held("one", "t0") == world.expected("t0")


def test_a_slow_sink_gives_back_the_right_to_capture_before_it_has_merged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = SharedWorld(tmp_path)
    table = world.source.create("t0")
    for sink in SINKS:
        run_snapshot(world.of(sink), table)
    world.source.commit((table, 1, (1, "a")))
    go_on, merging = threading.Event(), threading.Event()
    apply_pending = pending.apply_pending

    def slow(pipeline: Any, *rest: Any) -> Any:
        if pipeline.name == "p__one":
            merging.set()
            assert go_on.wait(30)
        return apply_pending(pipeline, *rest)

    monkeypatch.setattr(pending, "apply_pending", slow)
    one = threading.Thread(target=run_sync, args=(world.of("one"),))
    one.start()
    assert merging.wait(30)
    world.source.commit((table, 2, (2, "b")))
    run_sync(world.of("two"))
    assert world.held("two", "t0") == {1: "a", 2: "b"}
    with pytest.raises(LeaseHeld, match="merge:p__one"):
        run_sync(world.of("one"))
    go_on.set()
    one.join()
    assert world.held("one", "t0") == {1: "a"}


def test_a_sink_added_later_takes_new_tables_from_the_log_and_old_ones_from_a_snapshot(
    tmp_path: Path,
) -> None:
    world = SharedWorld(tmp_path, ["one"])
    old = world.source.create("t0")
    run_snapshot(world.of("one"), old)
    world.source.commit((old, 1, (1, "a")))
    new = world.source.create("t1")
    made = Event(new, notice="create", rewrites=False, shape=scripted_schema(new))
    world.source.commit(notice=made)
    world.source.commit((new, 1, (1, "x")), (new, 2, (2, POISON)))
    run_sync(world.of("one"))
    world.sinks.append("two")
    reports = run_sync(world.of("two")).tables
    assert (reports[old].outcome, reports[new].outcome) == ("waiting", "applied")
    assert world.held("two", "t1") == world.held("one", "t1") == {1: "x"}
    assert world.of("two").dirty.count_open(new) == 1, "a row that is in no log"
    run_snapshot(world.of("two"), old)
    world.source.commit((old, 2, (2, "b")), (new, 1, None))
    for sink in SINKS:
        run_sync(world.of(sink))
    assert world.held("two", "t0") == world.held("one", "t0") == world.expected("t0")
    assert world.held("two", "t1") == {}


def test_a_row_that_cannot_be_decoded_is_set_aside_for_every_sink(tmp_path: Path) -> None:
    world = SharedWorld(tmp_path)
    table = world.source.create("t0")
    for sink in SINKS:
        run_snapshot(world.of(sink), table)
    world.source.commit((table, 1, (1, POISON)), (table, 2, (2, "b")))
    for sink in SINKS:
        run_sync(world.of(sink))
    assert [world.of(sink).dirty.count_open(table) for sink in SINKS] == [1, 1]
    world.source.poison = False
    replay_dirty(world.of("two"))
    assert [world.of(sink).dirty.count_open(table) for sink in SINKS] == [1, 0]
