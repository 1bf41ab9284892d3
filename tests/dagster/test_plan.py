"""The sensors' decisions, without Dagster and without a server."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from sensors.plan import (
    FIRST_RETRY_SECONDS,
    LONGEST_RETRY_SECONDS,
    SINGLE_PARTITIONS,
    UNREACHABLE_TICKS,
    Cursor,
    LastRun,
    RunState,
    plan_snapshots,
    plan_sync,
    plan_unreachable,
    read_cursor,
)

states = st.sampled_from(["none", "in_flight", "succeeded", "failed"])
cursors = st.builds(
    Cursor,
    st.sampled_from(["", "a:1", "a:2"]),
    st.integers(0, 9),
    st.integers(0, 9),
    st.integers(0, 9),
)


def runs(*states: RunState, ended: float = 0.0) -> dict[str, LastRun]:
    return {f"p{i}": LastRun(state, ended) for i, state in enumerate(states)}


def test_a_moved_position_asks_once_per_pipeline() -> None:
    plan = plan_sync("db", "a:2", runs("none", "succeeded"), Cursor("a:1", 3), 0)
    assert [ask.pipeline for ask in plan.asks] == ["p0", "p1"]
    assert plan.cursor == Cursor("a:2", 4)
    again = plan_sync("db", "a:2", runs("succeeded", "succeeded"), plan.cursor, 0)
    assert not again.asks
    assert "still at a:2" in again.skip


def test_a_run_in_flight_of_any_pipeline_of_the_server_skips_and_says_the_lag() -> None:
    plan = plan_sync("db", "a:9", runs("in_flight", "succeeded"), Cursor("a:1", 1), 0)
    assert not plan.asks
    assert "p0" in plan.skip
    assert "a:9" in plan.skip
    assert plan.cursor.position == "a:1"


def test_the_same_tick_evaluated_twice_asks_for_the_same_runs() -> None:
    first = plan_sync("db", "a:2", runs("none"), Cursor(), 0)
    second = plan_sync("db", "a:2", runs("none"), Cursor(), 0)
    assert first == second


def test_a_failed_run_is_asked_for_again_under_a_new_key_later_and_later() -> None:
    cursor = plan_sync("db", "a:2", runs("none"), Cursor(), 0).cursor
    keys: set[str] = set()
    pauses: list[float] = []
    for _ in range(10):
        pause = 0.0
        while not (plan := plan_sync("db", "a:2", runs("failed"), cursor, pause)).asks:
            pause += FIRST_RETRY_SECONDS
        pauses.append(pause)
        keys.add(plan.asks[0].key)
        cursor = plan.cursor
    assert len(keys) == 10
    assert pauses == sorted(pauses)
    assert pauses[0] == FIRST_RETRY_SECONDS
    assert pauses[-1] == LONGEST_RETRY_SECONDS


def test_only_the_failed_pipeline_runs_again_while_the_position_stays() -> None:
    plan = plan_sync("db", "a:2", runs("failed", "succeeded"), Cursor("a:2", 1), 1e9)
    assert [ask.pipeline for ask in plan.asks] == ["p0"]


def test_a_failing_pipeline_is_not_hurried_by_a_busy_server() -> None:
    plan = plan_sync("db", "a:3", runs("failed", ended=100.0), Cursor("a:2", 1, 3), 101.0)
    assert not plan.asks
    assert "failed" in plan.skip


@given(st.lists(states, min_size=1, max_size=3), cursors, st.sampled_from(["a:1", "a:2"]))
def test_a_plan_asks_or_says_why_not(found: list[RunState], cursor: Cursor, position: str) -> None:
    plan = plan_sync("db", position, runs(*found), cursor, 1e9)
    assert bool(plan.asks) != bool(plan.skip)
    assert plan.cursor.unreachable == 0
    assert plan.cursor.epoch == cursor.epoch + bool(plan.asks)
    if "in_flight" in found:
        assert not plan.asks


@given(cursors)
def test_a_cursor_reads_back_and_stays_small(cursor: Cursor) -> None:
    assert read_cursor(cursor.to_text()) == cursor
    assert len(cursor.to_text()) < 120


@given(st.one_of(st.none(), st.text(), st.sampled_from(["[]", "{}", "1", '{"epoch":"x"}'])))
def test_anything_else_counts_as_no_cursor(text: str | None) -> None:
    assert isinstance(read_cursor(text), Cursor)


def test_an_unreachable_server_skips_and_then_fails_until_it_is_back() -> None:
    cursor = Cursor("a:1", 2)
    for _ in range(UNREACHABLE_TICKS):
        plan = plan_unreachable(cursor, "gone")
        assert plan is not None
        assert plan.skip == "gone"
        cursor = plan.cursor
    assert plan_unreachable(cursor, "gone") is None
    assert replace(cursor, unreachable=0) == Cursor("a:1", 2)


def test_new_tables_get_a_run_each_or_one_for_all() -> None:
    few = plan_snapshots("p", ["d.a", "d.b"], "none", Cursor())
    assert [ask.partition for ask in few.asks] == ["d.a", "d.b"]
    many = plan_snapshots("p", [f"d.{i}" for i in range(SINGLE_PARTITIONS + 1)], "none", Cursor())
    assert [ask.partition for ask in many.asks] == [""]
    assert not plan_snapshots("p", ["d.a"], "in_flight", Cursor()).asks
    assert not plan_snapshots("p", [], "none", Cursor()).asks
