"""Iceberg tables when something goes wrong: the suite, catalogs, other makers."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.io.pyarrow import PyArrowFile
from pyiceberg.manifest import ManifestContent, ManifestFile
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import BucketTransform, IdentityTransform
from pyiceberg.types import LongType, NestedField, StringType

from resources.errors import ConfigError, SinkUnavailable, TerminalError
from resources.sinks import iceberg_catalog
from resources.sinks.iceberg import IcebergSink
from resources.sinks.lake import LakeSink
from tests.contracts.lake_case import LakeCase
from tests.contracts.lake_faults import LakeFaults
from tests.contracts.sink_steps import STEPS, TARGET, fence, keys_of, observe, rows_of
from tests.sinks.iceberg_room import IcebergRoom, table_of
from tests.strategies import comparable

IDENTIFIER = (TARGET.id.namespace, TARGET.id.table)
NAME = NestedField(2, "name", StringType(), required=False)
SCHEMA = Schema(NestedField(1, "id", LongType(), required=False), NAME)


def create_by_hand(sink: IcebergSink, schema: Schema, **options: Any) -> None:
    """Let somebody else create TARGET, where this sink would by default."""
    catalog = sink.catalog.open()
    catalog.create_namespace(TARGET.id.namespace)
    own = {"location": sink.store.url(sink.format.folder(TARGET.id))}
    catalog.create_table(IDENTIFIER, schema, **{**own, **options})


class TestIcebergFaults(IcebergRoom, LakeFaults):
    """Races, lost answers, full disks, and catalogs that are away."""

    def test_a_full_disk_under_the_metadata_is_told_and_nothing_is_lost(
        self, loaded: LakeSink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """New metadata files are links to a device that is always full."""
        before = observe(loaded, TARGET)
        opened = PyArrowFile.create

        def full(file: PyArrowFile, overwrite: bool = False) -> Any:
            Path(file.location).symlink_to("/dev/full")
            return opened(file, overwrite=True)

        with monkeypatch.context() as patched:
            patched.setattr(PyArrowFile, "create", full)
            with pytest.raises(SinkUnavailable, match="space"):
                STEPS["merge"].work(loaded)
        assert observe(loaded, TARGET) == before
        STEPS["merge"].work(loaded)
        assert loaded.count_rows(TARGET.id) == 3

    def test_a_catalog_that_is_locked_is_told_and_nothing_is_lost(
        self, loaded: LakeSink, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = observe(loaded, TARGET)
        monkeypatch.setattr(iceberg_catalog, "_LOCK_SECONDS", "0.1")
        holder = sqlite3.connect(place / iceberg_catalog.FILE, isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        with self.make(str(place)) as sink, pytest.raises(SinkUnavailable, match="locked"):
            STEPS["merge"].work(sink)
        holder.execute("ROLLBACK")
        holder.close()
        assert observe(loaded, TARGET) == before
        STEPS["merge"].work(loaded)
        assert loaded.count_rows(TARGET.id) == 3

    def test_a_catalog_file_that_is_none_is_told(self, place: Path) -> None:
        place.mkdir()
        (place / iceberg_catalog.FILE).write_bytes(b"this is no database" * 100)
        with self.make(str(place)) as sink, pytest.raises(TerminalError, match="not a database"):
            sink.create_table(TARGET)

    def test_reading_makes_no_lake(self, place: Path) -> None:
        with self.make(str(place)) as sink:
            assert sink.read_schema(TARGET.id) is None
            assert sink.list_watermarks("p") == {}
            sink.drop_table(TARGET.id)
        assert not place.exists()


class TestIcebergOfOthers(IcebergRoom, LakeCase):
    """Tables that somebody else made, or changed so that they cannot be written to."""

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (
                {"partition_spec": PartitionSpec(PartitionField(1, 1000, BucketTransform(4), "b"))},
                "bu",
            ),
            ({"location": "elsewhere"}, "elsewhere"),
        ],
    )
    def test_tables_this_sink_does_not_write_to_are_refused(
        self, place: Path, options: dict[str, Any], said: str
    ) -> None:
        with self.make(str(place)) as sink:
            if "location" in options:
                options = {"location": str(place / options["location"])}
            create_by_hand(sink, SCHEMA, **options)
            for call in (
                lambda: sink.check_table(TARGET),
                lambda: sink.merge(TARGET, rows_of({1: "x"}), keys_of(), fence(None, 1)),
            ):
                with pytest.raises(ConfigError, match=said):
                    call()

    def test_a_table_of_format_version_3_is_refused(self, loaded: LakeSink) -> None:
        file = Path(table_of(loaded).metadata_location)
        told = json.loads(file.read_text()) | {"format-version": 3, "next-row-id": 0}
        file.write_text(json.dumps(told))
        with pytest.raises(ConfigError, match="format version 3"):
            STEPS["merge"].work(loaded)
        with pytest.raises(ConfigError, match="format version 2"):
            self.make(loaded.store.root, table_properties={"format-version": "3"})

    def test_delete_files_of_other_engines_are_refused(
        self, loaded: LakeSink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """pyiceberg writes none: manifests are shown as those of delete files."""
        before = observe(loaded, TARGET)
        with monkeypatch.context() as patched:
            patched.setattr(ManifestFile, "content", property(lambda _: ManifestContent.DELETES))
            with pytest.raises(ConfigError, match="delete files"):
                STEPS["merge"].work(loaded)
        assert observe(loaded, TARGET) == before

    def test_a_table_of_somebody_elses_making_is_written_to(self, place: Path) -> None:
        """Partitioned by hand, a required column, no name mapping: what is written, others read."""
        schema = Schema(NestedField(1, "id", LongType(), required=True), NAME)
        by_name = PartitionSpec(PartitionField(2, 1000, IdentityTransform(), "name"))
        with self.make(str(place)) as sink:
            create_by_hand(sink, schema, partition_spec=by_name)
            fields = [pa.field("id", pa.int64(), nullable=False), ("name", pa.string())]
            by_hand = pa.table([[1, 5], ["one", "five"]], schema=pa.schema(fields))
            table_of(sink).append(by_hand)
            sink.merge(TARGET, rows_of({1: "ONE", 2: None}), keys_of(5), fence(None, 1))
            wanted = comparable(rows_of({1: "ONE", 2: None}))
            assert comparable(sink.read_table(TARGET.id)) == wanted
            assert comparable(self.others(sink)) == wanted
