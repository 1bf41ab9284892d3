"""Values and types in ClickHouse: those it holds, and those it cannot."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pytest

from resources.errors import ConfigError, DirtyRowError
from resources.model.table import Column
from resources.sinks.clickhouse import ClickHouseSink
from resources.sinks.clickhouse_types import FULL_REACH, OLD_REACH
from resources.sinks.shape import target_schema
from tests.contracts.sink_steps import fence, keyed_target
from tests.sinks.clickhouse_room import Room
from tests.sinks.clickhouse_room import room as room
from tests.sinks.clickhouse_room import sink as sink
from tests.strategies import GEOMETRY, VECTOR


def test_types(sink: ClickHouseSink, room: Room) -> None:
    types = {
        pa.bool_(): "Nullable(Bool)",
        pa.uint64(): "Nullable(UInt64)",
        pa.decimal256(76, 38): "Nullable(Decimal(76, 38))",
        pa.date32(): "Nullable(Date32)",
        pa.timestamp("us"): "Nullable(DateTime64(6, 'UTC'))",
        pa.timestamp("us", tz="UTC"): "Nullable(DateTime64(6, 'UTC'))",
        pa.duration("us"): "Nullable(Int64)",
        pa.large_string(): "Nullable(String)",
        pa.large_binary(): "Nullable(String)",
        GEOMETRY: "Nullable(String)",
        VECTOR: "Array(Float32)",
    }
    columns = [Column(f"c{i}", t, comment="it's") for i, t in enumerate(types)]
    target = keyed_target(*columns)
    sink.create_table(target)
    query = "SELECT type, comment FROM system.columns WHERE database = 'shop' AND table = 't'"
    found = room.rows(f"{query} AND name LIKE 'c%' ORDER BY position")
    assert [f[0] for f in found] == list(types.values())
    assert all(f[1].startswith("it's") for f in found)
    assert sink.read_schema(target.id) == target_schema(target)
    assert sink.check_table(target) == []


@pytest.mark.parametrize("type_", [pa.float16(), pa.time64("us"), pa.map_(pa.int8(), pa.int8())])
def test_types_without_counterpart_are_findings(sink: ClickHouseSink, type_: pa.DataType) -> None:
    (finding,) = sink.check_table(keyed_target(Column("v", type_)))
    assert finding.code == "type_refused"
    with pytest.raises(ConfigError, match="cannot hold"):
        sink.create_table(keyed_target(Column("v", type_)))


def test_vectors_are_arrays_and_an_empty_one_is_a_dirty_row(
    sink: ClickHouseSink, room: Room
) -> None:
    target = keyed_target(Column("v", VECTOR))
    rows = pa.table([[1, 2, 3], [[1.5, -2.0], None, []]], schema=target_schema(target))
    sink.create_table(target)
    with pytest.raises(DirtyRowError, match="empty vector"):
        sink.merge(target, rows, rows.select(["id"]).slice(0, 0), fence(None, 1))
    assert [(r.index, r.field) for r in sink.find_rejected(target, rows)] == [(2, "v")]
    sink.merge(target, rows.slice(0, 2), rows.select(["id"]).slice(0, 0), fence(None, 1))
    assert sink.read_table(target.id).sort_by("id").equals(rows.slice(0, 2))
    assert room.rows("SELECT v FROM shop.t ORDER BY id") == [([1.5, -2.0],), ([],)]


def test_days_beyond_the_servers_calendar_are_dirty_rows(sink: ClickHouseSink) -> None:
    """An older server would store another day without a word; what it holds is asked for once."""
    columns = (Column("d", pa.date32()), Column("t", pa.timestamp("us")))
    target = keyed_target(*columns)
    ends = [dt.datetime(1900, 1, 1), dt.datetime(2299, 12, 31, 23, 59, 59, 999_999)]
    outside = [dt.datetime(1899, 12, 31, 23, 59, 59), dt.datetime(2300, 1, 1), dt.datetime.max]
    times = [*ends, *outside, None]
    rows = pa.table(
        [range(len(times)), [t and t.date() for t in times], times], schema=target_schema(target)
    )
    sink.create_table(target)
    assert sink._server.reach == FULL_REACH
    assert sink.find_rejected(target, rows) == []
    sink._server.reach = OLD_REACH
    with pytest.raises(DirtyRowError, match="outside the years"):
        sink.merge(target, rows, rows.select(["id"]).slice(0, 0), fence(None, 1))
    assert [(r.index, r.field) for r in sink.find_rejected(target, rows)] == [
        *((2, "d"), (3, "d"), (4, "d"))
    ]
    good = rows.take([0, 1, 5])
    sink.merge(target, good, rows.select(["id"]).slice(0, 0), fence(None, 1))
    assert sink.read_table(target.id).sort_by("id").equals(good)
