"""The ClickHouse sink on the engine in this process: the suite."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from resources.failpoints import FailpointReached
from resources.sinks.clickhouse import ClickHouseSink
from resources.sinks.contract import Sink
from tests.armed import armed
from tests.contracts.fewer import fewer
from tests.contracts.sink_shared_steps import ALL_STEPS
from tests.contracts.sink_suite import SinkSuite
from tests.sinks.clickhouse_room import WORDS, Countdown, Room
from tests.sinks.clickhouse_room import room as room
from tests.sinks.hands_sql import SqlHands
from tests.strategies import COLUMN_TYPES, VECTOR, WIDE_DECIMALS

EVERY_TIME = ("merge", "append", "alter", "drop", "truncate", "first load", "shared truncate")
"""Steps whose writer is killed in every run of the tests."""
_NOT_HERE = ("sink.load.after_rows:3",)
"""Points that lie between inserts which are one here."""


class InRoom:
    """Places are one folder, emptied for each."""

    column_types = (*(t for t in COLUMN_TYPES if t != VECTOR), *WIDE_DECIMALS)
    room: Room

    @pytest.fixture(autouse=True)
    def _room(self, room: Room) -> None:
        type(self).room = room

    def open(self, place: str) -> ClickHouseSink:
        return self.room.sink(place)

    def killed(self, step: str, place: str) -> Iterator[tuple[str, Sink]]:
        for point in ALL_STEPS[step].points:
            name, _, count = point.partition(":")
            there = f"{place}-{point.replace(':', '-')}"
            with self.open(there) as sink:
                ALL_STEPS[step].prepare(sink)
                with armed(f"{name}:raise:{count or 1}"):
                    assert self.dies(step, sink) or point in _NOT_HERE, point
            yield point, self.open(there)

    def dies(self, step: str, sink: Sink) -> bool:
        """Do a step; whether it broke off."""
        try:
            ALL_STEPS[step].work(sink)
        except FailpointReached:
            return True
        return False


class TestClickHouseSink(InRoom, SinkSuite):
    """The suite without its longest tests and with fewer examples: the whole of it is below."""

    test_every_type_round_trips = fewer(SinkSuite.test_every_type_round_trips)
    test_random_changes_equal_a_model = None
    test_random_writes_of_three_feeds_equal_a_dict = None
    test_any_change_of_type_is_exact_or_refused = None
    test_rows_there_get_the_value_of_any_type = None

    @pytest.mark.parametrize("step", EVERY_TIME)
    def test_killed_between_any_two_statements(self, step: str, place: str) -> None:
        super().test_killed_between_any_two_statements(step, place)


class TestClickHouseByHand(InRoom, SqlHands):
    """Another client of the engine."""

    words = WORDS

    def run(self, sink: Sink, place: str, statements: tuple[str, ...]) -> None:
        self.room.run(*statements)


@pytest.mark.nightly
class TestEveryStatement(InRoom, SinkSuite):
    """The whole suite, with the writer of every step broken off before every statement."""

    def killed(self, step: str, place: str) -> Iterator[tuple[str, Sink]]:
        yield from super().killed(step, place)
        for number in range(1, 1000):
            there = f"{place}-{number}"
            with self.open(there) as sink:
                ALL_STEPS[step].prepare(sink)
                Countdown(sink, number)
                if not self.dies(step, sink):
                    return
            yield f"statement {number}", self.open(there)
        raise AssertionError("the step does not end")
