"""Tables that somebody changed behind a sink's back: a suite for sinks whose tables can be."""

from __future__ import annotations

from typing import ClassVar

import pytest

from resources.errors import SchemaMismatch
from resources.sinks.contract import Sink
from tests.contracts.sink_case import SinkCase
from tests.contracts.sink_steps import FEED, STEPS, TARGET, fence, keys_of, load, observe, rows_of
from tests.strategies import comparable

SHAPES = (
    "column added",
    "required column added",
    "column dropped",
    "column renamed",
    "type changed",
)
"""Changes after which the table is there, in another shape."""
DROPPED = "table dropped"
MADE = "made with other types"


class SinkHands(SinkCase):
    """It is told with both shapes and a remedy, nothing is written, and a load mends it."""

    hands: ClassVar[tuple[str, ...]] = (*SHAPES, DROPPED)
    """What people can do to a table of this sink; what is left out cannot be done."""

    def by_hand(self, sink: Sink, place: str, change: str) -> None:
        """Change TARGET without the sink's knowledge, which stays open."""
        raise NotImplementedError

    def test_tables_altered_by_hand_are_told_and_a_load_mends_them(self, place: str) -> None:
        for change in self.hands:
            there = f"{place}-{change.replace(' ', '-')}"
            with self.open(there) as sink:
                STEPS["merge"].prepare(sink)
                self.by_hand(sink, there, change)
                self.require_told(sink, change)
                self.require_mended(sink, change)

    def require_told(self, sink: Sink, change: str) -> None:
        """The merge is refused with what, where and what to do, and changes nothing."""
        before = self.state(sink)
        with pytest.raises(SchemaMismatch) as caught:
            STEPS["merge"].work(sink)
        said = str(caught.value)
        assert str(TARGET.id) in said, change
        assert "snapshot" in caught.value.remedy, change
        assert ("does not exist" if change == DROPPED else "on the source (id ") in said, change
        findings = [f.code for f in sink.check_table(TARGET)]
        assert findings == ([] if change == DROPPED else ["schema_mismatch"]), change
        assert self.state(sink) == before, change

    def state(self, sink: Sink) -> object:
        """What must not change."""
        return observe(sink, TARGET)

    def require_mended(self, sink: Sink, change: str) -> None:
        """A load puts the table right, and the merges that follow it end equal."""
        mark = sink.read_watermark(TARGET.id, FEED)
        old = rows_of({1: "one", 2: "two", 3: None})
        load(sink, TARGET, "mend", [old], fence(mark.seq if mark else None, 15))
        assert sink.check_table(TARGET) == [], change
        assert comparable(sink.read_table(TARGET.id)) == comparable(old), change
        for _ in range(2):
            mark = sink.read_watermark(TARGET.id, FEED)
            assert mark is not None
            at = fence(mark.seq, 30)
            sink.merge(TARGET, rows_of({2: "TWO", 4: "four"}), keys_of(1, 77), at)
        left = rows_of({2: "TWO", 3: None, 4: "four"})
        assert comparable(sink.read_table(TARGET.id)) == comparable(left), change

    def test_a_table_made_with_other_types_is_refused_before_start(self, place: str) -> None:
        with self.open(place) as sink:
            self.by_hand(sink, place, MADE)
            (finding,) = sink.check_table(TARGET)
            assert (finding.code, finding.level) == ("schema_mismatch", "error")
            assert finding.remedy
            sink.create_table(TARGET)
            with pytest.raises(SchemaMismatch, match="on the source") as caught:
                sink.merge(TARGET, rows_of({1: "x"}), keys_of(), fence(None, 1))
            assert str(TARGET.id) in str(caught.value)
            assert sink.count_rows(TARGET.id) == 0
            load(sink, TARGET, "mend", [rows_of({1: "one"})], fence(None, 15))
            assert sink.check_table(TARGET) == []
            assert comparable(sink.read_table(TARGET.id)) == comparable(rows_of({1: "one"}))
