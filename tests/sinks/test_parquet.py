"""The Parquet sink: the suite on a local folder, with writers killed before every single write."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from resources.sinks.contract import Sink
from resources.sinks.parquet import ParquetSink
from tests.contracts.sink_shared_steps import ALL_STEPS
from tests.contracts.sink_suite import SinkSuite
from tests.strategies import COLUMN_TYPES, WIDE_DECIMALS


class TestParquetSink(SinkSuite):
    column_types = (*COLUMN_TYPES, *WIDE_DECIMALS)
    torn = frozenset({"merge", "load"})
    """Steps whose writer is killed before every write, not only at the points in them."""

    def open(self, place: str) -> ParquetSink:
        return ParquetSink(place, types={"decimal_overflow": "text"})

    def killed(self, step: str, place: str) -> Iterator[tuple[str, Sink]]:
        yield from super().killed(step, place)
        if step not in self.torn:
            return
        folder = Path(f"{place}-writes")
        folder.mkdir()
        command = [sys.executable, "-m", "tests.sinks.kill_parquet", step, str(folder)]
        subprocess.run(command, check=True, timeout=120)
        lakes = sorted(folder.glob("[0-9]*"))
        assert lakes
        for lake in lakes:
            yield lake.name, ParquetSink(str(lake))


@pytest.mark.nightly
@pytest.mark.parametrize("step", sorted(set(ALL_STEPS) - TestParquetSink.torn))
def test_killed_before_every_write(step: str, tmp_path: Path) -> None:
    class Torn(TestParquetSink):
        torn = frozenset({step})

    Torn().test_killed_between_any_two_statements(step, str(tmp_path / "shop"))
