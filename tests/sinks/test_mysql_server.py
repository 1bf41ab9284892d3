"""A MySQL server that is away, refuses, fails or grants too little: what the sink says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pymysql
import pytest

from resources.errors import (
    CdcError,
    ConfigError,
    DirtyRowError,
    FencedOut,
    SinkUnavailable,
    TerminalError,
)
from resources.sinks.mysql import MySQLSink
from resources.sinks.mysql_errors import translate
from tests.contracts.sink_shared_steps import NORTH, SHARED, SOUTH, shared_rows
from tests.contracts.sink_steps import FEED, HISTORY, STEPS, TARGET, fence, keys_of, load, rows_of
from tests.sinks.mysql_room import MySQLRoom
from tests.sinks.mysql_room import mysql_room as mysql_room
from tests.strategies import comparable
from tests.threads import in_threads


@pytest.fixture
def room(mysql_room: MySQLRoom) -> MySQLRoom:
    return mysql_room


def test_server_that_is_not_there() -> None:
    with (
        MySQLSink("127.0.0.1", port=1, user="u", password="canary", tls="off") as sink,
        pytest.raises(SinkUnavailable, match="no connection") as caught,
    ):
        sink.create_table(TARGET)
    assert "canary" not in str(caught.value)


def test_settings_that_cannot_be() -> None:
    for bad in ({"max_connections": 0}, {"types": {"text": "varchar"}}, {"host": ""}):
        with pytest.raises(ConfigError):
            MySQLSink(**bad)


def test_the_server_is_started_again_meanwhile(
    room: MySQLRoom, request: pytest.FixtureRequest
) -> None:
    with room.sink(request.node.name) as sink:
        STEPS["merge"].prepare(sink)
        room.server.kill()
        with pytest.raises(SinkUnavailable):
            STEPS["merge"].work(sink)
        room.server.start()
        STEPS["merge"].work(sink)
        left = rows_of({2: "TWO", 3: None, 4: "four"})
        assert comparable(sink.read_table(TARGET.id)) == comparable(left)


def test_a_connection_that_is_lost_in_the_middle(
    room: MySQLRoom, request: pytest.FixtureRequest
) -> None:
    def parts() -> Iterator[pa.Table]:
        yield rows_of({1: "one"})
        for number, *_ in room.run("SHOW PROCESSLIST"):
            if number != room.run("SELECT CONNECTION_ID()")[0][0]:
                try_kill(room, number)
        yield rows_of({2: "two"})

    with room.sink(request.node.name) as sink:
        sink.begin_load(TARGET, "a", FEED)
        with pytest.raises(SinkUnavailable):
            sink.load_chunk(TARGET, "a", 1, parts())
        assert sink.loaded_chunks(TARGET.id, "a") == {}
        assert sink.load_chunk(TARGET, "a", 1, [rows_of({1: "one", 2: "two"})]) == 2
        assert sink.finish_load(TARGET, "a", fence(None, 5), 5) == 2


def try_kill(room: MySQLRoom, number: int) -> None:
    """End a session if it is still there; those of the server itself cannot be ended."""
    found = room.run(
        "SELECT 1 FROM information_schema.processlist "
        f"WHERE id = {number} AND user = '{room.server.user}'"
    )
    if found:
        room.run(f"KILL {number}")


MEANT: list[tuple[int, type[CdcError], str]] = [
    (1021, SinkUnavailable, "free disk space"),
    (1114, SinkUnavailable, "free disk space"),
    (4030, SinkUnavailable, "memory"),
    (4184, SinkUnavailable, "free disk space"),
    (1040, SinkUnavailable, "runs"),
    (1213, SinkUnavailable, "run again"),
    (1205, SinkUnavailable, "lock_timeout"),
    (1290, SinkUnavailable, "primary"),
    (1142, ConfigError, "GRANT"),
    (1264, DirtyRowError, ""),
    (3819, DirtyRowError, ""),
    (1064, TerminalError, ""),
]


@pytest.mark.parametrize(("code", "kind", "remedy"), MEANT, ids=[str(m[0]) for m in MEANT])
def test_errors_of_the_server(code: int, kind: type[CdcError], remedy: str) -> None:
    error = translate(pymysql.err.OperationalError(code, "value 'canary' at row 1"), "shop.orders")
    assert type(error) is kind
    assert remedy in error.remedy
    assert "canary" not in str(error) or kind is ConfigError


def test_a_lock_of_another_session_is_not_waited_for_forever(
    room: MySQLRoom, request: pytest.FixtureRequest
) -> None:
    with room.sink(request.node.name, lock_timeout=1) as sink:
        STEPS["merge"].prepare(sink)
        with room.server.connect() as other, other.cursor() as cursor:
            cursor.execute("LOCK TABLES shop.orders WRITE")
            with pytest.raises(SinkUnavailable) as caught:
                STEPS["merge"].work(sink)
            assert "lock_timeout" in caught.value.remedy
        STEPS["merge"].work(sink)


def test_servers_that_take_no_files_get_rows_by_values(
    room: MySQLRoom, request: pytest.FixtureRequest
) -> None:
    room.run("SET GLOBAL local_infile = OFF")
    try:
        with room.sink(request.node.name) as sink:
            for step in ("merge", "append"):
                STEPS[step].prepare(sink)
                STEPS[step].work(sink)
            rows = rows_of({i: "\\'\0\t\n%s" * i for i in range(3000)})
            load(sink, TARGET, "values", [rows], fence(20, 30))
            assert comparable(sink.read_table(TARGET.id)) == comparable(rows)
    finally:
        room.run("SET GLOBAL local_infile = ON")


def test_a_server_that_asks_for_a_file_gets_none(
    room: MySQLRoom, request: pytest.FixtureRequest
) -> None:
    """Only rows from memory are sent, and only in answer to the sink's own LOAD DATA."""
    with room.sink(request.node.name) as sink:
        sink.create_table(TARGET)
        with pytest.raises(ConfigError):
            sink.execute(["LOAD DATA LOCAL INFILE '/etc/hostname' INTO TABLE shop.orders (name)"])
        with pytest.raises(TerminalError, match="2027"), sink._database.session("") as session:
            session.query("LOAD DATA LOCAL INFILE '/etc/hostname' INTO TABLE shop.orders (name)")
        assert sink.count_rows(TARGET.id) == 0


def test_tables_without_a_key_where_every_table_needs_one(
    room: MySQLRoom, request: pytest.FixtureRequest
) -> None:
    with room.sink(request.node.name) as sink:
        room.run("SET GLOBAL sql_require_primary_key = ON")
        try:
            with pytest.raises(ConfigError, match="sql_require_primary_key"):
                sink.create_table(HISTORY)
            room.run("SET GLOBAL sql_generate_invisible_primary_key = ON")
        finally:
            room.run("SET GLOBAL sql_require_primary_key = OFF")
    with room.sink(request.node.name) as sink:
        STEPS["append"].prepare(sink)
        room.run("SET GLOBAL sql_generate_invisible_primary_key = OFF")
        assert sink.check_table(HISTORY) == []
        STEPS["append"].work(sink)
        assert sink.count_rows(HISTORY.id) == 5


def test_two_writers_race_and_one_wins(room: MySQLRoom, request: pytest.FixtureRequest) -> None:
    name = request.node.name

    def race(mark: int | None, new: int) -> list[str]:
        results: list[str] = []

        def write(who: str) -> None:
            with room.sink(name) as sink:
                try:
                    sink.merge(TARGET, rows_of({new: who}), keys_of(), fence(mark, new))
                    results.append("won")
                except FencedOut:
                    results.append("lost")

        assert in_threads(lambda: write("first"), lambda: write("second")) == []
        return sorted(results)

    with room.sink(name) as sink:
        sink.create_table(TARGET)
        for mark, new in enumerate(range(1, 6)):
            assert race(mark or None, new) == ["lost", "won"]
            assert sink.count_rows(TARGET.id) == new


def test_feeds_race_for_a_key_and_one_has_it(
    room: MySQLRoom, request: pytest.FixtureRequest
) -> None:
    name = request.node.name
    for key in range(1, 4):
        lost: list[object] = []

        def write(feed: Any, key: int = key, lost: list[object] = lost) -> None:
            with room.sink(name) as sink:
                sink.create_table(SHARED)
                mark = sink.read_watermark(SHARED.id, feed)
                at = fence(mark.seq if mark else None, key, 1, feed)
                try:
                    sink.merge(SHARED, shared_rows(feed, {key: "x"}), keys_of(), at)
                except DirtyRowError:
                    lost.append(feed)

        assert in_threads(lambda: write(NORTH), lambda: write(SOUTH)) == []
        assert len(lost) == 1


def test_readers_see_a_load_whole_or_not_at_all(
    room: MySQLRoom, request: pytest.FixtureRequest
) -> None:
    with room.sink(request.node.name) as sink:
        STEPS["merge"].prepare(sink)
        seen: set[int] = set()
        done = threading.Event()

        def read() -> None:
            with room.server.connect() as connection, connection.cursor() as cursor:
                while not done.is_set():
                    cursor.execute("SELECT COUNT(*) FROM shop.orders")
                    seen.add(cursor.fetchone()[0])

        def write() -> None:
            try:
                for turn in range(1, 4):
                    rows = rows_of(dict.fromkeys(range(turn * 100), "x"))
                    load(sink, TARGET, f"load {turn}", [rows], fence(10, 20))
            finally:
                done.set()

        assert in_threads(read, write) == []
    assert seen <= {3, 100, 200, 300}


def test_never_a_fifth_connection(room: MySQLRoom, request: pytest.FixtureRequest) -> None:
    """Six sinks merge at the same time within a budget of two."""
    name = request.node.name
    seen: list[int] = []
    done = threading.Event()
    room.enter(name)

    def watch() -> None:
        with room.server.connect() as connection, connection.cursor() as cursor:
            while not done.is_set():
                cursor.execute(
                    "SELECT COUNT(*) FROM information_schema.processlist WHERE db = '_cdc'"
                )
                seen.append(cursor.fetchone()[0])

    def work() -> None:
        with room.sink(name, max_connections=2) as sink:
            while not seen or not max(seen):
                sink.list_watermarks("p")
            for _ in range(5):
                sink.list_watermarks("p")

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        assert in_threads(*[work] * 6) == []
    finally:
        done.set()
        watcher.join()
    assert 0 < max(seen) <= 2
