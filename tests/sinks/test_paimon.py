"""The Paimon sink: the suite on a local folder, with writers killed before every single write."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contracts.lake_killed import LakeSuite, kill_before_every_write, steps_beside
from tests.sinks.paimon_room import PaimonRoom


class TestPaimonSink(PaimonRoom, LakeSuite):
    """The suite."""

    torn = frozenset({"merge"})


@pytest.mark.nightly
@pytest.mark.parametrize("step", steps_beside(TestPaimonSink))
def test_killed_before_every_write(step: str, tmp_path: Path) -> None:
    kill_before_every_write(TestPaimonSink, step, str(tmp_path / "shop"))
