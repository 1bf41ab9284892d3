"""Targets on servers of the MySQL family whose sessions begin with other rules of quoting."""

from __future__ import annotations

import pytest

from resources.sinks.mysql import MySQLSink
from tests.contracts.sink_steps import TARGET, fence, keys_of, load, rows_of
from tests.sinks.mysql_room import MySQLRoom
from tests.sinks.mysql_room import mariadb_room as mariadb_room
from tests.sinks.mysql_room import mysql_room as mysql_room
from tests.sinks.mysql_room import oceanbase_room as oceanbase_room
from tests.strategies import comparable

TEXTS = ("'", "''", "\\", "\\'", '"', '\\"', "%s", "x'); DROP TABLE shop.orders; -- ", "\0\n\\N")


@pytest.mark.nightly
@pytest.mark.parametrize("kind", ["mysql", "mariadb", "oceanbase"])
def test_values_are_kept_whatever_the_servers_rules_of_quoting(
    kind: str, request: pytest.FixtureRequest
) -> None:
    room: MySQLRoom = request.getfixturevalue(f"{kind}_room")
    room.enter(request.node.name)
    ((mode,),) = room.run("SELECT @@GLOBAL.sql_mode")
    room.run("SET GLOBAL sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT'")
    try:
        rows = rows_of(dict(enumerate(TEXTS)))
        with MySQLSink(**room.options()) as sink:
            load(sink, TARGET, "old", [rows], fence(None, 10))
            assert comparable(sink.read_table(TARGET.id)) == comparable(rows)
            turned = rows_of(dict(enumerate(reversed(TEXTS))))
            sink.merge(TARGET, turned, keys_of(77), fence(10, 20))
            assert comparable(sink.read_table(TARGET.id)) == comparable(turned)
    finally:
        room.run(f"SET GLOBAL sql_mode = '{mode}'")
