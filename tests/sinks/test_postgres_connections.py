"""How many connections the PostgreSQL sink has open, and what it does with them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import pytest

from resources.errors import (
    TerminalError,
)
from resources.sinks.contract import TargetId, TargetTable
from tests.contracts.sink_shared_steps import SHARED
from tests.contracts.sink_steps import FEED, SCHEMA, TARGET, fence, keys_of, load, rows_of
from tests.sinks.postgres_room import Room
from tests.sinks.postgres_room import room as room
from tests.threads import in_threads

OURS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cdc-assets'"


@contextmanager
def watched(room: Room) -> Iterator[list[int]]:
    """Ask the server again and again how many connections are ours."""
    seen: list[int] = []
    done = threading.Event()

    def watch() -> None:
        with room.connect("postgres") as connection:
            while not done.is_set():
                seen.append(connection.execute(OURS).fetchone()[0])  # type: ignore[index]

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def test_never_a_fifth_connection(room: Room, request: pytest.FixtureRequest) -> None:
    """Nine sinks load and merge at the same time within a budget of four."""
    name = request.node.name
    room.database(name)

    def work(number: int) -> None:
        target = TargetTable(TargetId("shop", f"t{number}"), SCHEMA)
        with room.sink(name, max_connections=4) as sink:
            load(sink, target, "a", [rows_of({1: "one"}), rows_of({2: "two"})], fence(None, 1))
            for seq in range(1, 4):
                sink.merge(target, rows_of({seq: str(number)}), keys_of(), fence(seq, seq + 1))

    with watched(room) as seen:
        assert in_threads(*(lambda n=n: work(n) for n in range(9))) == []  # type: ignore[misc]
    assert max(seen) <= 4
    assert max(seen) > 1
    with room.sink(name) as sink:
        marks = sink.list_watermarks(FEED.pipeline)
    assert [m.seq for m in marks.values()] == [4] * 9
    counts = " UNION ALL ".join(f"SELECT count(*) FROM shop.t{n}" for n in range(9))
    assert room.run(room.database(name), counts) == [(3,)] * 9


def test_one_sink_may_be_used_by_several_threads(
    room: Room, request: pytest.FixtureRequest
) -> None:
    with room.sink(request.node.name, max_connections=3) as sink:

        def work(number: int) -> None:
            target = TargetTable(TargetId("shop", f"t{number}"), SCHEMA)
            load(sink, target, "a", [rows_of({number: "x"})], fence(None, 1))
            sink.merge(target, rows_of({-1: "y"}), keys_of(number), fence(1, 2))

        with watched(room) as seen:
            assert in_threads(*(lambda n=n: work(n) for n in range(6))) == []  # type: ignore[misc]
        assert max(seen) <= 3
        assert [sink.count_rows(TargetId("shop", f"t{n}")) for n in range(6)] == [1] * 6


def test_the_least_budget_asked_for_holds(room: Room, request: pytest.FixtureRequest) -> None:
    name = request.node.name
    with room.sink(name, max_connections=9) as many, room.sink(name, max_connections=1) as one:
        one.create_table(TARGET)
        sinks = [many, one, many.__class__(room.url(room.database(name)), max_connections=5)]
        with watched(room) as seen:
            reads = [lambda s=s: [s.count_rows(TARGET.id) for _ in range(20)] for s in sinks]
            assert in_threads(*reads) == []  # type: ignore[arg-type]
        sinks[2].close()
    assert max(seen) == 1


def test_a_connection_of_another_database_is_given_up(
    room: Room, request: pytest.FixtureRequest
) -> None:
    name = request.node.name
    with (
        room.sink(name, max_connections=1) as here,
        room.sink(f"{name}2", max_connections=1) as there,
    ):
        for _ in range(3):
            here.create_table(TARGET)
            there.create_table(SHARED)
        assert here.read_schema(SHARED.id) is None
        assert there.read_schema(SHARED.id) is not None


def test_a_call_within_a_call_does_not_wait_for_itself(
    room: Room, request: pytest.FixtureRequest
) -> None:
    with room.sink(request.node.name, max_connections=1) as sink:
        sink.begin_load(TARGET, "a", FEED)

        def parts() -> Iterator[pa.Table]:
            yield rows_of({1: "one"})
            sink.count_rows(TARGET.id)

        with pytest.raises(TerminalError, match="from within a call"):
            sink.load_chunk(TARGET, "a", 1, parts())
        assert sink.load_chunk(TARGET, "a", 1, [rows_of({1: "one"})]) == 1


def test_a_closed_sink_leaves_no_connection(room: Room, request: pytest.FixtureRequest) -> None:
    sink = room.sink(request.node.name)
    sink.create_table(TARGET)
    sink.close()
    while room.run("postgres", OURS) != [(0,)]:  # the server takes a moment to notice
        room.run("postgres", "SELECT pg_sleep(0.01)")
    assert sink.count_rows(TARGET.id) == 0
    sink.close()
