"""The PostgreSQL sink: the suite, with writers killed before every single statement."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

from resources.sinks.contract import Sink
from resources.sinks.postgres import PostgresSink
from tests.contracts.sink_shared_steps import ALL_STEPS
from tests.contracts.sink_steps import Step
from tests.contracts.sink_suite import SinkSuite
from tests.contracts.sink_writes import SinkWrites
from tests.sinks.hands_sql import SqlHands
from tests.sinks.postgres_room import Room
from tests.sinks.postgres_room import room as room
from tests.strategies import COLUMN_TYPES, WIDE_DECIMALS

KILLED_IN_EVERY_RUN = ("merge",)


class InRoom:
    """Places are databases."""

    column_types = (*COLUMN_TYPES, *WIDE_DECIMALS)
    nul = False
    room: Room

    @pytest.fixture(autouse=True)
    def _room(self, room: Room) -> None:
        type(self).room = room

    def open(self, place: str) -> PostgresSink:
        return self.room.sink(place)

    def killed_by_statement(self, step: str, place: str) -> Iterator[tuple[str, Sink]]:
        """Yield sinks whose writer's process ended before one statement each."""
        prefix = "kill_" + hashlib.md5(place.encode(), usedforsecurity=False).hexdigest()[:8]
        url = self.room.url("postgres")
        command = [sys.executable, "-m", "tests.sinks.kill_postgres", step, url, prefix]
        subprocess.run(command, check=True, timeout=300)
        found = self.room.run(
            "postgres",
            f"SELECT datname FROM pg_database WHERE datname ~ '^{prefix}_' "
            "ORDER BY length(datname), datname",
        )
        assert len(found) > 4
        for (name,) in found:
            yield name.rpartition("_")[2], PostgresSink(self.room.url(name))
            self.room.run("postgres", f"DROP DATABASE {name} WITH (FORCE)")


class TestPostgresSink(InRoom, SinkSuite):
    def killed(self, step: str, place: str) -> Iterator[tuple[str, Sink]]:
        yield from super().killed(step, place)
        if step in KILLED_IN_EVERY_RUN:
            yield from self.killed_by_statement(step, place)


class TestPostgresByHand(InRoom, SqlHands):
    """The sink's connections stay open."""

    def run(self, sink: Sink, place: str, statements: tuple[str, ...]) -> None:
        self.room.run(self.room.database(place), *statements)


@pytest.mark.nightly
class TestEveryStatement(InRoom, SinkWrites):
    """Only the test of killed writers, with every step killed before every statement."""

    def killed(self, step: str, place: str) -> Iterator[tuple[str, Sink]]:
        yield from super().killed(step, place)
        yield from self.killed_by_statement(step, place)


def test_every_step_is_known() -> None:
    steps: dict[str, Step] = ALL_STEPS
    assert set(KILLED_IN_EVERY_RUN) <= set(steps)
