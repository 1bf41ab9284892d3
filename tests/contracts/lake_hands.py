"""Tables of a lake that other engines write to as well: part of the suite of lake formats."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

import pyarrow as pa
import pytest

from resources.errors import SchemaMismatch, SinkUnavailable
from resources.sinks import lake_commit
from resources.sinks.lake import LakeSink
from tests.contracts.lake_case import LakeCase
from tests.contracts.sink_steps import STEPS, TARGET, fence, keys_of, load, rows_of
from tests.strategies import comparable


class LakeHands(LakeCase):
    """Formats whose tables any engine may change."""

    @abstractmethod
    def append_by_hand(self, sink: LakeSink, rows: pa.Table) -> None:
        """Let another engine add rows to TARGET, and columns where they have more."""

    @abstractmethod
    def delete_by_hand(self, sink: LakeSink, where: str) -> None:
        """Let another engine delete rows of TARGET."""

    @abstractmethod
    def require_no_leftovers(self, sink: LakeSink, place: Path) -> None:
        """Require that files of an attempt that lost are gone."""

    def test_another_commit_in_between_is_no_failure(
        self, loaded: LakeSink, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Somebody writes to the table while a merge is made: the merge is made anew."""
        by_hand = rows_of({50: "by hand"})
        times = self.before_commit(monkeypatch, lambda: self.append_by_hand(loaded, by_hand))
        STEPS["merge"].work(loaded)
        assert len(times) == 2
        left = rows_of({2: "TWO", 3: None, 4: "four", 50: "by hand"})
        assert comparable(loaded.read_table(TARGET.id)) == comparable(left)
        self.require_no_leftovers(loaded, place)
        monkeypatch.setattr(lake_commit, "ATTEMPTS", 0)
        with pytest.raises(SinkUnavailable, match="came first"):
            loaded.merge(TARGET, rows_of({}), keys_of(), fence(20, 21))

    def test_hand_altered_table_is_shown_and_a_load_mends_it(self, loaded: LakeSink) -> None:
        self.append_by_hand(loaded, pa.table({"id": [9], "name": ["x"], "note": ["y"]}))
        with pytest.raises(SchemaMismatch) as caught:
            STEPS["merge"].work(loaded)
        assert "note string" in str(caught.value)
        assert [f.code for f in loaded.check_table(TARGET)] == ["schema_mismatch"]
        load(loaded, TARGET, "mend", [rows_of({1: "one"})], fence(10, 20))
        assert loaded.check_table(TARGET) == []
        assert comparable(loaded.read_table(TARGET.id)) == comparable(rows_of({1: "one"}))

    def test_rows_written_by_others_are_merged_like_ours(self, loaded: LakeSink) -> None:
        self.append_by_hand(loaded, rows_of({8: "by hand", 9: "by hand"}))
        self.delete_by_hand(loaded, "id = 2")
        loaded.merge(TARGET, rows_of({8: "ours"}), keys_of(1), fence(10, 20))
        left = rows_of({3: None, 8: "ours", 9: "by hand"})
        assert comparable(loaded.read_table(TARGET.id)) == comparable(left)
        assert self.seen(loaded) == [(3, None), (8, "ours"), (9, "by hand")]
