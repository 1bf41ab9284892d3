"""Parquet tables as plain readers see them, and what becomes of them when something goes wrong."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from resources.errors import ConfigError, FencedOut, SinkUnavailable
from resources.model.column_change import AddColumn, DropColumn
from resources.model.table import Column, TableId, TableSchema
from resources.sinks import parquet_tables
from resources.sinks.contract import TargetId, TargetTable, Watermark
from resources.sinks.lake_format import LostRace
from resources.sinks.parquet import ParquetSink
from resources.sinks.parquet_store import ParquetStore
from resources.sinks.parquet_tables import ParquetTables
from resources.sinks.shape import target_schema
from tests.contracts.sink_steps import (
    FEED,
    STEPS,
    TARGET,
    fence,
    keys_of,
    load,
    observe,
    rows_of,
)
from tests.docs.pages import ROOT, blocks
from tests.sinks.races import race
from tests.strategies import comparable

WEEK = 7 * 86400


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "lake"


@pytest.fixture
def loaded(place: Path) -> Iterator[ParquetSink]:
    with ParquetSink(str(place)) as sink:
        STEPS["merge"].prepare(sink)
        yield sink


def folder_of(place: Path, target: TargetId = TARGET.id) -> Path:
    return place / target.namespace / target.table


def plain(place: Path, target: TargetId = TARGET.id) -> list[tuple[Any, ...]]:
    """What DuckDB reads that knows nothing of manifests."""
    pattern = f"{folder_of(place, target)}/**/*.parquet"
    found = duckdb.sql(f"FROM read_parquet('{pattern}', union_by_name = true) ORDER BY id")
    return found.fetchall()


def exact(place: Path, target: TargetId = TARGET.id) -> list[tuple[Any, ...]]:
    """What DuckDB reads by the manifest, in the words of docs/parquet.md."""
    (block,) = [b for b in blocks(ROOT / "docs" / "parquet.md") if b.mark == "exact"]
    with duckdb.connect() as connection:
        connection.execute(block.text.replace("lake/shop/orders", str(folder_of(place, target))))
        return connection.sql("FROM orders ORDER BY id").fetchall()


def live(place: Path, target: TargetId = TARGET.id) -> set[str]:
    folder = folder_of(place, target)
    return {str(p.relative_to(folder)) for p in folder.rglob("*.parquet")}


def target_of(*columns: Column, partition_keys: tuple[str, ...] = ()) -> TargetTable:
    schema = TableSchema(TableId("s", "t"), (Column("id", pa.int64()), *columns), ("id",))
    return TargetTable(TargetId("shop", "t"), schema, partition_keys=partition_keys)


def table(target: TargetTable, *rows: tuple[Any, ...]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(target_schema(target))
    return pa.table([list(c) for c in columns], schema=target_schema(target))


def test_plain_readers_and_exact_ones_see_the_table(loaded: ParquetSink, place: Path) -> None:
    STEPS["merge"].work(loaded)
    wanted = [(2, "TWO"), (3, None), (4, "four")]
    assert plain(place) == exact(place) == wanted
    read = pd.read_parquet(folder_of(place)).sort_values("id")
    assert read["id"].tolist() == [2, 3, 4]
    assert {str(folder_of(place) / p) for p in live(place)} == set(loaded.list_files(TARGET.id))


@pytest.mark.parametrize("step", ["merge", "load", "truncate", "append"])
def test_exact_readers_see_the_old_rows_or_the_new_ones_at_every_moment(
    place: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between any two steps of a commit; plain readers never miss a row that is in both."""
    target = STEPS[step].target.id
    with ParquetSink(str(place)) as sink:
        STEPS[step].prepare(sink)
        before = told(place, target)
        exactly, plainly = [], []

        def watched(call: Callable[..., Any]) -> Callable[..., Any]:
            def run(*arguments: Any) -> Any:
                exactly.append(told(place, target))
                plainly.append(plain(place, target) if live(place, target) else [])
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
    assert (plain(place, target) if live(place, target) else []) == after


def told(place: Path, target: TargetId) -> list[tuple[Any, ...]]:
    """What the current manifest leads to; DuckDB itself reads no empty list of files."""
    manifest = folder_of(place, target) / "_cdc/current.json"
    return exact(place, target) if json.loads(manifest.read_text())["files"] else []


@pytest.mark.parametrize("stop", ["publish", "current", "delete", "done"])
def test_a_commit_that_was_broken_off_is_published_by_the_next_to_open_the_table(
    loaded: ParquetSink, place: Path, stop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        if stop == "publish":
            patched.setattr(ParquetStore, "move", broken)
        elif stop == "current":
            patched.setattr(ParquetTables, "_current_version", broken)
        elif stop == "delete":
            patched.setattr(ParquetStore, "delete", broken)
        else:
            patched.setattr(ParquetStore, "write", broken)
        with pytest.raises(KeyboardInterrupt):
            STEPS["merge"].work(loaded)
    with ParquetSink(str(place)) as sink:
        assert sink.read_watermark(TARGET.id, FEED) == Watermark(20, 15, 1)
        assert plain(place) == exact(place) == [(2, "TWO"), (3, None), (4, "four")]


def test_partitions_are_hives_for_every_reader(place: Path) -> None:
    target = target_of(
        *(Column("day", pa.date32()), Column("city", pa.string()), Column("n", pa.uint64())),
        partition_keys=("day", "city"),
    )
    day = dt.date(2024, 2, 29)
    first = [(1, day, "Köln/x=%", 2**64 - 1), (2, None, "b b", None), (3, day, None, 0)]
    with ParquetSink(str(place)) as sink:
        assert sink.check_table(target) == []
        load(sink, target, "a", [table(target, *first)], fence(None, 5))
        names = {p.rpartition("/")[0] for p in live(place, target.id)}
        null = "__HIVE_DEFAULT_PARTITION__"
        assert names == {
            "day=2024-02-29/city=Köln%2Fx%3D%25",
            f"day={null}/city=b%20b",
            f"day=2024-02-29/city={null}",
        }
        moved = table(target, (1, None, "there", 7), (4, day, "new", 8))
        sink.merge(target, moved, keys_of(3), fence(5, 9))
        rest = table(target, (2, None, "b b", None), (1, None, "there", 7), (4, day, "new", 8))
        assert comparable(sink.read_table(target.id)) == comparable(rest)
    wanted = [(1, None, "there", 7), (2, None, "b b", None), (4, day, "new", 8)]
    pattern = f"{folder_of(place, target.id)}/**/*.parquet"
    found = duckdb.sql(
        f"SELECT id, day, city, n::UBIGINT FROM read_parquet('{pattern}', hive_partitioning = true,"
        " hive_types = {day: DATE, city: VARCHAR}) ORDER BY id"
    )
    assert found.fetchall() == wanted
    types = ds.partitioning(pa.schema([("day", pa.date32()), ("city", pa.string())]), flavor="hive")
    read = pd.read_parquet(folder_of(place, target.id), partitioning=types).sort_values("id")
    assert read["city"].tolist() == ["there", "b b", "new"]
    assert read["day"].isna().tolist() == [True, True, False]


def test_every_type_of_partition_and_bound_comes_back(place: Path) -> None:
    values: dict[pa.DataType, Any] = {
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
    columns = [Column(f"c{i}", t) for i, t in enumerate(values)]
    names = tuple(c.name for c in columns)
    for partition_keys in ((), names):
        target = target_of(*columns, partition_keys=partition_keys)
        rows = table(target, (1, *values.values()), (2, *[None] * len(values)))
        with ParquetSink(str(place / str(len(partition_keys)))) as sink:
            sink.create_table(target)
            sink.merge(target, rows, keys_of(), fence(None, 1))
            assert comparable(sink.read_table(target.id)) == comparable(rows)
            found = sink.format.read(target.id)
            assert found is not None
            assert all(f.rows for f in found.files)
            for name in set(names) - set(partition_keys):
                (least, most) = found.files[0].bounds[name]
                assert least == most


def test_partition_columns_that_make_no_folder_are_refused(place: Path) -> None:
    target = target_of(Column("city", pa.string()), partition_keys=("city",))
    hidden = target_of(Column("_day", pa.string()), partition_keys=("_day",))
    with ParquetSink(str(place)) as sink:
        (finding,) = sink.check_table(hidden)
        assert finding.code == "partition_invalid"
        with pytest.raises(ConfigError, match="readers skip"):
            sink.create_table(hidden)
        sink.create_table(target)
        for value in ("x" * 300, "__HIVE_DEFAULT_PARTITION__"):
            with pytest.raises(ConfigError, match="makes no folder"):
                sink.merge(target, table(target, (1, value)), keys_of(), fence(None, 1))
        assert observe(sink, target) == ([], None)


def test_columns_added_touch_no_file(loaded: ParquetSink, place: Path) -> None:
    before = live(place)
    loaded.alter_table(TARGET.id, [AddColumn(Column("note", pa.string()))])
    assert live(place) == before
    assert loaded.read_table(TARGET.id)["note"].null_count == 3
    loaded.alter_table(TARGET.id, [DropColumn("note"), AddColumn(Column("more", pa.int32()))])
    assert not live(place) & before
    assert {len(row) for row in plain(place)} == {3}


def test_only_files_with_touched_keys_are_written_anew(place: Path) -> None:
    parts = [rows_of(dict.fromkeys(range(n, n + 10), "old")) for n in range(0, 50, 10)]
    with ParquetSink(str(place)) as sink:
        load(sink, TARGET, "a", parts, fence(None, 10))
        before = live(place)
        sink.merge(TARGET, rows_of({12: "new", 99: "more"}), keys_of(33, 77), fence(10, 20))
        assert len(before) == 5
        assert len(before - live(place)) == 2


def test_manifests_say_what_there_is_and_old_ones_go(loaded: ParquetSink, place: Path) -> None:
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


def test_a_writer_that_was_away_for_many_commits_loses_its_race(
    loaded: ParquetSink, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest of the version it would put was there, and is deleted as an old one."""
    monkeypatch.setattr(parquet_tables, "_KEPT", 1)
    commit = ParquetTables.commit
    done = []

    def late(tables: ParquetTables, *arguments: Any) -> None:
        if not done:
            done.append(1)
            with ParquetSink(str(place)) as other:
                for seq in range(10, 15):
                    mark = fence(seq, seq + 1, token=2)
                    other.merge(TARGET, rows_of({seq: "winner"}), keys_of(), mark)
        commit(tables, *arguments)

    monkeypatch.setattr(ParquetTables, "commit", late)
    with pytest.raises(FencedOut, match="token 2"):
        STEPS["merge"].work(loaded)
    assert len(plain(place)) == loaded.count_rows(TARGET.id) == 8


def test_two_writers_race_and_one_wins(place: Path) -> None:
    with ParquetSink(str(place)) as first, ParquetSink(str(place)) as second:
        first.create_table(TARGET)
        for new in range(1, 11):
            results = race({"first": first, "second": second}, new - 1 or None, new)
            assert sorted(results.values()) == ["lost", "won"]
            winner = next(who for who, result in results.items() if result == "won")
            assert (new, winner) in plain(place)
        assert len(plain(place)) == 10


def test_files_that_another_commit_deletes_meanwhile_are_a_lost_race(
    loaded: ParquetSink, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = ParquetTables.read
    done = []

    def late(tables: ParquetTables, target: TargetId) -> Any:
        found = read(tables, target)
        if not done:
            done.append(1)
            with ParquetSink(str(place)) as other:
                other.alter_table(TARGET.id, [AddColumn(Column("x", pa.int8()), fill=1)])
                other.alter_table(TARGET.id, [DropColumn("x")])
        return found

    monkeypatch.setattr(ParquetTables, "read", late)
    STEPS["merge"].work(loaded)
    assert plain(place) == [(2, "TWO"), (3, None), (4, "four")]


@pytest.mark.parametrize("error", [SinkUnavailable("no answer"), LostRace()])
@pytest.mark.parametrize("step", ["merge", "truncate", "load", "alter"])
def test_a_commit_whose_answer_was_lost_is_found(
    place: Path, step: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = ParquetTables._put
    is_alter = step == "alter" and isinstance(error, SinkUnavailable)

    def unanswered(tables: ParquetTables, *arguments: Any) -> None:
        put(tables, *arguments)
        raise error

    with ParquetSink(str(place)) as sink:
        STEPS[step].prepare(sink)
        monkeypatch.setattr(ParquetTables, "_put", unanswered)
        with pytest.raises(SinkUnavailable) if is_alter else nullcontext():
            STEPS[step].work(sink)
        monkeypatch.undo()
        after = observe(sink, TARGET)
        STEPS[step].redo(sink)
        assert observe(sink, TARGET) == after
    assert len(plain(place) if live(place) else []) == len(after[0])


def test_a_data_file_that_is_gone_is_told(loaded: ParquetSink, place: Path) -> None:
    for path in live(place):
        (folder_of(place) / path).unlink()
    with pytest.raises(SinkUnavailable, match="not there any more"):
        STEPS["merge"].work(loaded)


def test_upkeep_joins_small_files_and_deletes_leftovers(loaded: ParquetSink, place: Path) -> None:
    for seq in range(10, 20):
        loaded.merge(TARGET, rows_of({seq: "x"}), keys_of(), fence(seq, seq + 1))
    loaded.begin_load(TARGET, "under way", FEED)
    loaded.load_chunk(TARGET, "under way", 1, [rows_of({1: "x"})])
    folder = folder_of(place)
    left = [folder / f"part-{'0' * 32}.parquet", folder / f"_cdc/staged/part-{'0' * 32}"]
    other = folder / "by hand.csv"
    for path in (*left, other):
        path.write_bytes(b"")
    before = observe(loaded, TARGET)
    upkeep = loaded.maintain(TARGET.id, WEEK)
    assert (upkeep.joined, upkeep.written, upkeep.deleted) == (12, 1, 0)
    old = dt.datetime.now().timestamp() - 2 * WEEK
    for path in folder.rglob("*"):
        os.utime(path, (old, old))
    assert loaded.maintain(TARGET.id, WEEK).deleted == 2
    assert other.exists()
    assert not any(path.exists() for path in left)
    assert observe(loaded, TARGET) == before
    loaded.finish_load(TARGET, "under way", fence(20, 21), 21)
    assert plain(place) == [(1, "x")]
    assert loaded.maintain(TargetId("shop", "gone"), WEEK).joined == 0


def test_a_dropped_table_does_not_come_back(loaded: ParquetSink, place: Path) -> None:
    """A writer that read it before commits to none that was made since."""
    found = loaded.format.read(TARGET.id)
    assert found is not None
    loaded.drop_table(TARGET.id)
    assert live(place) == set()
    assert loaded.read_schema(TARGET.id) is None
    with pytest.raises(LostRace):
        loaded.format.add_columns(TARGET.id, found, pa.schema([("x", pa.int8())]))
    loaded.create_table(TARGET)
    assert observe(loaded, TARGET) == ([], None)
    loaded.drop_table(TARGET.id)
    loaded.drop_table(TARGET.id)
    assert [p.suffix for p in sorted(folder_of(place).rglob("*.*"))] == [".done", ".json"]


def test_manifests_of_others_are_refused(loaded: ParquetSink, place: Path) -> None:
    (found, *_) = sorted((folder_of(place) / "_cdc/manifests").glob("*.json"), reverse=True)
    told = json.loads(found.read_text())
    for content, said in (("{", "cannot be read"), ("{}", "cannot be read")):
        found.write_text(content)
        with pytest.raises(ConfigError, match=said):
            loaded.read_table(TARGET.id)
    found.write_text(json.dumps({**told, "format": 2}))
    with pytest.raises(ConfigError, match="update cdc-assets"):
        loaded.read_table(TARGET.id)


def test_missing_rights_are_told_and_nothing_is_lost(
    loaded: ParquetSink, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = plain(place)

    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "hardlink_to", refused)
        with pytest.raises(ConfigError, match="rights are missing"):
            STEPS["merge"].work(loaded)
    assert plain(place) == before
    STEPS["merge"].work(loaded)
    assert len(plain(place)) == 3


def test_a_full_disk_is_told_and_nothing_is_lost(loaded: ParquetSink, place: Path) -> None:
    """New files are links to a device that is always full."""
    before = observe(loaded, TARGET)
    create = loaded.store.create

    def full(name: str) -> pa.NativeFile:
        create(name).close()
        (place / name).unlink()
        (place / name).symlink_to("/dev/full")
        return create(name)

    loaded.store.create = full  # type: ignore[method-assign]
    for write in (
        lambda: STEPS["merge"].work(loaded),
        lambda: load(loaded, TARGET, "n", [rows_of({1: "x"})], fence(10, 20)),
    ):
        with pytest.raises(SinkUnavailable, match="space"):
            write()
    assert observe(loaded, TARGET) == before
    del loaded.store.create  # type: ignore[method-assign]
    STEPS["merge"].work(loaded)
    assert len(plain(place)) == 3


def test_type_settings_that_are_none(place: Path) -> None:
    with pytest.raises(ConfigError, match="type settings"):
        ParquetSink(str(place), types={"decimal_overflow": "double"})
