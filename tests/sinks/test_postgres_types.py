"""Arrow types and values in PostgreSQL: what each becomes, and what it cannot hold."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.errors import ConfigError, DirtyRowError
from resources.model.table import Column, TableId, TableSchema
from resources.sinks.contract import TargetId, TargetTable
from resources.sinks.postgres import PostgresSink
from resources.sinks.postgres_copy import encode, find_unwritable
from resources.sinks.shape import target_schema
from tests.contracts.sink_steps import fence, keyed_target
from tests.sinks.postgres_room import Room
from tests.sinks.postgres_room import room as room
from tests.strategies import COLUMN_TYPES, GEOMETRY, VECTOR, WIDE_DECIMALS, arrow_values, comparable

TYPES = {
    pa.bool_(): "boolean",
    pa.int8(): "smallint",
    pa.int16(): "smallint",
    pa.int32(): "integer",
    pa.int64(): "bigint",
    pa.uint8(): "smallint",
    pa.uint16(): "integer",
    pa.uint32(): "bigint",
    pa.uint64(): "numeric(20,0)",
    pa.decimal128(38, 30): "numeric(38,30)",
    pa.decimal256(65, 30): "numeric(65,30)",
    pa.float32(): "real",
    pa.float64(): "double precision",
    pa.date32(): "date",
    pa.timestamp("us"): "timestamp(6) without time zone",
    pa.timestamp("us", tz="UTC"): "timestamp(6) with time zone",
    pa.duration("us"): "interval",
    pa.string(): "text",
    pa.large_string(): "text",
    pa.binary(): "bytea",
    pa.large_binary(): "bytea",
    GEOMETRY: "bytea",
    VECTOR: "real[]",
}
SAID = [
    (pa.uint64(), 2**64 - 1, "18446744073709551615"),
    (pa.decimal256(65, 30), Decimal("-1E-30"), "-0." + "0" * 29 + "1"),
    (pa.decimal128(38, 4), Decimal("70000.5000"), "70000.5000"),
    (pa.duration("us"), dt.timedelta(hours=-838, microseconds=-1), "-838:00:00.000001"),
    (pa.date32(), dt.date(1, 1, 1), "0001-01-01"),
    (
        pa.timestamp("us"),
        dt.datetime(9999, 12, 31, 23, 59, 59, 999999),
        "9999-12-31 23:59:59.999999",
    ),
    (
        pa.timestamp("us", tz="UTC"),
        dt.datetime(2024, 2, 29, tzinfo=dt.UTC),
        "2024-02-29 00:00:00+00",
    ),
    (pa.float32(), -0.0, "-0"),
    (pa.float64(), float("nan"), "NaN"),
    (pa.bool_(), True, "true"),
    (VECTOR, [1.5, -2.0], "{1.5,-2}"),
    (VECTOR, [], "{}"),
    (GEOMETRY, {"srid": 4326, "wkb": b"\1\2"}, r"\xe61000000102"),
    (pa.string(), "né", "né"),
    (pa.binary(), b"\0\xff", r"\x00ff"),
]
_FIRST = -210_866_803_200_000_000  # 4713 BC in microseconds from 1970
BAD = [
    (pa.string(), ["a", "b\0c", None, "\0"], [1, 3], "NUL"),
    (pa.large_string(), ["\0"], [0], "NUL"),
    (pa.date32(), [-(2**31), 2**31 - 1, -2_440_588, -2_440_589, None], [0, 1, 3], "date"),
    (pa.timestamp("us"), [-(2**63), 2**63 - 1, 0, _FIRST, _FIRST - 1, None], [0, 4], "time"),
    (pa.timestamp("us", tz="UTC"), [-(2**63) + 946_684_800_000_001, 2**63 - 1], [0], "time"),
    (VECTOR, [[1.0], [1.0, None], [None], None], [1, 2], "NULL in it"),
    (GEOMETRY, [{"srid": None, "wkb": b""}, {"srid": 1, "wkb": None}, None], [0, 1], "half NULL"),
]


def rows_of(target: TargetTable, *columns: list[Any] | pa.Array) -> pa.Table:
    return pa.table([list(range(len(columns[0]))), *columns], schema=target_schema(target))


def fill(sink: PostgresSink, target: TargetTable, rows: pa.Table) -> None:
    sink.create_table(target)
    sink.merge(target, rows, rows.select(["id"]).slice(0, 0), fence(None, 1))


@pytest.fixture
def sink(room: Room, request: pytest.FixtureRequest) -> Iterator[PostgresSink]:
    with room.sink(request.node.name) as sink:
        yield sink


def run(room: Room, request: pytest.FixtureRequest, *statements: str) -> list[tuple[Any, ...]]:
    return room.run(room.database(request.node.name), *statements)


def test_types(room: Room, sink: PostgresSink, request: pytest.FixtureRequest) -> None:
    sink.create_table(keyed_target(*(Column(f"c{i}", t) for i, t in enumerate(TYPES))))
    found = run(
        room,
        request,
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = 'shop.t'::regclass AND attnum > 1 ORDER BY attnum",
    )
    assert [row[0] for row in found] == list(TYPES.values())


def test_values_as_the_server_prints_them(
    room: Room, sink: PostgresSink, request: pytest.FixtureRequest
) -> None:
    """The binary forms mean what they should, judged by the server and not by reading back."""
    target = keyed_target(*(Column(f"c{i}", t) for i, (t, _, _) in enumerate(SAID)))
    fill(sink, target, rows_of(target, *([value] for _, value, _ in SAID)))
    texts = ", ".join(f"c{i}::text" for i in range(len(SAID)))
    (row,) = run(room, request, "SET timezone = 'UTC'", f"SELECT {texts} FROM shop.t")
    assert list(row) == [text for _, _, text in SAID]


@pytest.mark.parametrize(("type_", "values", "bad", "reason"), BAD, ids=lambda v: str(v)[:20])
def test_values_without_a_form_are_dirty_rows(
    sink: PostgresSink, type_: pa.DataType, values: list[Any], bad: list[int], reason: str
) -> None:
    target = keyed_target(Column("v", type_))
    plain = (
        pa.array(values, pa.int32() if pa.types.is_date(type_) else pa.int64())
        if (pa.types.is_temporal(type_))
        else pa.array(values, type_)
    )
    rows = rows_of(target, plain.cast(type_))
    sink.create_table(target)
    with pytest.raises(DirtyRowError, match=reason) as caught:
        sink.merge(target, rows, rows.select(["id"]).slice(0, 0), fence(None, 1))
    assert caught.value.field == "v"
    rejected = sink.find_rejected(target, rows)
    assert [(r.index, r.field) for r in rejected] == [(i, "v") for i in bad]
    assert all(reason in r.message for r in rejected)
    good = rows.take(pa.array([i for i in range(len(values)) if i not in bad], pa.int64()))
    sink.merge(target, good, rows.select(["id"]).slice(0, 0), fence(None, 1))
    assert sink.read_table(target.id).sort_by("id").equals(good)


def test_text_that_is_not_utf8_is_a_dirty_row(sink: PostgresSink) -> None:
    target = keyed_target(Column("v", pa.string()))
    rows = rows_of(target, pa.array([b"fine", b"\xff\xfe"]).view(pa.string()))
    sink.create_table(target)
    with pytest.raises(DirtyRowError, match="UTF-8"):
        sink.merge(target, rows, rows.select(["id"]).slice(0, 0), fence(None, 1))
    (rejected,) = sink.find_rejected(target, rows)
    assert (rejected.index, rejected.field) == (1, "v")


def test_keys_too_long_for_an_index_are_dirty_rows(sink: PostgresSink) -> None:
    columns = (Column("k", pa.binary()),)
    target = TargetTable(TargetId("shop", "t"), TableSchema(TableId("s", "t"), columns, ("k",)))
    keys = [b"a", random.Random(1).randbytes(5000), b"b" * 2000]  # the last can be compressed
    rows = pa.table([keys], schema=target_schema(target))
    sink.create_table(target)
    assert [r.index for r in sink.find_rejected(target, rows)] == [1]


@pytest.mark.parametrize("json", ["text", "json", "jsonb"])
def test_json(room: Room, request: pytest.FixtureRequest, json: str) -> None:
    column = Column("doc", pa.large_string(), kind="json")
    target = keyed_target(column)
    texts = ['{"b": 1,  "a": [1, null]}', None, '"x"', '"\\u0000"']
    with room.sink(request.node.name, types={"json_columns": json}) as sink:
        rows = rows_of(target, texts)
        sink.create_table(target)
        rejected = sink.find_rejected(target, rows)
        assert [r.index for r in rejected] == ([3] if json == "jsonb" else [])
        good = rows.slice(0, 3)
        sink.merge(target, good, rows.select(["id"]).slice(0, 0), fence(None, 1))
        found = sink.read_table(target.id).sort_by("id")["doc"].to_pylist()
        assert sink.check_table(target) == []
    printed = '{"a": [1, null], "b": 1}' if json == "jsonb" else texts[0]
    assert found == [printed, None, '"x"']
    kind = run(room, request, "SELECT pg_typeof(doc)::text FROM shop.t LIMIT 1")
    assert kind == [(json,)]


def test_type_settings_there_are_not() -> None:
    for types in ({"json_columns": "xml"}, {"text": "varchar"}):
        with pytest.raises(ConfigError, match="type settings"):
            PostgresSink("postgresql://localhost", types=types)


@pytest.mark.parametrize(
    "type_",
    [
        *(pa.float16(), pa.time64("us"), pa.map_(pa.int8(), pa.int8()), pa.timestamp("ns")),
        *(pa.decimal128(5, -2), pa.list_(pa.string()), pa.struct([("a", pa.int8())])),
    ],
    ids=str,
)
def test_types_without_counterpart_are_refused(sink: PostgresSink, type_: pa.DataType) -> None:
    target = keyed_target(Column("v", type_))
    assert [f.code for f in sink.check_table(target)] == ["type_refused"]
    with pytest.raises(ConfigError, match="cannot hold"):
        sink.create_table(target)


def test_fifty_megabytes_in_one_value(sink: PostgresSink) -> None:
    target = keyed_target(Column("b", pa.large_binary()))
    rows = rows_of(target, [b"\x01\x02\x00\xff" * (50 << 18), b"", None])
    fill(sink, target, rows)
    assert sink.read_table(target.id).sort_by("id").equals(rows)


@settings(max_examples=15)
@given(data=st.data())
def test_slices_and_chunks_are_encoded_as_whole_columns_are(data: st.DataObject) -> None:
    """Arrow arrays come with offsets, in several chunks, and with rubbish below NULLs."""
    types = (*COLUMN_TYPES, *WIDE_DECIMALS)
    columns = []
    for type_ in types:
        values = data.draw(st.lists(st.none() | arrow_values(type_), min_size=5, max_size=5))
        columns.append(pa.array(values, type_))
    rows = pa.table(columns, names=[str(i) for i in range(len(types))])
    start = data.draw(st.integers(0, 5))
    cut = rows.slice(start)
    fresh = pa.table([pa.array(c.to_pylist(), c.type) for c in cut.columns], names=cut.column_names)
    assert comparable(cut) == comparable(fresh)
    bad = {r.index: (r.field, r.message) for r in find_unwritable(cut)}
    assert bad == {r.index: (r.field, r.message) for r in find_unwritable(fresh)}
    good = [i for i in range(fresh.num_rows) if i not in bad]
    whole = b"".join(bytes(b) for b in encode(fresh.take(pa.array(good, pa.int64())), ""))
    pieces = pa.concat_tables([cut.slice(i, 1) for i in good]) if good else cut.slice(0, 0)
    assert b"".join(bytes(b) for b in encode(pieces, "")) == whole
