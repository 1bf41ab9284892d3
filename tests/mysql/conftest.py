"""The three families as sources, one after the other, each with a database of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from resources.mysql.connection import MySQLSettings, connect
from tests.conftest import fresh_database
from tests.mysql.room import Room, settings_for
from tests.servers import Server


@pytest.fixture(params=["mysql", "mariadb", "oceanbase"])
def room(request: pytest.FixtureRequest) -> Iterator[Room]:
    server: Server = request.getfixturevalue(request.param)
    with fresh_database(server) as database:
        yield Room(server, database)


@pytest.fixture
def mysql_settings(mysql: Any) -> MySQLSettings:
    return settings_for(mysql)


@pytest.fixture
def connection(room: Room) -> Iterator[Any]:
    with closing(connect(room.settings)) as opened:
        yield opened
