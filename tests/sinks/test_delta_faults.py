"""Delta tables when something goes wrong."""

from __future__ import annotations

from tests.contracts.lake_faults import LakeFaults
from tests.sinks.delta_room import DeltaRoom


class TestDeltaFaults(DeltaRoom, LakeFaults):
    """Races, lost answers, full disks, broken-off drops."""
