"""New columns whose old rows get a value: part of the suite of sinks."""

from __future__ import annotations

from functools import partial

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.errors import ConfigError, SchemaMismatch
from resources.model.column_change import FILL, AddColumn, Fill
from resources.model.table import Column, TableId, TableSchema
from resources.sinks.contract import Feed, Fence, Sink, TargetId, TargetTable
from resources.sinks.shape import target_schema
from tests.contracts.sink_case import SinkCase
from tests.strategies import COLUMN_TYPES, arrow_values, comparable

ID = TargetId("shop", "filled")
TYPES = tuple(t for t in COLUMN_TYPES if not pa.types.is_nested(t))
FEEDS = Feed("p", TableId("s", "one")), Feed("p", TableId("s", "two"))
SEVEN = pa.scalar(7, pa.int32())


def target_of(*columns: Column, owner: str = "") -> TargetTable:
    """A table keyed by `id`."""
    own = (Column(owner, pa.string(), nullable=False),) if owner else ()
    key = Column("id", pa.int32(), nullable=False)
    return TargetTable(
        ID, TableSchema(TableId("s", "t"), (key, *columns, *own), ("id",)), owner=owner
    )


def make(sink: Sink, target: TargetTable, ids: range, feed: Feed = FEEDS[0]) -> None:
    """Have rows of a feed in the table, every other column NULL."""
    owners = [str(feed)] * len(ids)
    values = {"id": list(ids), target.owner: owners} if target.owner else {"id": list(ids)}
    schema = target_schema(target)
    arrays = [pa.array(values.get(f.name, [None] * len(ids)), f.type) for f in schema]
    rows = pa.table(arrays, schema=schema)
    sink.create_table(target)
    sink.merge(target, rows, rows.select(["id"]).slice(0, 0), Fence(feed, None, 1, 1))


class SinkFill(SinkCase):
    """Rows that are there get the value, to the bit, and later ones do not."""

    @settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(data=st.data())
    def test_rows_there_get_the_value_of_any_type(
        self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
    ) -> None:
        values = [
            pa.scalar(data.draw(arrow_values(t, nul=False).filter(partial(self.fits, t))), t)
            for t in TYPES
        ]
        columns = [Column(f"c{i}", t) for i, t in enumerate(TYPES)]
        with self.open(str(tmp_path_factory.mktemp("fill") / "shop")) as sink:
            if not self.can(sink, "add", FILL):
                return
            make(sink, target_of(), range(3))
            changes = [AddColumn(c, fill=Fill(v)) for c, v in zip(columns, values, strict=True)]
            sink.alter_table(ID, changes)
            ids = pa.array(range(3), pa.int32())
            arrays = [pa.array([v.as_py()] * 3, v.type) for v in values]
            wanted = pa.table([ids, *arrays], schema=target_schema(target_of(*columns)))
            assert sink.read_schema(ID) == wanted.schema
            assert comparable(sink.read_table(ID)) == comparable(wanted)
            target = target_of(*columns)
            later = target_schema(target).empty_table().slice(0, 0)
            row = pa.table([pa.array([9], f.type) if f.name == "id" else pa.nulls(1, f.type)
                            for f in later.schema], schema=later.schema)  # fmt: skip
            sink.merge(target, row, row.select(["id"]).slice(0, 0), Fence(FEEDS[0], 1, 2, 1))
            (found,) = (r for r in sink.read_table(ID).to_pylist() if r["id"] == 9)
            assert all(value is None for name, value in found.items() if name != "id")

    def test_a_column_that_is_there_is_filled_again_for_one_feed(self, sink: Sink) -> None:
        if not self.can(sink, "add", FILL):
            return
        target = target_of(owner="_cdc_source")
        make(sink, target, range(2))
        make(sink, target, range(2, 5), FEEDS[1])
        for number, feed in ((7, FEEDS[0]), (8, FEEDS[1]), (7, FEEDS[0])):
            fill = Fill(pa.scalar(number, pa.int32()), "_cdc_source", str(feed))
            change = AddColumn(Column("c", pa.int32()), fill=fill)
            assert all("filled" in s for s in sink.render_changes(ID, [change]))
            sink.alter_table(ID, [change])
        rows = sink.read_table(ID).sort_by("id")
        assert rows["c"].to_pylist() == [7, 7, 8, 8, 8]

    def test_a_list_killed_between_its_changes_is_made_again(self, sink: Sink) -> None:
        if not self.can(sink, "add", FILL):
            return
        make(sink, target_of(), range(2))
        first = AddColumn(Column("a", pa.int32()), fill=Fill(SEVEN))
        changes = [first, AddColumn(Column("b", pa.string()))]
        sink.alter_table(ID, [first])
        for _ in range(2):
            sink.alter_table(ID, changes)
        rows = sink.read_table(ID).sort_by("id").to_pylist()
        assert rows == [{"id": i, "a": 7, "b": None} for i in range(2)]

    def test_a_column_of_another_type_is_not_filled(self, sink: Sink) -> None:
        if not self.can(sink, "add", FILL):
            return
        make(sink, target_of(Column("c", pa.string())), range(2))
        change = AddColumn(Column("c", pa.int32()), fill=Fill(SEVEN))
        with pytest.raises(SchemaMismatch, match="its columns are"):
            sink.alter_table(ID, [change])
        assert sink.read_table(ID)["c"].null_count == 2

    def test_a_sink_that_cannot_fill_says_so(self, sink: Sink) -> None:
        if self.can(sink, FILL) or not self.can(sink, "add"):
            return
        make(sink, target_of(), range(2))
        with pytest.raises(ConfigError, match="cannot give the rows there a value"):
            sink.alter_table(ID, [AddColumn(Column("c", pa.int32()), fill=Fill(SEVEN))])
