"""Tables that stand there before a feed fills them: part of the suite of sinks."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from resources.errors import SchemaMismatch
from resources.model.table import Column
from resources.sinks.contract import Existing, Feed, Sink, TargetTable, Watermark
from resources.sinks.shape import target_schema
from tests.contracts.sink_case import SinkCase
from tests.contracts.sink_shared_steps import NORTH, SHARED, SHARED_STEPS, SOUTH
from tests.contracts.sink_steps import FEED, SCHEMA, TARGET, fence, keys_of, load, observe, rows_of
from tests.strategies import comparable

OTHER = Feed("another", SCHEMA.table)
WIDER = replace(
    TARGET, schema=replace(SCHEMA, columns=(*SCHEMA.columns, Column("more", pa.string())))
)


def fill(sink: Sink, target: TargetTable = TARGET) -> None:
    """Put a table there, with two rows of another feed."""
    columns = [["one", "two"]] * (len(target.schema.columns) - 1)
    rows = pa.table([[1, 2], *columns], schema=target_schema(target))
    sink.create_table(target)
    sink.merge(target, rows, keys_of(), fence(None, 5, 1, OTHER))


class SinkExisting(SinkCase):
    """A load does with a table that stands there what its target says."""

    def test_the_feeds_of_a_table_are_those_that_wrote_into_it(self, sink: Sink) -> None:
        assert sink.list_feeds(SHARED.id) == []
        SHARED_STEPS["shared merge"].prepare(sink)
        assert sink.list_feeds(SHARED.id) == [NORTH, SOUTH]
        assert sink.list_feeds(TARGET.id) == []
        sink.drop_table(SHARED.id)
        assert sink.list_feeds(SHARED.id) == []

    @pytest.mark.parametrize("existing", ["taken", "anew", "kept"])
    def test_a_load_replaces_the_rows_of_a_table_there(
        self, sink: Sink, existing: Existing
    ) -> None:
        fill(sink)
        target = replace(TARGET, existing=existing)
        for load_id in ("first", "again"):  # the second meets the table of the first
            assert load(sink, target, load_id, [rows_of({7: load_id})], fence(None, 10)) == 1
            loaded = (comparable(rows_of({7: load_id})), Watermark(10, 15, 1))
            assert observe(sink, TARGET) == loaded
        sink.merge(TARGET, rows_of({8: "eight"}), keys_of(7), fence(10, 20))
        assert comparable(sink.read_table(TARGET.id)) == comparable(rows_of({8: "eight"}))
        assert FEED in sink.list_feeds(TARGET.id)

    def test_a_table_made_anew_has_the_columns_of_its_load(self, sink: Sink) -> None:
        fill(sink, WIDER)
        load(sink, replace(TARGET, existing="anew"), "a", [rows_of({7: "seven"})], fence(None, 10))
        assert comparable(sink.read_table(TARGET.id)) == comparable(rows_of({7: "seven"}))

    def test_a_table_that_is_kept_is_not_changed_to_fit(self, sink: Sink) -> None:
        fill(sink, WIDER)
        before = comparable(sink.read_table(TARGET.id))
        with pytest.raises(SchemaMismatch, match="more"):
            load(sink, replace(TARGET, existing="kept"), "a", [rows_of({7: "x"})], fence(None, 10))
        assert comparable(sink.read_table(TARGET.id)) == before
        assert sink.read_watermark(TARGET.id, FEED) is None
