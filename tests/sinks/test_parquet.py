"""The Parquet sink: the suite on a local folder, with writers killed before every single write."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contracts.lake_killed import LakeSuite, kill_before_every_write, steps_beside
from tests.sinks.parquet_room import ParquetRoom


class TestParquetSink(ParquetRoom, LakeSuite):
    """The suite."""

    torn = frozenset({"merge", "load"})


@pytest.mark.nightly
@pytest.mark.parametrize("step", steps_beside(TestParquetSink))
def test_killed_before_every_write(step: str, tmp_path: Path) -> None:
    kill_before_every_write(TestParquetSink, step, str(tmp_path / "shop"))
