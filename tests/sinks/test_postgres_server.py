"""The PostgreSQL sink and its server: budgets of connections, races, failures and rights."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pytest

from resources.errors import (
    CdcError,
    ConfigError,
    DirtyRowError,
    FencedOut,
    SinkUnavailable,
    TerminalError,
)
from resources.model.table import TableId
from resources.sinks.contract import Feed, Fence, TargetId, TargetTable, Watermark
from resources.sinks.postgres import PostgresSink
from tests.contracts.sink_shared_steps import NORTH, SHARED, SOUTH, shared_rows
from tests.contracts.sink_steps import FEED, SCHEMA, STEPS, TARGET, fence, keys_of, load, rows_of
from tests.docs.pages import marked
from tests.servers.postgres import PostgresServer
from tests.sinks.postgres_room import Room
from tests.sinks.postgres_room import room as room
from tests.strategies import comparable

OURS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cdc-assets'"


def in_threads(*work: Callable[[], None]) -> list[BaseException]:
    """Do everything at the same time; what went wrong."""
    start = threading.Barrier(len(work))
    errors: list[BaseException] = []

    def run(one: Callable[[], None]) -> None:
        start.wait()
        try:
            one()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


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


def test_server_that_is_not_there() -> None:
    with (
        PostgresSink("postgresql://u:canary@127.0.0.1:1/db") as sink,
        pytest.raises(SinkUnavailable, match="no connection") as caught,
    ):
        sink.create_table(TARGET)
    assert "canary" not in str(caught.value)


def test_server_that_does_not_let_us_in(room: Room) -> None:
    for url in (
        room.url("postgres", password="canary"),
        room.url("no_such_database"),
        room.url("postgres") + "?sslmode=require",
    ):
        with PostgresSink(url) as sink, pytest.raises(ConfigError, match="let us in") as caught:
            sink.read_schema(TARGET.id)
        assert "canary" not in str(caught.value)
        assert room.server.password not in str(caught.value)


def test_addresses_that_cannot_be_read() -> None:
    for url in ("postgresql://u:canary@h/db?nonsense=1", "nonsense"):
        with pytest.raises(ConfigError, match="cannot be read") as caught:
            PostgresSink(url)
        assert "canary" not in str(caught.value)
    for bad in ({"family": "oracle"}, {"max_connections": 0}):
        with pytest.raises(ConfigError):
            PostgresSink("postgresql://h/db", **bad)  # type: ignore[arg-type]


def test_databases_of_another_encoding_are_refused(room: Room) -> None:
    room.run(
        "postgres",
        "DROP DATABASE IF EXISTS latin",
        "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0",
    )
    with PostgresSink(room.url("latin")) as sink, pytest.raises(ConfigError, match="UTF8"):
        sink.create_table(TARGET)


def test_the_server_is_started_again_meanwhile(
    room: Room, postgres: PostgresServer, request: pytest.FixtureRequest
) -> None:
    with room.sink(request.node.name) as sink:
        STEPS["merge"].prepare(sink)
        postgres.kill()
        with pytest.raises(SinkUnavailable):
            STEPS["merge"].work(sink)
        postgres.start()
        STEPS["merge"].work(sink)
        left = rows_of({2: "TWO", 3: None, 4: "four"})
        assert comparable(sink.read_table(TARGET.id)) == comparable(left)


def test_a_connection_that_is_lost_in_the_middle(
    room: Room, request: pytest.FixtureRequest
) -> None:
    ends = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'cdc-assets'"
    )

    def parts() -> Iterator[pa.Table]:
        yield rows_of({1: "one"})
        room.run("postgres", ends)
        yield rows_of({2: "two"})

    with room.sink(request.node.name) as sink:
        sink.begin_load(TARGET, "a", FEED)
        with pytest.raises(SinkUnavailable):
            sink.load_chunk(TARGET, "a", 1, parts())
        assert sink.loaded_chunks(TARGET.id, "a") == {}
        assert sink.load_chunk(TARGET, "a", 1, [rows_of({1: "one", 2: "two"})]) == 2
        assert sink.finish_load(TARGET, "a", fence(None, 5), 5) == 2


RAISED: list[tuple[str, type[CdcError], str]] = [
    ("53100", SinkUnavailable, "free disk space"),
    ("53300", SinkUnavailable, "max_connections"),
    ("40P01", SinkUnavailable, "run again"),
    ("40001", SinkUnavailable, "run again"),
    ("57014", SinkUnavailable, "run again"),
    ("25006", SinkUnavailable, "primary"),
    ("58030", SinkUnavailable, "log"),
    ("22003", DirtyRowError, ""),
    ("23514", DirtyRowError, ""),
    ("42501", ConfigError, "grant"),
    ("XX000", TerminalError, ""),
]


@pytest.mark.parametrize(("code", "kind", "remedy"), RAISED, ids=[r[0] for r in RAISED])
def test_errors_of_the_server(
    room: Room, request: pytest.FixtureRequest, code: str, kind: type[CdcError], remedy: str
) -> None:
    """A full disk and a deadlock come as codes; here a trigger raises them."""
    name = request.node.name
    with room.sink(name) as sink:
        STEPS["merge"].prepare(sink)
        room.run(
            room.database(name),
            "CREATE FUNCTION shop.f() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE 'said' USING ERRCODE = '{code}'; END $$",
            "CREATE TRIGGER t BEFORE INSERT ON shop.orders EXECUTE FUNCTION shop.f()",
        )
        with pytest.raises(kind) as caught:
            STEPS["merge"].work(sink)
        assert remedy in caught.value.remedy
        room.run(room.database(name), "DROP TRIGGER t ON shop.orders")
        STEPS["merge"].work(sink)
        assert sink.count_rows(TARGET.id) == 3


def test_a_lock_of_another_session_is_not_waited_for_forever(
    room: Room, request: pytest.FixtureRequest
) -> None:
    name = request.node.name
    with room.sink(name, lock_timeout=0.1) as sink:
        STEPS["merge"].prepare(sink)
        with room.connect(room.database(name)) as other, other.transaction():
            other.execute("LOCK TABLE shop.orders")
            with pytest.raises(SinkUnavailable, match="LockNotAvailable") as caught:
                STEPS["merge"].work(sink)
        assert "lock_timeout" in caught.value.remedy
        STEPS["merge"].work(sink)


def test_rights_that_are_missing(room: Room, request: pytest.FixtureRequest) -> None:
    name = request.node.name
    database = room.database(name)
    room.run("postgres", "DROP ROLE IF EXISTS writer", "CREATE ROLE writer LOGIN PASSWORD 'pw'")

    def sink() -> PostgresSink:
        return PostgresSink(room.url(database, "writer", "pw"))

    def refused(work: Callable[[PostgresSink], Any]) -> None:
        with sink() as one, pytest.raises(ConfigError, match="may not") as caught:
            work(one)
        assert "grant" in caught.value.remedy

    room.run(database, "DROP SCHEMA IF EXISTS _cdc CASCADE")
    refused(lambda s: s.create_table(TARGET))
    room.run(database, f"GRANT CREATE ON DATABASE {database} TO writer")
    with sink() as first:
        STEPS["merge"].prepare(first)
    room.run(database, f"REVOKE CREATE, TEMPORARY ON DATABASE {database} FROM writer, public")
    refused(STEPS["merge"].work)
    room.run(database, f"GRANT TEMPORARY ON DATABASE {database} TO writer")
    room.run(database, "ALTER TABLE shop.orders OWNER TO postgres")
    refused(STEPS["merge"].work)
    room.run(database, "GRANT SELECT, INSERT, UPDATE, DELETE ON shop.orders TO writer")
    with sink() as last:  # nothing is created any more: what was granted is enough
        STEPS["merge"].work(last)
        load(last, TARGET, "again", [rows_of({1: "one"})], fence(20, 30))
        assert last.count_rows(TARGET.id) == 1
    room.run(database, "DROP OWNED BY writer CASCADE")
    room.run("postgres", "DROP ROLE writer")
    room.run(database, "DROP SCHEMA IF EXISTS _cdc CASCADE")
    with room.sink(name) as again:
        again.drop_table(TARGET.id)


def test_the_documented_grants_suffice(room: Room, request: pytest.FixtureRequest) -> None:
    database = room.database(request.node.name)
    room.run(database, "DROP SCHEMA IF EXISTS _cdc CASCADE", "DROP USER IF EXISTS cdc")
    (grants,) = marked("docs/postgres.md", "grants")
    room.run(database, *grants.replace("lake", database).strip().split("\n"))
    with PostgresSink(room.url(database, "cdc", "secret")) as sink:
        assert sink.check_table(TARGET) == []
        for step in ("merge", "alter"):
            STEPS[step].prepare(sink)
            STEPS[step].work(sink)
            sink.drop_table(TARGET.id)
    room.run(database, "DROP OWNED BY cdc CASCADE", "DROP USER cdc")
    with room.sink(request.node.name) as sink:
        sink.drop_table(TARGET.id)


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
