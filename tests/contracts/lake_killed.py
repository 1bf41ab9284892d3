"""The suite of sinks for a lake format, its writers killed before every single write."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from resources.sinks.contract import Sink
from resources.sinks.lake import LakeSink
from tests.contracts.lake_case import LakeRoom
from tests.contracts.sink_shared_steps import ALL_STEPS
from tests.contracts.sink_suite import SinkSuite
from tests.strategies import COLUMN_TYPES, WIDE_DECIMALS


class LakeSuite(LakeRoom, SinkSuite):
    """The suite on a local folder."""

    column_types = (*COLUMN_TYPES, *WIDE_DECIMALS)
    killer: ClassVar[str]
    """The module that kills a writer before each of its writes."""
    torn: frozenset[str]
    """Steps whose writer is killed before every write, not only at the points in them."""

    def open(self, place: str) -> LakeSink:
        return self.make(place, types={"decimal_overflow": "text"})

    def killed(self, step: str, place: str) -> Iterator[tuple[str, Sink]]:
        yield from super().killed(step, place)
        if step not in self.torn:
            return
        folder = Path(f"{place}-writes")
        folder.mkdir()
        command = [sys.executable, "-m", self.killer, step, str(folder)]
        subprocess.run(command, check=True, timeout=300)
        lakes = sorted(folder.glob("[0-9]*"))
        assert lakes
        for lake in lakes:  # tables may hold the place they were made at
            there = lake.rename(folder / "lake")
            with self.make(str(there)) as sink:
                yield lake.name, sink
            shutil.rmtree(there)


def steps_beside(suite: type[LakeSuite]) -> list[str]:
    """Return the steps that a suite does not kill before every write."""
    return sorted(set(ALL_STEPS) - suite.torn)


def kill_before_every_write(suite: type[LakeSuite], step: str, place: str) -> None:
    """Run one step of the suite with its writer killed before every write."""
    torn = type(suite.__name__, (suite,), {"torn": frozenset({step})})
    torn().test_killed_between_any_two_statements(step, place)
