"""The MySQL sink: the suite on MySQL, with writers killed before every single statement."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from resources.sinks.contract import Sink
from resources.sinks.mysql import MySQLSink
from tests.contracts.sink_suite import SinkSuite
from tests.contracts.sink_writes import SinkWrites
from tests.processes import KILLED
from tests.sinks.hands_sql import SqlHands
from tests.sinks.mysql_room import LONGEST_TIME_US, NAMES, MySQLRoom, held
from tests.sinks.mysql_room import mysql_room as mysql_room
from tests.strategies import COLUMN_TYPES, WIDE_DECIMALS

KILLED_IN_EVERY_RUN = ("load",)
"""A load's end is where the rows and the watermark cannot change at one moment."""


class InRoom:
    """Places are what the server holds at the time."""

    column_types: tuple[pa.DataType, ...] = (*COLUMN_TYPES, *WIDE_DECIMALS)
    names = NAMES
    longest_time = LONGEST_TIME_US
    room: MySQLRoom

    @pytest.fixture(autouse=True)
    def _room(self, mysql_room: MySQLRoom) -> None:
        type(self).room = mysql_room

    def open(self, place: str) -> MySQLSink:
        return self.room.sink(place)

    def fits(self, type_: pa.DataType, value: Any) -> bool:
        return held(type_, value, self.longest_time)

    def killed_by_statement(self, step: str, last: int = 1000) -> Iterator[tuple[str, Sink]]:
        """Yield sinks whose writer's process ended before one of the last statements each."""
        options = json.dumps(self.room.options())
        command = [sys.executable, "-m", "tests.sinks.kill_mysql", step, options]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None

            def ask(number: int) -> int:
                self.room.enter(f"{step} {number}")
                print(number, file=child.stdin, flush=True)
                return int(child.stdout.readline())  # type: ignore[union-attr]

            total = ask(10_000)
            assert total >= 3
            assert child.stdout.readline() == "0\n"
            for number in range(max(total - last, 0) + 1, total + 1):
                assert ask(number) == KILLED
                yield str(number), MySQLSink(**self.room.options())
            child.stdin.close()


class TestMySQLSink(InRoom, SinkSuite):
    def killed(self, step: str, place: str) -> Iterator[tuple[str, Sink]]:
        yield from super().killed(step, place)
        if step in KILLED_IN_EVERY_RUN:
            yield from self.killed_by_statement(step, last=7)


class MySQLByHand(InRoom, SqlHands):
    """The sink's connections stay open."""

    def run(self, sink: Sink, place: str, statements: tuple[str, ...]) -> None:
        self.room.run(*statements)


class TestMySQLByHand(MySQLByHand):
    pass


@pytest.mark.nightly
class TestEveryStatement(InRoom, SinkWrites):
    """Only the test of killed writers, with every step killed before every statement."""

    def killed(self, step: str, place: str) -> Iterator[tuple[str, Sink]]:
        yield from super().killed(step, place)
        yield from self.killed_by_statement(step)
