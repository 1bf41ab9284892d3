"""The Parquet sink on an object store."""

from __future__ import annotations

from pathlib import Path

import pyarrow.dataset as ds
import pyarrow.fs as fs
import pytest

from resources.errors import SinkUnavailable
from resources.sinks.parquet import ParquetSink
from tests.contracts.lake_s3 import LakeOnS3, OnS3
from tests.contracts.sink_steps import STEPS, TARGET
from tests.contracts.sink_suite import SinkSuite
from tests.sinks.lake_s3 import s3 as s3
from tests.sinks.parquet_room import ParquetRoom


@pytest.mark.nightly
class TestParquetSinkOnS3(ParquetRoom, OnS3, SinkSuite):
    """The whole suite."""


class TestParquetOnS3(ParquetRoom, LakeOnS3):
    """Races, options, stores that are away; readers of the bucket, and its conditional put."""

    def test_plain_readers_see_the_table(self, tmp_path: Path) -> None:
        with self.make_at(str(tmp_path)) as sink:
            assert isinstance(sink, ParquetSink)
            STEPS["merge"].prepare(sink)
            STEPS["merge"].work(sink)
            folder = sink.store.path(sink.format.folder(TARGET.id))
            rows = sink.read_table(TARGET.id).sort_by("id").to_pylist()
            files = sink.list_files(TARGET.id)
        store = self.room.filesystem()
        plain = ds.dataset(folder, filesystem=store, format="parquet")
        assert plain.to_table().sort_by("id").to_pylist() == rows
        assert rows
        found = store.get_file_info(fs.FileSelector(folder, recursive=True))
        names = [i.path for i in found if i.is_file]
        assert sorted(f"s3://{n}" for n in names if n.endswith(".parquet")) == sorted(files)
        assert not [n for n in names if "/staged/" in n]

    def test_a_lost_answer_of_the_put_is_found(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The server has the manifest, the writer was told that there is one: its own."""
        with self.make_at(str(tmp_path)) as sink:
            STEPS["merge"].prepare(sink)
            put = sink.store.put_new  # type: ignore[attr-defined]
            monkeypatch.setattr(sink.store, "put_new", lambda *given: put(*given) and False)
            STEPS["merge"].work(sink)
            monkeypatch.undo()
            assert sink.count_rows(TARGET.id) == 3

    def test_a_put_to_a_store_that_is_down(self, tmp_path: Path) -> None:
        with self.make_at(str(tmp_path), storage={"endpoint": "http://127.0.0.1:9"}) as gone:
            put = gone.store.put_new  # type: ignore[attr-defined]
            with pytest.raises(SinkUnavailable):
                put("x", b"")
