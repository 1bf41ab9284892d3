"""Paimon tables when something goes wrong: what the suite of lakes asks, and other writers."""

from __future__ import annotations

import threading
from pathlib import Path

import pyarrow as pa
import pytest
from pypaimon import Schema
from pypaimon.schema.data_types import AtomicType
from pypaimon.schema.schema_change import SchemaChange

from resources.errors import ConfigError, FencedOut, SchemaMismatch, SinkUnavailable
from resources.sinks.contract import Watermark
from resources.sinks.lake import LakeSink
from tests.contracts.lake_faults import AFTER_MERGE, LakeFaults
from tests.contracts.sink_steps import FEED, STEPS, TARGET, fence, keys_of, load, observe, rows_of
from tests.sinks.paimon_room import PaimonRoom
from tests.strategies import comparable


class TestPaimonFaults(PaimonRoom, LakeFaults):
    """Races, lost answers, full disks, and writers of other engines."""

    def test_a_data_file_that_is_gone_is_told(self, loaded: LakeSink) -> None:
        """A merge reads no file, so that only readers find out; a load mends it."""
        for path in self.live(loaded):
            Path(path).unlink()
        STEPS["merge"].work(loaded)
        for call in (loaded.read_table, loaded.count_rows):
            with pytest.raises(SinkUnavailable, match="not there any more"):
                call(TARGET.id)
        assert load(loaded, TARGET, "anew", [rows_of({1: "new"})], fence(20, 30)) == 1
        assert self.seen(loaded) == [(1, "new")]

    def test_a_writer_that_was_away_for_many_commits_loses_its_race(
        self, loaded: LakeSink, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The snapshot it would put was there, and is deleted as an old one."""

        def win() -> None:
            with self.make(str(place)) as other:
                for seq in range(10, 15):
                    mark = fence(seq, seq + 1, token=2)
                    other.merge(TARGET, rows_of({seq: "winner"}), keys_of(), mark)
            snapshots = place / "shop.db" / "orders" / "snapshot"
            numbers = sorted(int(p.name.rpartition("-")[2]) for p in snapshots.glob("snapshot-*"))
            for number in numbers[:-1]:
                (snapshots / f"snapshot-{number}").unlink()

        self.before_commit(monkeypatch, win)
        with pytest.raises(FencedOut, match="token 2"):
            STEPS["merge"].work(loaded)
        assert len(self.seen(loaded)) == loaded.count_rows(TARGET.id) == 8

    def write_by_hand(self, sink: LakeSink, rows: pa.Table) -> None:
        """Let pypaimon write to the table."""
        builder = self.paimon(sink).new_batch_write_builder()
        write, commit = builder.new_write(), builder.new_commit()
        schema = pa.schema([rows.schema.field(0).with_nullable(False), *list(rows.schema)[1:]])
        write.write_arrow(rows.cast(schema))
        commit.commit(write.prepare_commit())

    def test_rows_written_by_others_are_merged_like_ours(self, loaded: LakeSink) -> None:
        """Their snapshots say nothing of feeds; their sequence numbers are gone on from."""
        for number in range(3):
            self.write_by_hand(loaded, rows_of({8: f"by hand {number}", 9: "by hand"}))
        assert loaded.read_watermark(TARGET.id, FEED) == Watermark(10, 15, 1)
        loaded.merge(TARGET, rows_of({8: "ours"}), keys_of(1), fence(10, 20))
        left = [(2, "two"), (3, None), (8, "ours"), (9, "by hand")]
        assert self.seen(loaded) == left
        assert comparable(loaded.read_table(TARGET.id)) == comparable(rows_of(dict(left)))

    def test_another_commit_in_between_is_no_failure(
        self, loaded: LakeSink, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        by_hand = rows_of({50: "by hand"})
        times = self.before_commit(monkeypatch, lambda: self.write_by_hand(loaded, by_hand))
        STEPS["merge"].work(loaded)
        assert len(times) == 2
        assert self.seen(loaded) == [*AFTER_MERGE, (50, "by hand")]
        written = {str(p) for p in place.rglob("data-*.parquet")}
        assert written == self.live(loaded), "files of the attempt that lost are left"

    def test_hand_altered_table_is_shown_and_a_load_mends_it(self, loaded: LakeSink) -> None:
        catalog = self.catalog_of(loaded)
        change = SchemaChange.add_column("note", AtomicType("STRING"))
        catalog.alter_table("shop.orders", [change], False)
        with pytest.raises(SchemaMismatch) as caught:
            STEPS["merge"].work(loaded)
        assert "note string" in str(caught.value)
        assert [f.code for f in loaded.check_table(TARGET)] == ["schema_mismatch"]
        load(loaded, TARGET, "mend", [rows_of({1: "one"})], fence(10, 20))
        assert loaded.check_table(TARGET) == []
        assert comparable(loaded.read_table(TARGET.id)) == comparable(rows_of({1: "one"}))
        assert self.seen(loaded) == [(1, "one")]

    def test_a_commit_put_twice_is_one_commit(
        self, loaded: LakeSink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The store says that it was there before: by the first try, whose answer was lost."""
        put = loaded.store.put_new  # type: ignore[attr-defined]
        monkeypatch.setattr(loaded.store, "put_new", lambda *given: put(*given) and False)
        STEPS["merge"].work(loaded)
        monkeypatch.undo()
        assert observe(loaded, TARGET)[1] == Watermark(20, 15, 1)
        assert self.seen(loaded) == AFTER_MERGE

    def test_a_disk_full_under_the_manifests_is_told_and_nothing_is_lost(
        self, loaded: LakeSink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = observe(loaded, TARGET), self.seen(loaded)
        write = loaded.store.write

        def full(name: str, content: bytes) -> None:
            if "/manifest/" in name:
                raise SinkUnavailable("no space left")
            write(name, content)

        monkeypatch.setattr(loaded.store, "write", full)
        with pytest.raises(SinkUnavailable, match="space"):
            STEPS["merge"].work(loaded)
        monkeypatch.undo()
        assert (observe(loaded, TARGET), self.seen(loaded)) == before
        STEPS["merge"].work(loaded)
        assert self.seen(loaded) == AFTER_MERGE

    def test_readers_see_one_commit_or_another_while_a_table_is_written(
        self, loaded: LakeSink
    ) -> None:
        ids = range(50)
        load(loaded, TARGET, "all", [rows_of(dict.fromkeys(ids, "0"))], fence(10, 20))
        seen: list[set[str]] = []
        stop = threading.Event()

        def read() -> None:
            while not stop.is_set() or not seen:
                seen.append(set(self.others(loaded)["name"].to_pylist()))

        reader = threading.Thread(target=read)
        reader.start()
        try:
            for turn in range(20, 30):
                rows = rows_of(dict.fromkeys(ids, str(turn)))
                loaded.merge(TARGET, rows, keys_of(), fence(turn, turn + 1))
                if turn % 5 == 0:
                    loaded.maintain(TARGET.id, 0)
        finally:
            stop.set()
            reader.join()
        assert all(len(names) == 1 for names in seen)

    @pytest.mark.parametrize(
        "options",
        [
            {"bucket": "1", "merge-engine": "partial-update"},
            {"bucket": "1", "sequence.field": "name"},
            {"bucket": "1", "changelog-producer": "input"},
            {"bucket": "1", "deletion-vectors.enabled": "true"},
            {"bucket": "-1"},
        ],
        ids=str,
    )
    def test_tables_that_ask_more_of_a_writer_are_refused(
        self, place: Path, options: dict[str, str]
    ) -> None:
        schema = pa.schema([pa.field("id", pa.int64(), nullable=False), ("name", pa.string())])
        made = Schema.from_pyarrow_schema(schema, primary_keys=["id"], options=options)
        with self.make(str(place)) as sink:
            catalog = self.catalog_of(sink)
            catalog.create_database("shop", True)
            catalog.create_table("shop.orders", made, False)
            for call in (sink.check_table, sink.create_table):
                with pytest.raises(ConfigError, match="does not keep"):
                    call(TARGET)

    def test_another_primary_key_is_shown_and_a_load_mends_it(self, place: Path) -> None:
        schema = pa.schema([("id", pa.int64()), pa.field("name", pa.string(), nullable=False)])
        made = Schema.from_pyarrow_schema(schema, primary_keys=["name"], options={"bucket": "1"})
        with self.make(str(place)) as sink:
            catalog = self.catalog_of(sink)
            catalog.create_database("shop", True)
            catalog.create_table("shop.orders", made, False)
            assert [f.code for f in sink.check_table(TARGET)] == ["schema_mismatch"]
            with pytest.raises(SchemaMismatch, match=r"primary key is \['name'\], not \['id'\]"):
                sink.merge(TARGET, rows_of({1: "one"}), keys_of(), fence(None, 1))
            load(sink, TARGET, "a", [rows_of({1: "one", 2: "two", 3: None})], fence(None, 10))
            assert sink.check_table(TARGET) == []
            STEPS["merge"].work(sink)
            assert self.seen(sink) == AFTER_MERGE

    def test_a_table_that_was_made_by_hand_is_filled(self, place: Path) -> None:
        schema = pa.schema([pa.field("id", pa.int64(), nullable=False), ("name", pa.string())])
        made = Schema.from_pyarrow_schema(schema, primary_keys=["id"], options={"bucket": "3"})
        with self.make(str(place)) as sink:
            catalog = self.catalog_of(sink)
            catalog.create_database("shop", True)
            catalog.create_table("shop.orders", made, False)
            assert sink.check_table(TARGET) == []
            load(sink, TARGET, "a", [rows_of({1: "one", 2: "two", 3: None})], fence(None, 10))
            STEPS["merge"].work(sink)
            assert self.seen(sink) == AFTER_MERGE
            assert self.paimon(sink).options.bucket() == 3

    def test_tables_of_other_writers_that_are_not_read_are_refused(
        self, place: Path, loaded: LakeSink
    ) -> None:
        schema = pa.schema([pa.field("id", pa.int64(), nullable=False), ("name", pa.string())])
        options = {"bucket": "1", "file.format": "orc"}
        made = Schema.from_pyarrow_schema(schema, primary_keys=["id"], options=options)
        loaded.drop_table(TARGET.id)
        self.catalog_of(loaded).create_table("shop.orders", made, False)
        self.write_by_hand(loaded, rows_of({1: "x"}))
        with pytest.raises(ConfigError, match=r"does not keep: file\.format: orc"):
            loaded.read_table(TARGET.id)
