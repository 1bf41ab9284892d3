"""Delta tables when something goes wrong: races, lost answers, full disks, broken-off drops."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from resources.errors import (
    ConfigError,
    FencedOut,
    SinkUnavailable,
)
from resources.sinks import lake_commit
from resources.sinks.contract import TargetId, Watermark
from resources.sinks.delta import DeltaSink
from resources.sinks.delta_log import DeltaLog
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
from tests.strategies import comparable


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "lake"


@pytest.fixture
def loaded(place: Path) -> Iterator[DeltaSink]:
    with DeltaSink(str(place)) as sink:
        STEPS["merge"].prepare(sink)
        yield sink


def table_of(place: Path, target: TargetId = TARGET.id) -> DeltaTable:
    return DeltaTable(str(place / target.namespace / target.table))


def paths(place: Path, target: TargetId = TARGET.id) -> set[str]:
    return set(pa.table(table_of(place, target).get_add_actions())["path"].to_pylist())


def test_two_writers_race_and_one_wins(place: Path) -> None:
    with DeltaSink(str(place)) as first, DeltaSink(str(place)) as second:
        first.create_table(TARGET)
        for new in range(1, 11):
            results = race({"first": first, "second": second}, new - 1 or None, new)
            assert sorted(results.values()) == ["lost", "won"]
            winner = next(who for who, result in results.items() if result == "won")
            assert {"id": new, "name": winner} in first.read_table(TARGET.id).to_pylist()
        assert first.count_rows(TARGET.id) == 10


def test_another_commit_in_between_is_no_failure(
    loaded: DeltaSink, place: Path, monkeypatch: Any
) -> None:
    """Somebody compacts the table while a merge is written: the merge is made anew."""
    commit = DeltaLog.commit
    times = []

    def late(log: DeltaLog, *arguments: Any) -> None:
        if not times:
            write_deltalake(table_of(place), rows_of({50: "by hand"}), mode="append")
        times.append(1)
        commit(log, *arguments)

    monkeypatch.setattr(DeltaLog, "commit", late)
    STEPS["merge"].work(loaded)
    assert len(times) == 2
    left = rows_of({2: "TWO", 3: None, 4: "four", 50: "by hand"})
    assert comparable(loaded.read_table(TARGET.id)) == comparable(left)
    there = {str(p.relative_to(place / "shop/orders")) for p in place.rglob("part-*.parquet")}
    assert {p for p in there if not p.startswith("part-0")} <= paths(place)
    monkeypatch.setattr(lake_commit, "ATTEMPTS", 0)
    with pytest.raises(SinkUnavailable, match="came first"):
        loaded.merge(TARGET, rows_of({}), keys_of(), fence(20, 21))


@pytest.mark.parametrize("step", ["merge", "truncate", "load"])
def test_a_commit_whose_answer_was_lost_is_found(
    place: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = DeltaLog.commit

    def unanswered(log: DeltaLog, *arguments: Any) -> None:
        commit(log, *arguments)
        raise SinkUnavailable("no answer")

    with DeltaSink(str(place)) as sink:
        STEPS[step].prepare(sink)
        monkeypatch.setattr(DeltaLog, "commit", unanswered)
        STEPS[step].work(sink)
        monkeypatch.undo()
        after = observe(sink, TARGET)
        assert after[1] is not None
        assert after[1].seq in (20, 40)
        STEPS[step].redo(sink)
        assert observe(sink, TARGET) == after


def test_missing_rights_are_told_and_nothing_is_lost(
    loaded: DeltaSink, monkeypatch: pytest.MonkeyPatch
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


def test_a_full_disk_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    """The folder is a link to a device that is always full, once the table is there."""
    place = tmp_path / "lake"
    with DeltaSink(str(place)) as sink:
        STEPS["merge"].prepare(sink)
        before = observe(sink, TARGET)
        create = sink.store.create

        def full(name: str) -> pa.NativeFile:
            create(name).close()
            (place / name).unlink()
            (place / name).symlink_to("/dev/full")
            return create(name)

        sink.store.create = full  # type: ignore[method-assign]
        for write in (
            lambda: STEPS["merge"].work(sink),
            lambda: load(sink, TARGET, "n", [rows_of({1: "x"})], fence(10, 20)),
        ):
            with pytest.raises(SinkUnavailable, match="space"):
                write()
        assert observe(sink, TARGET) == before
        del sink.store.create  # type: ignore[method-assign]
        assert sink.loaded_chunks(TARGET.id, "n") == {}
        STEPS["merge"].work(sink)
        assert sink.count_rows(TARGET.id) == 3


def test_a_data_file_that_is_gone_is_told(loaded: DeltaSink, place: Path) -> None:
    for path in paths(place):
        (place / "shop/orders" / path).unlink()
    with pytest.raises(SinkUnavailable, match="not there any more"):
        STEPS["merge"].work(loaded)


def test_a_dropped_table_does_not_come_back(loaded: DeltaSink, place: Path) -> None:
    """Killed within the drop, before the first file is gone: a reader sees none already."""
    store = loaded.store
    folder = store.delete_folder
    store.delete_folder = lambda name: None  # type: ignore[method-assign]
    delete = store.delete
    store.delete = lambda name: None  # type: ignore[method-assign]
    loaded.drop_table(TARGET.id)
    assert loaded.read_schema(TARGET.id) is None
    store.delete_folder, store.delete = folder, delete  # type: ignore[method-assign]
    loaded.create_table(TARGET)
    assert observe(loaded, TARGET) == ([], None)


def test_a_load_after_a_drop_that_was_broken_off_keeps_its_files(loaded: DeltaSink) -> None:
    """The load's files lie in the folder that the drop was about to delete."""
    store = loaded.store
    folder, delete = store.delete_folder, store.delete
    store.delete_folder = store.delete = lambda name: None  # type: ignore[method-assign]
    loaded.drop_table(TARGET.id)
    store.delete_folder, store.delete = folder, delete  # type: ignore[method-assign]
    assert load(loaded, TARGET, "anew", [rows_of({1: "new"})], fence(None, 30)) == 1
    assert observe(loaded, TARGET) == (comparable(rows_of({1: "new"})), Watermark(30, 35, 1))


def test_a_stale_writer_is_fenced_out_after_its_race(loaded: DeltaSink, monkeypatch: Any) -> None:
    """The winner of the race has the greater token: the loser's second attempt sees it."""
    commit = DeltaLog.commit
    done = []

    def late(log: DeltaLog, *arguments: Any) -> None:
        if not done:
            done.append(1)
            with DeltaSink(loaded.store.root) as other:
                other.merge(TARGET, rows_of({7: "winner"}), keys_of(), fence(10, 11, token=2))
        commit(log, *arguments)

    monkeypatch.setattr(DeltaLog, "commit", late)
    with pytest.raises(FencedOut, match="token 2"):
        STEPS["merge"].work(loaded)
    assert loaded.count_rows(TARGET.id) == 4
