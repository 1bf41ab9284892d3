"""The suite of sinks for a lake format, its writers killed before every single write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from resources.sinks.contract import Sink
from resources.sinks.lake import LakeSink
from tests.contracts.lake_case import LakeRoom
from tests.contracts.left_by_kills import Left
from tests.contracts.sink_shared_steps import ALL_STEPS
from tests.contracts.sink_suite import SinkSuite
from tests.strategies import COLUMN_TYPES, WIDE_DECIMALS


class LakeSuite(LakeRoom, SinkSuite):
    """The suite on a local folder."""

    column_types = (*COLUMN_TYPES, *WIDE_DECIMALS)
    torn: frozenset[str]
    """Steps whose writer is killed before every write, not only at the points in them."""

    def open(self, place: str) -> LakeSink:
        return self.make(place, types={"decimal_overflow": "text"})

    def killed(self, step: str, place: str) -> Iterator[tuple[str, Sink]]:
        yield from super().killed(step, place)
        if step not in self.torn:
            return
        lake = f"{place}-writes"
        left = Left(Path(lake))
        with self.make(lake) as sink:
            ALL_STEPS[step].prepare(sink)
        with left.before(self.writes), self.make(lake) as sink:
            ALL_STEPS[step].work(sink)
        for state in left.again():
            yield state, self.make(lake)


def steps_beside(suite: type[LakeSuite]) -> list[str]:
    """Return the steps that a suite does not kill before every write."""
    return sorted(set(ALL_STEPS) - suite.torn)


def kill_before_every_write(suite: type[LakeSuite], step: str, place: str) -> None:
    """Run one step of the suite with its writer killed before every write."""
    torn = type(suite.__name__, (suite,), {"torn": frozenset({step})})
    torn().test_killed_between_any_two_statements(step, place)
