"""The Delta sink on an object store."""

from __future__ import annotations

import pytest

from resources.errors import ConfigError, FencedOut, SinkUnavailable
from resources.sinks.delta import DeltaSink
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


class OnS3:
    """Places are buckets."""

    room: S3Room

    @pytest.fixture(autouse=True)
    def _room(self, s3: S3Room) -> None:
        type(self).room = s3

    def open(self, place: str) -> DeltaSink:
        return DeltaSink(self.room.location(place), storage=self.room.options)


class TestLoadsOnS3(OnS3, SinkLoads):
    """In every run, the loads; the whole suite is below."""


@pytest.mark.nightly
class TestDeltaSinkOnS3(OnS3, SinkSuite):
    """The whole suite."""


def test_two_writers_race_and_one_wins(s3: S3Room, tmp_path: object) -> None:
    location = s3.location(str(tmp_path))
    sinks = {who: DeltaSink(location, storage=s3.options) for who in ("first", "second")}
    sinks["first"].create_table(TARGET)
    for new in range(1, 6):
        results = race(sinks, new - 1 or None, new)
        assert sorted(results.values()) == ["lost", "won"]
    assert sinks["second"].count_rows(TARGET.id) == 5
    assert sinks["second"].list_watermarks(PIPELINE)[TARGET.id, FEED.table].seq == 5


def test_options_may_come_from_the_environment(
    s3: S3Room, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    for option, variable in (
        ("endpoint", "AWS_ENDPOINT_URL"),
        ("region", "AWS_DEFAULT_REGION"),
        ("access_key_id", "AWS_ACCESS_KEY_ID"),
        ("secret_access_key", "AWS_SECRET_ACCESS_KEY"),
    ):
        monkeypatch.setenv(variable, s3.options[option])
    with DeltaSink(s3.location(str(tmp_path))) as sink:
        STEPS["merge"].prepare(sink)
        STEPS["merge"].work(sink)
        assert sink.count_rows(TARGET.id) == 3


def test_a_bucket_that_is_not_there(s3: S3Room) -> None:
    with DeltaSink("s3://no-such-bucket/x", storage=s3.options) as sink:
        for call in (sink.create_table, lambda t: sink.begin_load(t, "a", FEED)):
            with pytest.raises(ConfigError, match="bucket does not exist"):
                call(TARGET)


def test_a_store_that_is_down_is_tried_again(s3: S3Room, tmp_path: object) -> None:
    location = s3.location(str(tmp_path))
    with DeltaSink(location, storage=s3.options) as sink:
        STEPS["merge"].prepare(sink)
        before = observe(sink, TARGET)
        gone = DeltaSink(location, storage={**s3.options, "endpoint": "http://127.0.0.1:9"})
        with pytest.raises(SinkUnavailable):
            gone.merge(TARGET, rows_of({9: "nine"}), keys_of(), fence(10, 20))
        assert observe(sink, TARGET) == before
        with pytest.raises(FencedOut):
            sink.merge(TARGET, rows_of({9: "nine"}), keys_of(), fence(9, 20))


@pytest.mark.parametrize("location", ["s3://", "gs://bucket/x", "http://host/x"])
def test_places_that_are_none(location: str) -> None:
    with pytest.raises(ConfigError, match="cannot be at"):
        DeltaSink(location)


def test_unknown_options() -> None:
    with pytest.raises(ConfigError, match="options"):
        DeltaSink("s3://b/x", storage={"key": "k"})
