"""The Parquet sink on an object store."""

from __future__ import annotations

import pyarrow.dataset as ds
import pyarrow.fs as fs
import pytest

from resources.errors import ConfigError, SinkUnavailable
from resources.sinks.parquet import ParquetSink
from tests.contracts.sink_steps import FEED, STEPS, TARGET, fence, keys_of, observe, rows_of
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

    def open(self, place: str) -> ParquetSink:
        return ParquetSink(self.room.location(place), storage=self.room.options)


@pytest.mark.nightly
class TestParquetSinkOnS3(OnS3, SinkSuite):
    """The whole suite."""


def test_two_writers_race_and_one_wins(s3: S3Room, tmp_path: object) -> None:
    location = s3.location(str(tmp_path))
    sinks = {who: ParquetSink(location, storage=s3.options) for who in ("first", "second")}
    sinks["first"].create_table(TARGET)
    for new in range(1, 4):
        results = race(sinks, new - 1 or None, new)
        assert sorted(results.values()) == ["lost", "won"]
    assert sinks["second"].count_rows(TARGET.id) == 3


def test_plain_readers_see_the_table(s3: S3Room, tmp_path: object) -> None:
    location = s3.location(str(tmp_path))
    with ParquetSink(location, storage=s3.options) as sink:
        STEPS["merge"].prepare(sink)
        STEPS["merge"].work(sink)
        folder = sink.store.path(sink.format.folder(TARGET.id))
        rows = sink.read_table(TARGET.id).sort_by("id").to_pylist()
        files = sink.list_files(TARGET.id)
    plain = ds.dataset(folder, filesystem=s3.filesystem(), format="parquet")
    assert plain.to_table().sort_by("id").to_pylist() == rows
    assert rows
    chosen = fs.FileSelector(folder, recursive=True)
    names = [i.path for i in s3.filesystem().get_file_info(chosen) if i.is_file]
    assert sorted(f"s3://{n}" for n in names if n.endswith(".parquet")) == sorted(files)
    assert not [n for n in names if "/staged/" in n]


def test_a_lost_answer_of_the_put_is_found(
    s3: S3Room, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has the manifest, the writer was told that there is one: its own."""
    with ParquetSink(s3.location(str(tmp_path)), storage=s3.options) as sink:
        STEPS["merge"].prepare(sink)
        put = sink.store.put_new  # type: ignore[attr-defined]
        monkeypatch.setattr(sink.store, "put_new", lambda *given: put(*given) and False)
        STEPS["merge"].work(sink)
        monkeypatch.undo()
        assert sink.count_rows(TARGET.id) == 3


def test_a_bucket_that_is_not_there(s3: S3Room) -> None:
    with ParquetSink("s3://no-such-bucket/x", storage=s3.options) as sink:
        for call in (sink.create_table, lambda t: sink.begin_load(t, "a", FEED)):
            with pytest.raises(ConfigError, match="bucket does not exist"):
                call(TARGET)


def test_a_store_that_is_down_is_tried_again(s3: S3Room, tmp_path: object) -> None:
    location = s3.location(str(tmp_path))
    with ParquetSink(location, storage=s3.options) as sink:
        STEPS["merge"].prepare(sink)
        before = observe(sink, TARGET)
        gone = ParquetSink(location, storage={**s3.options, "endpoint": "http://127.0.0.1:9"})
        with pytest.raises(SinkUnavailable):
            gone.merge(TARGET, rows_of({9: "nine"}), keys_of(), fence(10, 20))
        put = gone.store.put_new  # type: ignore[attr-defined]
        with pytest.raises(SinkUnavailable):
            put("x", b"")
        assert observe(sink, TARGET) == before
