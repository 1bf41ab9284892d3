"""Tables of a lake when something goes wrong: part of the suite of lake formats."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from resources.errors import ConfigError, FencedOut, SinkUnavailable
from resources.sinks.contract import Watermark
from resources.sinks.lake import LakeSink
from resources.sinks.lake_store import OWN_FOLDER
from tests.contracts.lake_case import LakeCase
from tests.contracts.sink_steps import STEPS, TARGET, fence, keys_of, load, observe, rows_of
from tests.sinks.races import race
from tests.strategies import comparable

AFTER_MERGE = [(2, "TWO"), (3, None), (4, "four")]
"""What others see after the step `merge`."""


class LakeFaults(LakeCase):
    """Races, lost answers, full disks, missing rights, files that are gone."""

    def test_two_writers_race_and_one_wins(self, place: Path) -> None:
        with self.make(str(place)) as first, self.make(str(place)) as second:
            first.create_table(TARGET)
            for new in range(1, 6):
                results = race({"first": first, "second": second}, new - 1 or None, new)
                assert sorted(results.values()) == ["lost", "won"]
                winner = next(who for who, result in results.items() if result == "won")
                assert {"id": new, "name": winner} in first.read_table(TARGET.id).to_pylist()
                assert (new, winner) in self.seen(first)
            assert first.count_rows(TARGET.id) == len(self.seen(first)) == 5

    @pytest.mark.parametrize("step", ["merge", "truncate", "load"])
    def test_a_commit_whose_answer_was_lost_is_found(
        self, place: Path, step: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        owner, name = self.commit
        commit = getattr(owner, name)

        def unanswered(format: Any, *arguments: Any) -> None:
            commit(format, *arguments)
            raise SinkUnavailable("no answer")

        with self.make(str(place)) as sink:
            STEPS[step].prepare(sink)
            monkeypatch.setattr(owner, name, unanswered)
            STEPS[step].work(sink)
            monkeypatch.undo()
            after = observe(sink, TARGET)
            assert after[1] is not None
            assert after[1].seq in (20, 40)
            STEPS[step].redo(sink)
            assert observe(sink, TARGET) == after
            assert len(self.seen(sink)) == len(after[0] or [])

    def test_a_stale_writer_is_fenced_out_after_its_race(
        self, loaded: LakeSink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The winner of the race has the greater token: the loser's second attempt sees it."""

        def win() -> None:
            with self.make(loaded.store.root) as other:
                other.merge(TARGET, rows_of({7: "winner"}), keys_of(), fence(10, 11, token=2))

        self.before_commit(monkeypatch, win)
        with pytest.raises(FencedOut, match="token 2"):
            STEPS["merge"].work(loaded)
        assert loaded.count_rows(TARGET.id) == len(self.seen(loaded)) == 4

    @pytest.mark.parametrize("step", ["merge", "load"])
    def test_files_are_durable_before_a_commit_names_them(
        self, place: Path, step: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Else a power cut might keep the watermark and lose the rows."""
        fsync, durable, at_commit = os.fsync, set[int](), set[int]()

        def persist(number: int) -> None:
            fsync(number)
            durable.add(os.fstat(number).st_ino)

        with self.make(str(place)) as sink:
            STEPS[step].prepare(sink)
            before = self.live(sink)
            monkeypatch.setattr(os, "fsync", persist)
            self.before_commit(monkeypatch, lambda: at_commit.update(durable))
            STEPS[step].work(sink)
            new = {Path(path).stat().st_ino for path in self.live(sink) - before}
        assert new
        assert new <= at_commit

    def test_missing_rights_are_told_and_nothing_is_lost(
        self, loaded: LakeSink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = observe(loaded, TARGET), self.seen(loaded)

        def refused(*_: Any, **__: Any) -> None:
            raise PermissionError(13, "Permission denied")

        with monkeypatch.context() as patched:
            patched.setattr(*self.file_call, refused)
            with pytest.raises(ConfigError, match="rights are missing"):
                STEPS["merge"].work(loaded)
        assert (observe(loaded, TARGET), self.seen(loaded)) == before
        STEPS["merge"].work(loaded)
        assert loaded.count_rows(TARGET.id) == 3
        assert self.seen(loaded) == AFTER_MERGE

    def test_a_full_disk_is_told_and_nothing_is_lost(
        self, loaded: LakeSink, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """New files are links to a device that is always full."""
        before = observe(loaded, TARGET), self.seen(loaded)
        create = loaded.store.create

        def full(name: str) -> pa.NativeFile:
            create(name).close()
            (place / name).unlink()
            (place / name).symlink_to("/dev/full")
            return create(name)

        monkeypatch.setattr(loaded.store, "create", full)
        for write in (
            lambda: STEPS["merge"].work(loaded),
            lambda: load(loaded, TARGET, "n", [rows_of({1: "x"})], fence(10, 20)),
        ):
            with pytest.raises(SinkUnavailable, match="space"):
                write()
        assert (observe(loaded, TARGET), self.seen(loaded)) == before
        monkeypatch.undo()
        assert loaded.loaded_chunks(TARGET.id, "n") == {}
        STEPS["merge"].work(loaded)
        assert loaded.count_rows(TARGET.id) == 3
        assert self.seen(loaded) == AFTER_MERGE

    def test_a_data_file_that_is_gone_is_told(self, loaded: LakeSink) -> None:
        for path in self.live(loaded):
            Path(path).unlink()
        with pytest.raises(SinkUnavailable, match="not there any more"):
            STEPS["merge"].work(loaded)

    def test_a_dropped_table_does_not_come_back(
        self, loaded: LakeSink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.drop_broken_off(loaded, monkeypatch)
        assert loaded.read_schema(TARGET.id) is None
        loaded.create_table(TARGET)
        assert observe(loaded, TARGET) == ([], None)
        assert self.seen(loaded) == []
        loaded.drop_table(TARGET.id)
        loaded.drop_table(TARGET.id)
        assert loaded.read_schema(TARGET.id) is None

    def test_a_load_after_a_drop_that_was_broken_off_keeps_its_files(
        self, loaded: LakeSink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The load's files lie in the folder that the drop was about to delete."""
        self.drop_broken_off(loaded, monkeypatch)
        assert load(loaded, TARGET, "anew", [rows_of({1: "new"})], fence(None, 30)) == 1
        assert observe(loaded, TARGET) == (comparable(rows_of({1: "new"})), Watermark(30, 35, 1))
        assert self.seen(loaded) == [(1, "new")]

    def drop_broken_off(self, sink: LakeSink, monkeypatch: pytest.MonkeyPatch) -> None:
        """Drop the table as if killed within, before the first of its data files is gone."""

        def until_data(call: Callable[[str], None]) -> Callable[[str], None]:
            def run(name: str) -> None:
                if f"/{OWN_FOLDER}" not in name:
                    raise KeyboardInterrupt
                call(name)

            return run

        with monkeypatch.context() as patched:
            for name in ("delete_folder", "delete"):
                patched.setattr(sink.store, name, until_data(getattr(sink.store, name)))
            with pytest.raises(KeyboardInterrupt):
                sink.drop_table(TARGET.id)
