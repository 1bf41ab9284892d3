"""Writers and readers of one PostgreSQL database at the same moment."""

from __future__ import annotations

import threading

import pytest

from resources.errors import (
    DirtyRowError,
    FencedOut,
)
from resources.model.table import TableId
from resources.sinks.contract import Feed, Fence, Watermark
from resources.sinks.postgres import PostgresSink
from tests.contracts.sink_shared_steps import NORTH, SHARED, SOUTH, shared_rows
from tests.contracts.sink_steps import FEED, STEPS, TARGET, fence, keys_of, load, rows_of
from tests.sinks.postgres_room import Room
from tests.sinks.postgres_room import room as room
from tests.threads import in_threads


def race(room: Room, place: str, mark: int | None, new: int) -> list[str]:
    results: list[str] = []

    def write(who: str) -> None:
        with room.sink(place) as sink:
            try:
                sink.merge(TARGET, rows_of({new: who}), keys_of(), fence(mark, new))
                results.append("won")
            except FencedOut:
                results.append("lost")

    assert in_threads(lambda: write("first"), lambda: write("second")) == []
    return sorted(results)


def test_two_writers_race_and_one_wins(room: Room, request: pytest.FixtureRequest) -> None:
    name = request.node.name
    with room.sink(name) as sink:
        sink.create_table(TARGET)
        for mark, new in enumerate(range(1, 9)):
            assert race(room, name, mark or None, new) == ["lost", "won"]
            assert sink.count_rows(TARGET.id) == new
        assert sink.read_watermark(TARGET.id, FEED) == Watermark(8, 0, 1)


def test_feeds_race_for_a_key_and_one_has_it(room: Room, request: pytest.FixtureRequest) -> None:
    name = request.node.name
    for key in range(1, 6):
        lost: list[Feed] = []

        def write(feed: Feed, key: int = key, lost: list[Feed] = lost) -> None:
            with room.sink(name) as sink:
                sink.create_table(SHARED)
                mark = sink.read_watermark(SHARED.id, feed)
                at = fence(mark.seq if mark else None, key, 1, feed)
                try:
                    sink.merge(SHARED, shared_rows(feed, {key: "x"}), keys_of(), at)
                except DirtyRowError:
                    lost.append(feed)
                    rows = shared_rows(feed, {key: "x"})
                    assert [r.index for r in sink.find_rejected(SHARED, rows)] == [0]

        assert in_threads(lambda: write(NORTH), lambda: write(SOUTH)) == []
        assert len(lost) == 1


def test_readers_see_a_load_whole_or_not_at_all(room: Room, request: pytest.FixtureRequest) -> None:
    name = request.node.name
    database = room.database(name)
    with room.sink(name) as sink:
        STEPS["merge"].prepare(sink)
        seen: set[int] = set()
        done = threading.Event()

        def read() -> None:
            with room.connect(database) as connection:
                while not done.is_set():
                    count = connection.execute("SELECT count(*) FROM shop.orders").fetchone()
                    seen.add(count[0])  # type: ignore[index]

        def write() -> None:
            try:
                for turn in range(1, 6):
                    rows = rows_of(dict.fromkeys(range(turn * 100), "x"))
                    load(sink, TARGET, f"load {turn}", [rows], fence(10, 20))
            finally:
                done.set()

        assert in_threads(read, write) == []
    assert seen <= {3, 100, 200, 300, 400, 500}


def test_each_process_may_make_the_ledger(room: Room, request: pytest.FixtureRequest) -> None:
    database = room.database(request.node.name)
    room.run(database, "DROP SCHEMA IF EXISTS _cdc CASCADE")

    def use() -> None:
        sink = PostgresSink(room.url(database), lock_timeout=60)
        feed = Feed("p", TableId("s", str(threading.get_ident())))
        sink.create_table(TARGET)
        sink.merge(TARGET, rows_of({}), keys_of(), Fence(feed, None, 1, 1))
        sink.close()

    assert in_threads(use, use, use, use) == []
    with room.sink(request.node.name) as sink:
        assert len(sink.list_watermarks("p")) == 4
