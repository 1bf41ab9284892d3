"""Parquet tables when something goes wrong: the suite, and broken-off commits."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from resources.errors import FencedOut, SinkUnavailable
from resources.model.column_change import AddColumn, DropColumn
from resources.model.table import Column
from resources.sinks import parquet_tables
from resources.sinks.contract import TargetId, Watermark
from resources.sinks.lake import LakeSink
from resources.sinks.lake_format import LostRace
from resources.sinks.parquet_store import ParquetStore
from resources.sinks.parquet_tables import ParquetTables
from tests.contracts.lake_faults import AFTER_MERGE, LakeFaults
from tests.contracts.sink_steps import FEED, STEPS, TARGET, fence, keys_of, observe, rows_of
from tests.sinks.parquet_room import ParquetRoom, exact, folder_of, live, plain


class TestParquetFaults(ParquetRoom, LakeFaults):
    """Races, lost answers, full disks, and commits that were broken off."""

    @pytest.mark.parametrize("stop", ["publish", "current", "delete", "done"])
    def test_a_commit_that_was_broken_off_is_published_by_the_next_to_open_the_table(
        self, loaded: LakeSink, place: Path, stop: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*_: Any) -> None:
            raise KeyboardInterrupt

        broken_calls: dict[str, tuple[type, str]] = {
            "publish": (ParquetStore, "move"),
            "current": (ParquetTables, "_current_version"),
            "delete": (ParquetStore, "delete"),
            "done": (ParquetStore, "write"),
        }
        with monkeypatch.context() as patched:
            patched.setattr(*broken_calls[stop], broken)
            with pytest.raises(KeyboardInterrupt):
                STEPS["merge"].work(loaded)
        with self.make(str(place)) as sink:
            assert sink.read_watermark(TARGET.id, FEED) == Watermark(20, 15, 1)
            assert plain(place) == exact(place) == AFTER_MERGE

    def test_a_writer_that_was_away_for_many_commits_loses_its_race(
        self, loaded: LakeSink, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The manifest of the version it would put was there, and is deleted as an old one."""
        monkeypatch.setattr(parquet_tables, "_KEPT", 1)

        def win() -> None:
            with self.make(str(place)) as other:
                for seq in range(10, 15):
                    mark = fence(seq, seq + 1, token=2)
                    other.merge(TARGET, rows_of({seq: "winner"}), keys_of(), mark)

        self.before_commit(monkeypatch, win)
        with pytest.raises(FencedOut, match="token 2"):
            STEPS["merge"].work(loaded)
        assert len(plain(place)) == loaded.count_rows(TARGET.id) == 8

    def test_files_that_another_commit_deletes_meanwhile_are_a_lost_race(
        self, loaded: LakeSink, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read = ParquetTables.read
        done = []

        def late(tables: ParquetTables, target: TargetId) -> Any:
            found = read(tables, target)
            if not done:
                done.append(1)
                with self.make(str(place)) as other:
                    other.alter_table(TARGET.id, [AddColumn(Column("x", pa.int8()), fill=1)])
                    other.alter_table(TARGET.id, [DropColumn("x")])
            return found

        monkeypatch.setattr(ParquetTables, "read", late)
        STEPS["merge"].work(loaded)
        assert plain(place) == AFTER_MERGE

    @pytest.mark.parametrize(
        ("step", "error"),
        [
            ("alter", SinkUnavailable("no answer")),
            *((step, LostRace()) for step in ("merge", "truncate", "load", "alter")),
        ],
    )
    def test_a_manifest_whose_answer_was_lost_is_found(
        self, place: Path, step: str, error: Exception, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The store says that it was there before, or the answer is lost of a change of columns."""
        put = ParquetTables._put
        is_told = step == "alter" and isinstance(error, SinkUnavailable)

        def unanswered(tables: ParquetTables, *arguments: Any) -> None:
            put(tables, *arguments)
            raise error

        with self.make(str(place)) as sink:
            STEPS[step].prepare(sink)
            monkeypatch.setattr(ParquetTables, "_put", unanswered)
            with pytest.raises(SinkUnavailable) if is_told else nullcontext():
                STEPS[step].work(sink)
            monkeypatch.undo()
            after = observe(sink, TARGET)
            STEPS[step].redo(sink)
            assert observe(sink, TARGET) == after
        assert len(plain(place)) == len(after[0] or [])

    def test_a_writer_commits_to_no_table_made_since_its_own_was_dropped(
        self, loaded: LakeSink, place: Path
    ) -> None:
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
        left = [p.suffix for p in sorted(folder_of(place).rglob("*.*"))]
        assert left == [".done", ".json"]
