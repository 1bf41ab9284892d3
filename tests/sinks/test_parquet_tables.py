"""Parquet tables as readers see them that know nothing of manifests, and as those do that do."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from resources.errors import ConfigError
from resources.model.column_change import AddColumn, DropColumn
from resources.model.table import Column
from resources.sinks import parquet_tables
from resources.sinks.contract import TargetId
from resources.sinks.lake import LakeSink
from resources.sinks.parquet import ParquetSink
from resources.sinks.parquet_store import ParquetStore
from tests.contracts.lake_case import WEEK, LakeCase, table, target_of
from tests.contracts.lake_tables import (
    DAY,
    LOADED,
    MERGED,
    PARTITIONED,
    LakeTables,
    merge_partitioned,
)
from tests.contracts.sink_steps import FEED, STEPS, TARGET, fence, keys_of, load, observe, rows_of
from tests.sinks.parquet_room import ParquetRoom, exact, folder_of, live, plain
from tests.strategies import comparable

VALUES: dict[pa.DataType, Any] = {
    pa.bool_(): True,
    pa.int8(): -5,
    pa.uint64(): 2**64 - 1,
    pa.decimal128(20, 5): Decimal("-123456789012345.00001"),
    pa.date32(): dt.date(1, 1, 1),
    pa.timestamp("us"): dt.datetime(9999, 12, 31, 23, 59, 59, 999999),
    pa.timestamp("us", tz="UTC"): dt.datetime(1969, 12, 31, 1, 2, 3, 4, tzinfo=dt.UTC),
    pa.duration("us"): dt.timedelta(hours=-838, microseconds=1),
    pa.string(): "'\"\n😀%/..",
}


def told(place: Path, target: TargetId) -> list[tuple[Any, ...]]:
    """What the current manifest leads to; DuckDB itself reads no empty list of files."""
    manifest = folder_of(place, target) / "_cdc/current.json"
    return exact(place, target) if json.loads(manifest.read_text())["files"] else []


class TestParquetTables(ParquetRoom, LakeTables):
    """What is in the files, the manifests and the folders of partitions."""

    def test_folders_of_partitions_are_hives_for_every_reader(self, place: Path) -> None:
        with self.make(str(place)) as sink:
            load(sink, PARTITIONED, "a", [table(PARTITIONED, *LOADED)], fence(None, 5))
            names = {p.rpartition("/")[0] for p in live(place, PARTITIONED.id)}
            null = "__HIVE_DEFAULT_PARTITION__"
            assert names == {
                "day=2024-02-29/city=Köln%2Fx%3D%25",
                f"day={null}/city=b%20b",
                f"day=2024-02-29/city={null}",
            }
            sink.drop_table(PARTITIONED.id)
            merge_partitioned(sink)
        folder = folder_of(place, PARTITIONED.id)
        found = duckdb.sql(
            f"SELECT id, day, city, n::UBIGINT FROM read_parquet('{folder}/**/*.parquet', "
            "hive_partitioning = true, hive_types = {day: DATE, city: VARCHAR}) ORDER BY id"
        )
        assert found.fetchall() == MERGED
        schema = pa.schema([("day", pa.date32()), ("city", pa.string())])
        hives = ds.partitioning(schema, flavor="hive")
        read = pd.read_parquet(folder, partitioning=hives).sort_values("id")
        assert read["city"].tolist() == ["there", "b b", "new"]
        assert read["day"].isna().tolist() == [True, True, False]
        assert read["day"].tolist()[2] == DAY

    def test_every_type_of_partition_and_bound_comes_back(self, place: Path) -> None:
        columns = [Column(f"c{i}", t) for i, t in enumerate(VALUES)]
        names = tuple(c.name for c in columns)
        for partition_keys in ((), names):
            target = target_of(*columns, partition_keys=partition_keys)
            rows = table(target, (1, *VALUES.values()), (2, *[None] * len(VALUES)))
            with self.make(str(place / str(len(partition_keys)))) as sink:
                sink.create_table(target)
                sink.merge(target, rows, keys_of(), fence(None, 1))
                assert comparable(sink.read_table(target.id)) == comparable(rows)
                found = sink.format.read(target.id)
                assert found is not None
                assert all(f.rows for f in found.files)
                for name in set(names) - set(partition_keys):
                    (least, most) = found.files[0].bounds[name]
                    assert least == most

    def test_partition_columns_that_make_no_folder_are_refused(self, place: Path) -> None:
        target = target_of(Column("city", pa.string()), partition_keys=("city",))
        hidden = target_of(Column("_day", pa.string()), partition_keys=("_day",))
        with self.make(str(place)) as sink:
            (finding,) = sink.check_table(hidden)
            assert finding.code == "partition_invalid"
            with pytest.raises(ConfigError, match="readers skip"):
                sink.create_table(hidden)
            sink.create_table(target)
            for value in ("x" * 300, "__HIVE_DEFAULT_PARTITION__"):
                with pytest.raises(ConfigError, match="makes no folder"):
                    sink.merge(target, table(target, (1, value)), keys_of(), fence(None, 1))
            assert observe(sink, target) == ([], None)

    def test_columns_are_dropped_from_the_files(self, loaded: LakeSink, place: Path) -> None:
        before = live(place)
        loaded.alter_table(TARGET.id, [AddColumn(Column("note", pa.string()))])
        assert live(place) == before
        loaded.alter_table(TARGET.id, [DropColumn("note"), AddColumn(Column("more", pa.int32()))])
        assert not live(place) & before
        assert {len(row) for row in plain(place)} == {3}

    def test_manifests_say_what_there_is_and_old_ones_go(
        self, loaded: LakeSink, place: Path
    ) -> None:
        for seq in range(10, 30):
            loaded.merge(TARGET, rows_of({seq: "x"}), keys_of(), fence(seq, seq + 1))
        found = sorted((folder_of(place) / "_cdc/manifests").glob("*.json"))
        assert len(found) <= parquet_tables._KEPT + 1
        told = json.loads((folder_of(place) / "_cdc/current.json").read_text())
        assert told == json.loads(found[-1].read_text())
        assert {f["path"] for f in told["files"]} == live(place)
        assert [c["type"] for c in told["columns"]] == ["int64", "string"]
        assert sum(f["rows"] for f in told["files"]) == len(plain(place)) == 23
        assert (told["what"], told["feeds"][0]["seq"]) == ("merge", 30)

    def test_manifests_of_others_are_refused(self, loaded: LakeSink, place: Path) -> None:
        (found, *_) = sorted((folder_of(place) / "_cdc/manifests").glob("*.json"), reverse=True)
        told = json.loads(found.read_text())
        for content, said in (("{", "cannot be read"), ("{}", "cannot be read")):
            found.write_text(content)
            with pytest.raises(ConfigError, match=said):
                loaded.read_table(TARGET.id)
        found.write_text(json.dumps({**told, "format": 2}))
        with pytest.raises(ConfigError, match="update cdc-assets"):
            loaded.read_table(TARGET.id)

    def test_upkeep_deletes_what_nobody_needs(self, loaded: LakeSink, place: Path) -> None:
        """Leftovers of writers that died; neither a load under way nor files of others."""
        loaded.begin_load(TARGET, "under way", FEED)
        loaded.load_chunk(TARGET, "under way", 1, [rows_of({1: "x"})])
        folder = folder_of(place)
        left = [folder / f"part-{'0' * 32}.parquet", folder / f"_cdc/staged/part-{'0' * 32}"]
        other = folder / "by hand.csv"
        for path in (*left, other):
            path.write_bytes(b"")
        before = observe(loaded, TARGET)
        assert loaded.maintain(TARGET.id, WEEK).deleted == 0
        old = dt.datetime.now().timestamp() - 2 * WEEK
        for path in folder.rglob("*"):
            os.utime(path, (old, old))
        assert loaded.maintain(TARGET.id, WEEK).deleted == 2
        assert other.exists()
        assert not any(path.exists() for path in left)
        assert observe(loaded, TARGET) == before
        loaded.finish_load(TARGET, "under way", fence(10, 21), 21)
        assert plain(place) == [(1, "x")]


class TestParquetReaders(ParquetRoom, LakeCase):
    """What readers see, at rest and while a commit is made."""

    def test_plain_readers_and_exact_ones_see_the_table(
        self, loaded: LakeSink, place: Path
    ) -> None:
        assert isinstance(loaded, ParquetSink)
        STEPS["merge"].work(loaded)
        wanted = [(2, "TWO"), (3, None), (4, "four")]
        assert plain(place) == exact(place) == wanted
        read = pd.read_parquet(folder_of(place)).sort_values("id")
        assert read["id"].tolist() == [2, 3, 4]
        assert self.live(loaded) == set(loaded.list_files(TARGET.id))

    @pytest.mark.parametrize("step", ["merge", "load", "truncate", "append"])
    def test_exact_readers_see_the_old_rows_or_the_new_ones_at_every_moment(
        self, place: Path, step: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between any two steps of a commit; plain readers never miss a row that is in both."""
        target = STEPS[step].target.id
        exactly, plainly = [], []
        with self.make(str(place)) as sink:
            STEPS[step].prepare(sink)
            before = told(place, target)

            def watched(call: Callable[..., Any]) -> Callable[..., Any]:
                def run(*arguments: Any) -> Any:
                    exactly.append(told(place, target))
                    plainly.append(plain(place, target))
                    return call(*arguments)

                return run

            for name in ("put_new", "move", "delete", "write"):
                monkeypatch.setattr(ParquetStore, name, watched(getattr(ParquetStore, name)))
            STEPS[step].work(sink)
            monkeypatch.undo()
        after = told(place, target)
        assert exactly[0] == before
        assert all(rows in (before, after) for rows in exactly)
        assert all(set(before) & set(after) <= set(rows) for rows in plainly)
        assert plain(place, target) == after
