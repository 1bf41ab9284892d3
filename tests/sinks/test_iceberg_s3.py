"""The Iceberg sink on an object store, its catalog a database beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from resources.errors import ConfigError
from resources.sinks.iceberg import IcebergSink
from resources.sinks.lake import LakeSink
from tests.contracts.lake_s3 import LakeOnS3, OnS3
from tests.contracts.sink_loads import SinkLoads
from tests.contracts.sink_suite import SinkSuite
from tests.sinks.iceberg_room import IcebergRoom
from tests.sinks.lake_s3 import s3 as s3


class WithCatalog(IcebergRoom, OnS3):
    """The catalog of a place is a SQLite file on the disk."""

    def catalog(self, place: str) -> dict[str, Any]:
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        return {"catalog": {"type": "sql", "url": f"sqlite:///{place}.db"}}

    def make_at(self, place: str, **options: Any) -> LakeSink:
        return super().make_at(place, **self.catalog(place), **options)


class TestIcebergOnS3(WithCatalog, LakeOnS3):
    """Races, options, and stores that are away."""


@pytest.mark.nightly
class TestLoadsOnS3(WithCatalog, SinkLoads):
    """The loads."""


@pytest.mark.nightly
class TestIcebergSinkOnS3(WithCatalog, SinkSuite):
    """The whole suite."""


def test_an_object_store_needs_a_catalog() -> None:
    with pytest.raises(ConfigError, match="needs a catalog"):
        IcebergSink("s3://lake/x")
