"""The Iceberg sink: the suite on a local folder, with writers killed before every single write."""

from __future__ import annotations

from resources.sinks.iceberg import IcebergSink
from tests.contracts.sink_suite import SinkSuite
from tests.strategies import COLUMN_TYPES, WIDE_DECIMALS


class TestIcebergSink(SinkSuite):
    column_types = (*COLUMN_TYPES, *WIDE_DECIMALS)

    def open(self, place: str) -> IcebergSink:
        return IcebergSink(place, types={"decimal_overflow": "text"})
