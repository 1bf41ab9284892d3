"""The Iceberg sink: the suite on a local folder, with writers killed before every single write."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contracts.fewer import fewer
from tests.contracts.lake_killed import LakeSuite, kill_before_every_write, steps_beside
from tests.contracts.sink_suite import SinkSuite
from tests.sinks.iceberg_room import IcebergRoom


class TestIcebergSink(IcebergRoom, LakeSuite):
    """The suite with fewer examples: all of them are tried on the object store, nightly."""

    test_every_type_round_trips = fewer(SinkSuite.test_every_type_round_trips)
    test_random_changes_equal_a_dict = fewer(SinkSuite.test_random_changes_equal_a_dict)
    test_random_changes_equal_a_model = fewer(SinkSuite.test_random_changes_equal_a_model)
    test_random_writes_of_three_feeds_equal_a_dict = fewer(
        SinkSuite.test_random_writes_of_three_feeds_equal_a_dict
    )

    torn = frozenset({"merge"})


@pytest.mark.nightly
@pytest.mark.parametrize("step", steps_beside(TestIcebergSink))
def test_killed_before_every_write(step: str, tmp_path: Path) -> None:
    kill_before_every_write(TestIcebergSink, step, str(tmp_path / "shop"))
