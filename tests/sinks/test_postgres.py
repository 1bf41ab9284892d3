"""The PostgreSQL sink: the suite of sinks on a real server."""

from __future__ import annotations

import pytest

from resources.sinks.postgres import PostgresSink
from tests.contracts.sink_suite import SinkSuite
from tests.sinks.postgres_room import Room
from tests.sinks.postgres_room import room as room
from tests.strategies import COLUMN_TYPES, WIDE_DECIMALS


class TestPostgresSink(SinkSuite):
    column_types = (*COLUMN_TYPES, *WIDE_DECIMALS)
    nul = False

    @pytest.fixture(autouse=True)
    def _room(self, room: Room) -> None:
        type(self).room = room

    room: Room

    def open(self, place: str) -> PostgresSink:
        return self.room.sink(place)
