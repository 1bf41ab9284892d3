"""The Delta sink: the suite on a local folder, with writers killed before every single write."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contracts.lake_killed import LakeSuite, kill_before_every_write, steps_beside
from tests.sinks.delta_room import DeltaRoom


class TestDeltaSink(DeltaRoom, LakeSuite):
    """The suite."""

    torn = frozenset({"merge", "load", "drop"})


@pytest.mark.nightly
@pytest.mark.parametrize("step", steps_beside(TestDeltaSink))
def test_killed_before_every_write(step: str, tmp_path: Path) -> None:
    kill_before_every_write(TestDeltaSink, step, str(tmp_path / "shop"))
