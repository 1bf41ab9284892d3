"""The Delta sink on an object store."""

from __future__ import annotations

import pytest

from resources.errors import ConfigError
from resources.sinks.delta import DeltaSink
from tests.contracts.lake_s3 import LakeOnS3, OnS3
from tests.contracts.sink_loads import SinkLoads
from tests.contracts.sink_suite import SinkSuite
from tests.sinks.delta_room import DeltaRoom
from tests.sinks.lake_s3 import s3 as s3


class TestDeltaOnS3(DeltaRoom, LakeOnS3):
    """Races, options, and stores that are away."""


class TestLoadsOnS3(DeltaRoom, OnS3, SinkLoads):
    """In every run, the loads; the whole suite is below."""


@pytest.mark.nightly
class TestDeltaSinkOnS3(DeltaRoom, OnS3, SinkSuite):
    """The whole suite."""


@pytest.mark.parametrize("location", ["s3://", "gs://bucket/x", "http://host/x"])
def test_places_that_are_none(location: str) -> None:
    with pytest.raises(ConfigError, match="cannot be at"):
        DeltaSink(location)


def test_unknown_options() -> None:
    with pytest.raises(ConfigError, match="options"):
        DeltaSink("s3://b/x", storage={"key": "k"})
