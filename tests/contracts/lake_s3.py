"""The sinks of lakes on an object store: part of the suite of lake formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from resources.errors import ConfigError, FencedOut, SinkUnavailable
from resources.sinks.lake import LakeSink
from tests.contracts.lake_case import LakeRoom
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
from tests.sinks.lake_s3 import S3Room
from tests.sinks.races import race


class OnS3(LakeRoom):
    """Places are prefixes in buckets."""

    room: ClassVar[S3Room]

    @pytest.fixture(autouse=True)
    def _room(self, s3: S3Room) -> None:
        OnS3.room = s3

    def open(self, place: str) -> LakeSink:
        return self.make_at(place)

    def make_at(self, place: str, **options: Any) -> LakeSink:
        """Open the sink at the bucket of a place."""
        storage = {**self.room.options, **options.pop("storage", {})}
        return self.make(self.room.location(place), storage=storage, **options)


class LakeOnS3(OnS3):
    """Races, options, and stores that are away."""

    def test_two_writers_race_and_one_wins(self, tmp_path: Path) -> None:
        sinks = {who: self.make_at(str(tmp_path / "a")) for who in ("first", "second")}
        sinks["first"].create_table(TARGET)
        for new in range(1, 4):
            results = race(sinks, new - 1 or None, new)
            assert sorted(results.values()) == ["lost", "won"]
        assert sinks["second"].count_rows(TARGET.id) == 3
        assert sinks["second"].list_watermarks(PIPELINE)[TARGET.id, FEED.table].seq == 3
        assert sinks["first"].maintain(TARGET.id, 0).written == 1
        sinks["first"].drop_table(TARGET.id)
        assert sinks["second"].read_schema(TARGET.id) is None

    def test_options_may_come_from_the_environment(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for option, variable in (
            ("endpoint", "AWS_ENDPOINT_URL"),
            ("region", "AWS_DEFAULT_REGION"),
            ("access_key_id", "AWS_ACCESS_KEY_ID"),
            ("secret_access_key", "AWS_SECRET_ACCESS_KEY"),
        ):
            monkeypatch.setenv(variable, self.room.options[option])
        place = str(tmp_path / "a")
        with self.make(self.room.location(place), **self.catalog(place)) as sink:
            STEPS["merge"].prepare(sink)
            STEPS["merge"].work(sink)
            assert sink.count_rows(TARGET.id) == 3

    def test_a_bucket_that_is_not_there(self, tmp_path: Path) -> None:
        catalog = self.catalog(str(tmp_path / "a"))
        with self.make("s3://no-such-bucket/x", storage=self.room.options, **catalog) as sink:
            for call in (sink.create_table, lambda t: sink.begin_load(t, "a", FEED)):
                with pytest.raises(ConfigError, match="bucket does not exist"):
                    call(TARGET)

    def test_a_store_that_is_down_is_tried_again(self, tmp_path: Path) -> None:
        place = str(tmp_path / "a")
        with self.make_at(place) as sink:
            STEPS["merge"].prepare(sink)
            before = observe(sink, TARGET)
            away = {"endpoint": "http://127.0.0.1:9"}
            with self.make_at(place, storage=away) as gone, pytest.raises(SinkUnavailable):
                gone.merge(TARGET, rows_of({9: "nine"}), keys_of(), fence(10, 20))
            assert observe(sink, TARGET) == before
            with pytest.raises(FencedOut):
                sink.merge(TARGET, rows_of({9: "nine"}), keys_of(), fence(9, 20))

    def catalog(self, place: str) -> dict[str, Any]:
        """Options that name the catalog, for formats that have one beside the store."""
        return {}
