"""A PostgreSQL server that is away, refuses, fails or grants too little: what the sink says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest

from resources.errors import (
    CdcError,
    ConfigError,
    DirtyRowError,
    SinkUnavailable,
    TerminalError,
)
from resources.sinks.postgres import PostgresSink
from tests.contracts.sink_steps import FEED, STEPS, TARGET, fence, load, rows_of
from tests.docs.pages import marked
from tests.servers.postgres import PostgresServer
from tests.sinks.postgres_room import Room
from tests.sinks.postgres_room import room as room
from tests.strategies import comparable


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
