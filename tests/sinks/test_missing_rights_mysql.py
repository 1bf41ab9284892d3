"""Users of servers of the MySQL family who may not: MySQL in every run, the others nightly."""

from __future__ import annotations

import pytest

from resources.errors import ConfigError
from resources.sinks.mysql import MySQLSink
from tests.contracts.sink_steps import STEPS, TARGET, observe, rows_of
from tests.docs.pages import marked
from tests.sinks.mysql_room import MySQLRoom
from tests.sinks.mysql_room import mariadb_room as mariadb_room
from tests.sinks.mysql_room import mysql_room as mysql_room
from tests.sinks.mysql_room import oceanbase_room as oceanbase_room
from tests.strategies import comparable

NIGHTLY = pytest.mark.nightly
KINDS = ("mysql", pytest.param("mariadb", marks=NIGHTLY), pytest.param("oceanbase", marks=NIGHTLY))


@pytest.fixture(params=KINDS)
def room(request: pytest.FixtureRequest) -> MySQLRoom:
    """An empty server of each kind."""
    room: MySQLRoom = request.getfixturevalue(f"{request.param}_room")
    room.enter(request.node.name)
    return room


def at_host(room: MySQLRoom) -> str:
    """The host of users who come from here; a unix socket has none."""
    return "127.0.0.1" if room.server.port else "%"


def test_server_that_does_not_let_us_in(room: MySQLRoom) -> None:
    wrong = [{"password": "canary"}, {"user": "nobody"}]
    if room.server.port:
        wrong.append({"tls": "verify"})
    for options in wrong:
        with MySQLSink(**room.options(**options)) as sink, pytest.raises(ConfigError) as caught:
            sink.read_schema(TARGET.id)
        assert "canary" not in str(caught.value)
        assert caught.value.remedy


def test_the_documented_grants_suffice(room: MySQLRoom) -> None:
    (grants,) = marked("docs/mysql-sink.md", "grants")
    host = at_host(room)
    room.run(
        f"DROP USER IF EXISTS cdc_sink@'{host}'",
        *grants.replace("'%'", f"'{host}'").split("\n")[:-1],
    )
    with MySQLSink(**room.options(user="cdc_sink", password="secret")) as sink:
        assert sink.check_table(TARGET) == []
        for step in ("merge", "alter"):
            STEPS[step].prepare(sink)
            STEPS[step].work(sink)
            sink.drop_table(TARGET.id)
    room.run(f"DROP USER cdc_sink@'{host}'")


def test_rights_that_are_missing(room: MySQLRoom) -> None:
    """Nothing is written without them, and the same write goes through with them."""
    user = f"reader@'{at_host(room)}'"
    with MySQLSink(**room.options()) as sink:
        STEPS["merge"].prepare(sink)
        before = observe(sink, TARGET)
    room.run(
        f"DROP USER IF EXISTS {user}",
        f"CREATE USER {user} IDENTIFIED BY 'pw'",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON _cdc.* TO {user}",
        f"GRANT SELECT ON shop.* TO {user}",
    )
    with MySQLSink(**room.options(user="reader", password="pw")) as sink:
        with pytest.raises(ConfigError, match="may not") as caught:
            STEPS["merge"].work(sink)
        assert "GRANT" in caught.value.remedy
        assert observe(sink, TARGET) == before
        room.run(f"GRANT INSERT, DELETE ON shop.* TO {user}")
    with MySQLSink(**room.options(user="reader", password="pw")) as sink:
        STEPS["merge"].work(sink)
        left = rows_of({2: "TWO", 3: None, 4: "four"})
        assert comparable(sink.read_table(TARGET.id)) == comparable(left)
    room.run(f"DROP USER {user}")
