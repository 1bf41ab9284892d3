"""The Delta sink: the suite on a local folder, with writers killed before every single write."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from resources.sinks.contract import Sink
from resources.sinks.delta import DeltaSink
from tests.contracts.sink_shared_steps import ALL_STEPS
from tests.contracts.sink_suite import SinkSuite
from tests.strategies import COLUMN_TYPES, WIDE_DECIMALS


class TestDeltaSink(SinkSuite):
    column_types = (*COLUMN_TYPES, *WIDE_DECIMALS)
    torn = frozenset({"merge", "load", "drop"})
    """Steps whose writer is killed before every write, not only at the points in them."""

    def open(self, place: str) -> DeltaSink:
        return DeltaSink(place, types={"decimal_overflow": "text"})

    def killed(self, step: str, place: str) -> Iterator[tuple[str, Sink]]:
        yield from super().killed(step, place)
        if step not in self.torn:
            return
        folder = Path(f"{place}-writes")
        folder.mkdir()
        command = [sys.executable, "-m", "tests.sinks.kill_delta", step, str(folder)]
        subprocess.run(command, check=True, timeout=120)
        lakes = sorted(folder.glob("[0-9]*"))
        assert lakes
        for lake in lakes:
            yield lake.name, DeltaSink(str(lake))


@pytest.mark.nightly
@pytest.mark.parametrize("step", sorted(set(ALL_STEPS) - TestDeltaSink.torn))
def test_killed_before_every_write(step: str, tmp_path: Path) -> None:
    class Torn(TestDeltaSink):
        torn = frozenset({step})

    Torn().test_killed_between_any_two_statements(step, str(tmp_path / "shop"))
