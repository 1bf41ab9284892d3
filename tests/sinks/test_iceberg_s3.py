"""The Iceberg sink on an object store, its catalog a database beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from resources.errors import ConfigError, FencedOut, SinkUnavailable
from resources.sinks.iceberg import IcebergSink
from tests.contracts.sink_loads import SinkLoads
from tests.contracts.sink_steps import (
    FEED,
    PIPELINE,
    STEPS,
    TARGET,
    fence,
    keys_of,
    observe,
    rows_of,
)
from tests.contracts.sink_suite import SinkSuite
from tests.sinks.lake_s3 import S3Room
from tests.sinks.lake_s3 import s3 as s3
from tests.sinks.races import race


def open_at(room: S3Room, place: str, **options: str) -> IcebergSink:
    """The sink of a place, whose catalog is a SQLite file on the disk."""
    Path(place).parent.mkdir(parents=True, exist_ok=True)
    catalog = {"type": "sql", "url": f"sqlite:///{place}.db"}
    storage = {**room.options, **options}
    return IcebergSink(room.location(place), catalog=catalog, storage=storage)


class OnS3:
    """Places are buckets."""

    room: S3Room

    @pytest.fixture(autouse=True)
    def _room(self, s3: S3Room) -> None:
        type(self).room = s3

    def open(self, place: str) -> IcebergSink:
        return open_at(self.room, place)


@pytest.mark.nightly
class TestLoadsOnS3(OnS3, SinkLoads):
    """The loads."""


@pytest.mark.nightly
class TestIcebergSinkOnS3(OnS3, SinkSuite):
    """The whole suite."""


def test_two_writers_race_and_one_wins(s3: S3Room, tmp_path: Path) -> None:
    place = str(tmp_path / "a")
    sinks = {who: open_at(s3, place) for who in ("first", "second")}
    sinks["first"].create_table(TARGET)
    for new in range(1, 4):
        results = race(sinks, new - 1 or None, new)
        assert sorted(results.values()) == ["lost", "won"]
    assert sinks["second"].count_rows(TARGET.id) == 3
    assert sinks["second"].list_watermarks(PIPELINE)[TARGET.id, FEED.table].seq == 3
    assert sinks["first"].maintain(TARGET.id, 0).written == 1
    sinks["first"].drop_table(TARGET.id)
    assert sinks["second"].read_schema(TARGET.id) is None


def test_a_store_that_is_down_is_tried_again(s3: S3Room, tmp_path: Path) -> None:
    place = str(tmp_path / "a")
    with open_at(s3, place) as sink:
        STEPS["merge"].prepare(sink)
        before = observe(sink, TARGET)
        with (
            open_at(s3, place, endpoint="http://127.0.0.1:9") as gone,
            pytest.raises(SinkUnavailable),
        ):
            gone.merge(TARGET, rows_of({9: "nine"}), keys_of(), fence(10, 20))
        assert observe(sink, TARGET) == before
        with pytest.raises(FencedOut):
            sink.merge(TARGET, rows_of({9: "nine"}), keys_of(), fence(9, 20))


def test_a_bucket_that_is_not_there(s3: S3Room, tmp_path: Path) -> None:
    catalog = {"type": "sql", "url": f"sqlite:///{tmp_path}/c.db"}
    with IcebergSink("s3://no-such-bucket/x", catalog=catalog, storage=s3.options) as sink:
        for call in (sink.create_table, lambda t: sink.begin_load(t, "a", FEED)):
            with pytest.raises(ConfigError, match="bucket does not exist"):
                call(TARGET)


def test_an_object_store_needs_a_catalog() -> None:
    with pytest.raises(ConfigError, match="needs a catalog"):
        IcebergSink("s3://lake/x")
