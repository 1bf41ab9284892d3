"""Iceberg tables when something goes wrong: races, lost answers, other hands, full disks."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.manifest import ManifestContent, ManifestFile
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import BucketTransform, IdentityTransform
from pyiceberg.types import LongType, NestedField, StringType

from resources.errors import ConfigError, FencedOut, SchemaMismatch, SinkUnavailable, TerminalError
from resources.sinks import iceberg_catalog, lake_commit
from resources.sinks.iceberg import IcebergSink
from resources.sinks.iceberg_table import IcebergTables
from tests.contracts.sink_steps import (
    STEPS,
    TARGET,
    fence,
    keys_of,
    load,
    observe,
    rows_of,
)
from tests.sinks.races import race
from tests.sinks.test_iceberg_tables import paths, table_of
from tests.strategies import comparable

IDENTIFIER = (TARGET.id.namespace, TARGET.id.table)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "lake"


@pytest.fixture
def loaded(place: Path) -> Iterator[IcebergSink]:
    with IcebergSink(str(place)) as sink:
        STEPS["merge"].prepare(sink)
        yield sink


def test_two_writers_race_and_one_wins(place: Path) -> None:
    with IcebergSink(str(place)) as first, IcebergSink(str(place)) as second:
        first.create_table(TARGET)
        for new in range(1, 11):
            results = race({"first": first, "second": second}, new - 1 or None, new)
            assert sorted(results.values()) == ["lost", "won"]
            winner = next(who for who, result in results.items() if result == "won")
            assert {"id": new, "name": winner} in first.read_table(TARGET.id).to_pylist()
        assert first.count_rows(TARGET.id) == 10


def test_another_commit_in_between_is_no_failure(
    loaded: IcebergSink, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody writes to the table while a merge is made: the merge is made anew."""
    commit = IcebergTables.commit
    times = []

    def late(tables: IcebergTables, *arguments: Any) -> None:
        if not times:
            table_of(loaded).append(rows_of({50: "by hand"}))
        times.append(1)
        commit(tables, *arguments)

    monkeypatch.setattr(IcebergTables, "commit", late)
    STEPS["merge"].work(loaded)
    assert len(times) == 2
    left = rows_of({2: "TWO", 3: None, 4: "four", 50: "by hand"})
    assert comparable(loaded.read_table(TARGET.id)) == comparable(left)
    there = {str(p) for p in place.rglob("part-*.parquet")}
    snapshots = table_of(loaded).inspect.all_files()["file_path"].to_pylist()
    assert there <= set(snapshots), "files of the attempt that lost are still there"
    lists = {str(p) for p in place.rglob("snap-*.avro")}
    assert lists == {s.manifest_list for s in table_of(loaded).snapshots()}
    monkeypatch.setattr(lake_commit, "ATTEMPTS", 0)
    with pytest.raises(SinkUnavailable, match="came first"):
        loaded.merge(TARGET, rows_of({}), keys_of(), fence(20, 21))


@pytest.mark.parametrize("step", ["merge", "truncate", "load"])
def test_a_commit_whose_answer_was_lost_is_found(
    place: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = IcebergTables.commit

    def unanswered(tables: IcebergTables, *arguments: Any) -> None:
        commit(tables, *arguments)
        raise SinkUnavailable("no answer")

    with IcebergSink(str(place)) as sink:
        STEPS[step].prepare(sink)
        monkeypatch.setattr(IcebergTables, "commit", unanswered)
        STEPS[step].work(sink)
        monkeypatch.undo()
        after = observe(sink, TARGET)
        assert after[1] is not None
        assert after[1].seq in (20, 40)
        STEPS[step].redo(sink)
        assert observe(sink, TARGET) == after


def test_a_stale_writer_is_fenced_out_after_its_race(
    loaded: IcebergSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = IcebergTables.commit
    done = []

    def late(tables: IcebergTables, *arguments: Any) -> None:
        if not done:
            done.append(1)
            with IcebergSink(loaded.store.root) as other:
                other.merge(TARGET, rows_of({7: "winner"}), keys_of(), fence(10, 11, token=2))
        commit(tables, *arguments)

    monkeypatch.setattr(IcebergTables, "commit", late)
    with pytest.raises(FencedOut, match="token 2"):
        STEPS["merge"].work(loaded)
    assert loaded.count_rows(TARGET.id) == 4


def test_hand_altered_table_is_shown_and_a_load_mends_it(loaded: IcebergSink) -> None:
    with table_of(loaded).update_schema() as update:
        update.add_column("note", StringType())
    note = pa.table({"id": [9], "name": ["x"], "note": ["y"]})
    table_of(loaded).append(note)
    with pytest.raises(SchemaMismatch) as caught:
        STEPS["merge"].work(loaded)
    assert "note string" in str(caught.value)
    assert [f.code for f in loaded.check_table(TARGET)] == ["schema_mismatch"]
    load(loaded, TARGET, "mend", [rows_of({1: "one"})], fence(10, 20))
    assert loaded.check_table(TARGET) == []
    assert comparable(loaded.read_table(TARGET.id)) == comparable(rows_of({1: "one"}))


SCHEMA = Schema(
    NestedField(1, "id", LongType(), required=False),
    NestedField(2, "name", StringType(), required=False),
)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"partition_spec": PartitionSpec(PartitionField(1, 1000, BucketTransform(4), "b"))}, "bu"),
        ({"location": "elsewhere"}, "elsewhere"),
    ],
)
def test_tables_this_sink_does_not_write_to_are_refused(
    place: Path, options: dict[str, Any], said: str
) -> None:
    with IcebergSink(str(place)) as sink:
        catalog = sink.catalog.open()
        catalog.create_namespace("shop")
        own = {"location": sink.store.url(sink.format.folder(TARGET.id))}
        if "location" in options:
            options = {"location": str(place / options["location"])}
        catalog.create_table(IDENTIFIER, SCHEMA, **{**own, **options})
        for call in (
            lambda: sink.check_table(TARGET),
            lambda: sink.merge(TARGET, rows_of({1: "x"}), keys_of(), fence(None, 1)),
        ):
            with pytest.raises(ConfigError, match=said):
                call()


def test_a_table_of_format_version_3_is_refused(loaded: IcebergSink) -> None:
    file = Path(table_of(loaded).metadata_location)
    told = json.loads(file.read_text()) | {"format-version": 3, "next-row-id": 0}
    file.write_text(json.dumps(told))
    with pytest.raises(ConfigError, match="format version 3"):
        STEPS["merge"].work(loaded)
    with pytest.raises(ConfigError, match="format version 2"):
        IcebergSink(loaded.store.root, table_properties={"format-version": "3"})


def test_delete_files_of_other_engines_are_refused(
    loaded: IcebergSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pyiceberg writes none: manifests are shown as those of delete files."""
    before = observe(loaded, TARGET)
    with monkeypatch.context() as patched:
        patched.setattr(ManifestFile, "content", property(lambda _: ManifestContent.DELETES))
        with pytest.raises(ConfigError, match="delete files"):
            STEPS["merge"].work(loaded)
    assert observe(loaded, TARGET) == before


def test_a_table_of_somebody_elses_making_is_written_to(place: Path) -> None:
    """Partitioned by hand, a required column, no name mapping: what is written, others read."""
    schema = Schema(
        NestedField(1, "id", LongType(), required=True),
        NestedField(2, "name", StringType(), required=False),
    )
    with IcebergSink(str(place)) as sink:
        catalog = sink.catalog.open()
        catalog.create_namespace("shop")
        catalog.create_table(
            IDENTIFIER,
            schema,
            location=sink.store.url(sink.format.folder(TARGET.id)),
            partition_spec=PartitionSpec(PartitionField(2, 1000, IdentityTransform(), "name")),
        )
        by_hand = pa.schema([pa.field("id", pa.int64(), nullable=False), ("name", pa.string())])
        table_of(sink).append(pa.table([[1, 5], ["one", "five"]], schema=by_hand))
        sink.merge(TARGET, rows_of({1: "ONE", 2: None}), keys_of(5), fence(None, 1))
        assert comparable(sink.read_table(TARGET.id)) == comparable(rows_of({1: "ONE", 2: None}))
        read = table_of(sink).scan().to_arrow()
        assert comparable(read) == comparable(rows_of({1: "ONE", 2: None}))


def test_a_dropped_table_does_not_come_back(loaded: IcebergSink) -> None:
    """Killed within the drop, before the first data file is gone: a reader sees no table."""
    store, folder = loaded.store, loaded.store.delete_folder
    store.delete_folder = lambda name: None  # type: ignore[method-assign]
    loaded.drop_table(TARGET.id)
    store.delete_folder = folder  # type: ignore[method-assign]
    assert loaded.read_schema(TARGET.id) is None
    loaded.create_table(TARGET)
    assert observe(loaded, TARGET) == ([], None)
    loaded.drop_table(TARGET.id)
    loaded.drop_table(TARGET.id)


def test_a_catalog_that_is_locked_is_told_and_nothing_is_lost(
    loaded: IcebergSink, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = observe(loaded, TARGET)
    monkeypatch.setattr(iceberg_catalog, "_LOCK_SECONDS", "0.1")
    holder = sqlite3.connect(place / iceberg_catalog.FILE, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with IcebergSink(str(place)) as sink, pytest.raises(SinkUnavailable, match="locked"):
        STEPS["merge"].work(sink)
    holder.execute("ROLLBACK")
    holder.close()
    assert observe(loaded, TARGET) == before
    STEPS["merge"].work(loaded)
    assert loaded.count_rows(TARGET.id) == 3


def test_a_catalog_file_that_is_none_is_told(place: Path) -> None:
    place.mkdir()
    (place / iceberg_catalog.FILE).write_bytes(b"this is no database" * 100)
    with IcebergSink(str(place)) as sink, pytest.raises(TerminalError, match="not a database"):
        sink.create_table(TARGET)


def test_reading_makes_no_lake(place: Path) -> None:
    with IcebergSink(str(place)) as sink:
        assert sink.read_schema(TARGET.id) is None
        assert sink.list_watermarks("p") == {}
        sink.drop_table(TARGET.id)
    assert not place.exists()


def test_missing_rights_are_told_and_nothing_is_lost(
    loaded: IcebergSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = observe(loaded, TARGET)

    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "mkdir", refused)
        with pytest.raises(ConfigError, match="rights are missing"):
            STEPS["merge"].work(loaded)
    assert observe(loaded, TARGET) == before
    STEPS["merge"].work(loaded)
    assert loaded.count_rows(TARGET.id) == 3


def test_a_full_disk_is_told_and_nothing_is_lost(
    loaded: IcebergSink, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New data files, then new metadata files, are links to a device that is always full."""
    before = observe(loaded, TARGET)
    create = loaded.store.create

    def full(name: str) -> pa.NativeFile:
        create(name).close()
        (place / name).unlink()
        (place / name).symlink_to("/dev/full")
        return create(name)

    with monkeypatch.context() as patched:
        patched.setattr(loaded.store, "create", full)
        for write in (
            lambda: STEPS["merge"].work(loaded),
            lambda: load(loaded, TARGET, "n", [rows_of({1: "x"})], fence(10, 20)),
        ):
            with pytest.raises(SinkUnavailable, match="space"):
                write()
    assert observe(loaded, TARGET) == before
    from pyiceberg.io.pyarrow import PyArrowFile

    opened = PyArrowFile.create

    def full_metadata(file: PyArrowFile, overwrite: bool = False) -> Any:
        Path(file.location).symlink_to("/dev/full")
        return opened(file, overwrite=True)

    with monkeypatch.context() as patched:
        patched.setattr(PyArrowFile, "create", full_metadata)
        with pytest.raises(SinkUnavailable, match="space"):
            STEPS["merge"].work(loaded)
    assert observe(loaded, TARGET) == before
    STEPS["merge"].work(loaded)
    assert loaded.count_rows(TARGET.id) == 3


def test_a_data_file_that_is_gone_is_told(loaded: IcebergSink) -> None:
    for path in paths(loaded):
        Path(path).unlink()
    with pytest.raises(SinkUnavailable, match="not there any more"):
        STEPS["merge"].work(loaded)
