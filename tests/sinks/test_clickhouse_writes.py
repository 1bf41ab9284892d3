"""Writes into ClickHouse that come twice, late, or after a table was put in another's place."""

from __future__ import annotations

from typing import Any

import pytest

from resources.errors import FencedOut, TerminalError
from resources.sinks.clickhouse import ClickHouseSink
from resources.sinks.contract import TargetTable, Watermark
from tests.contracts.sink_steps import (
    FEED,
    HISTORY,
    STEPS,
    TARGET,
    changes_of,
    fence,
    keys_of,
    load,
    rows_of,
)
from tests.sinks.clickhouse_room import Room
from tests.sinks.clickhouse_room import room as room
from tests.sinks.clickhouse_room import sink as sink
from tests.strategies import comparable


def test_a_retried_insert_does_nothing_twice(sink: ClickHouseSink, room: Room) -> None:
    """The same part of the log with the same rows is one insert, however often it comes."""
    STEPS["append"].prepare(sink)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="lost"):
            _without_watermark(sink, lambda: STEPS["append"].work(sink))
    parts = "SELECT sum(rows) FROM system.parts WHERE active AND table = 'orders_log'"
    assert room.rows(parts) == [(5,)]
    STEPS["append"].work(sink)
    assert room.rows(parts) == [(5,)]
    sink.create_table(TARGET)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="lost"):
            _without_watermark(
                sink, lambda: sink.merge(TARGET, rows_of({1: "a"}), keys_of(2), fence(None, 5))
            )
    parts = parts.replace("orders_log", "orders")
    assert room.rows(parts) == [(2,)]


def _without_watermark(sink: ClickHouseSink, work: Any) -> None:
    run = sink._server.run

    def lost(statement: str, where: str) -> None:
        if "INSERT INTO _cdc.watermarks" in statement:
            raise RuntimeError("lost")
        run(statement, where)

    sink._server.run = lost  # type: ignore[method-assign]
    try:
        work()
    finally:
        sink._server.run = run  # type: ignore[method-assign]


def test_leftovers_of_a_killed_append_are_not_written_twice(
    sink: ClickHouseSink, room: Room
) -> None:
    """Also where the run after the crash cuts the log into other batches."""
    STEPS["append"].prepare(sink)
    with pytest.raises(RuntimeError, match="lost"):
        _without_watermark(sink, lambda: STEPS["append"].work(sink))
    sink.append(HISTORY, changes_of(11, ["c", "c", "d", "e"]), fence(10, 30))
    seqs = [seq for (seq,) in room.rows("SELECT _cdc_seq FROM shop.orders_log ORDER BY 1")]
    assert seqs == [1, 2, 11, 12, 13, 14]


def test_rows_set_aside_may_come_and_go_at_one_watermark(sink: ClickHouseSink) -> None:
    """A replay of a dirty row does not move the watermark; equal inserts are not taken for one."""
    STEPS["merge"].prepare(sink)
    for name in ("a", "b", "a"):
        sink.merge(TARGET, rows_of({1: name}), keys_of(), fence(10, 10))
        assert {"id": 1, "name": name} in sink.read_table(TARGET.id).to_pylist()


def test_a_stale_writer_that_comes_late_changes_nothing(sink: ClickHouseSink, room: Room) -> None:
    """It read the watermark before another run moved on; its rows are older than those there."""
    STEPS["merge"].prepare(sink)
    with ClickHouseSink(room.folder) as stale:
        fenced = stale._fenced

        def late(target: TargetTable, at: Any) -> Any:
            read = fenced(target, at)
            sink.merge(TARGET, rows_of({1: "new"}), keys_of(2), fence(10, 30, token=2))
            return read

        stale._fenced = late  # type: ignore[method-assign]
        with pytest.raises(FencedOut, match="meanwhile"):
            stale.merge(TARGET, rows_of({1: "old", 2: "old"}), keys_of(), fence(10, 20, token=1))
    assert comparable(sink.read_table(TARGET.id)) == comparable(rows_of({1: "new", 3: None}))
    assert sink.read_watermark(TARGET.id, FEED) == Watermark(30, 15, 2)


def test_a_table_put_in_its_place_by_hand_has_no_watermark(
    sink: ClickHouseSink, room: Room
) -> None:
    """A watermark speaks of one table, not of a name: what a person put there is loaded again."""
    STEPS["merge"].prepare(sink)
    room.run("CREATE TABLE shop.mine AS shop.orders", "EXCHANGE TABLES shop.mine AND shop.orders")
    assert sink.read_watermark(TARGET.id, FEED) is None
    assert sink.list_watermarks(FEED.pipeline) == {}
    room.run("EXCHANGE TABLES shop.mine AND shop.orders")
    assert sink.read_watermark(TARGET.id, FEED) == Watermark(10, 15, 1)


def test_a_load_may_have_the_id_of_one_that_was_dropped(sink: ClickHouseSink) -> None:
    for rows in ({1: "one"}, {2: "two"}):
        sink.begin_load(TARGET, "a", FEED)
        sink.load_chunk(TARGET, "a", 1, [rows_of({9: "given up"})])
        sink.abandon_load(TARGET.id, "a")
        assert load(sink, TARGET, "a", [rows_of(rows)], fence(None, 10)) == 1
        assert comparable(sink.read_table(TARGET.id)) == comparable(rows_of(rows))
        sink.drop_table(TARGET.id)


def test_a_load_that_another_run_ended_takes_no_more_chunks(
    sink: ClickHouseSink, room: Room
) -> None:
    """A writer that has read what is in does not read it again for every chunk."""
    for load_id, ended in (("a", "dropped"), ("b", "finished"), ("c", "replaced")):
        sink.begin_load(TARGET, load_id, FEED)
        sink.load_chunk(TARGET, load_id, 1, [rows_of({1: "one"})])
        with ClickHouseSink(room.folder) as other:
            if ended == "dropped":
                other.abandon_load(TARGET.id, load_id)
            elif ended == "finished":
                other.finish_load(TARGET, load_id, fence(None, 10), 10)
            else:
                other.begin_load(TARGET, "d", FEED)
        with pytest.raises(TerminalError, match="not begun, is finished"):
            sink.load_chunk(TARGET, load_id, 2, [rows_of({2: "two"})])
    assert comparable(sink.read_table(TARGET.id)) == comparable(rows_of({1: "one"}))
