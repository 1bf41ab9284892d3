"""Messages of Kafka: what a reader of either format finds in them."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.model.change import RowKind
from resources.model.table import Column, TableId, TableSchema
from resources.sinks.contract import TargetId, TargetTable
from resources.sinks.decimal_text import decimal_text
from resources.sinks.kafka_canal import CanalJson
from resources.sinks.kafka_debezium import DebeziumJson
from resources.sinks.kafka_events import events_of
from resources.sinks.kafka_json import joined, object_text, text_cells, typed_cells, typed_json
from resources.sinks.kafka_messages import MessageFormat, Origin, column
from tests.sinks.kafka_room import Seen, fold
from tests.strategies import Changes, change_sequences, state_table, table_schemas

INS, DEL = RowKind.INSERT, RowKind.DELETE
UB, UA = RowKind.UPDATE_BEFORE, RowKind.UPDATE_AFTER
FORMATS: tuple[MessageFormat, ...] = (DebeziumJson(), CanalJson())
ORDERS = TableSchema(
    TableId("shop", "orders"),
    (
        Column("id", pa.int64(), source_type="bigint"),
        Column("amount", pa.decimal128(10, 2), source_type="decimal(10,2)"),
    ),
    ("id",),
)


def messages(form: MessageFormat, schema: TableSchema, rows: pa.Table) -> list[Seen]:
    target = TargetTable(TargetId("lake", schema.table.table), schema, "append")
    events = events_of(rows, schema.key, 0)
    origin = Origin("p", schema.table, target, 1_700_000_000_000)
    keys = form.keys(schema, rows.take(pa.array(events.keys))).to_pylist()
    values = form.values(rows, events, origin).to_pylist()
    return [Seen(0, json.loads(k), json.loads(v), {}) for k, v in zip(keys, values, strict=True)]


def arrays(rows: pa.Table) -> list[pa.Array]:
    return [column(rows, name) for name in rows.column_names]


def orders(*changes: tuple[RowKind, int, str]) -> pa.Table:
    rows = [(kind, {"id": i, "amount": Decimal(a)}) for kind, i, a in changes]
    return pa.Table.from_batches([Changes(ORDERS, rows, 5).batch()])


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(data=st.data())
@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_a_fold_of_random_changes_equals_a_dict(form: MessageFormat, data: st.DataObject) -> None:
    types = (pa.int64(), pa.string(), pa.decimal128(18, 3), pa.binary())
    changes = data.draw(change_sequences(table_schemas(types)))
    rows = pa.Table.from_batches([changes.batch()])
    folded = fold(messages(form, changes.schema, rows))
    state: dict[tuple[Any, ...], dict[str, Any]] = {}
    changes.apply(state)
    left = state_table(changes.schema, state)
    told = typed_cells if form.name == "debezium-json" else text_cells
    texts = joined(object_text(left.column_names, [told(c) for c in arrays(left)]))
    wanted = [json.loads(text) for text in texts.to_pylist()]
    assert sorted(map(repr, folded.values())) == sorted(map(repr, wanted))


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_an_update_is_one_message_and_a_new_key_two(form: MessageFormat) -> None:
    rows = orders((UB, 1, "9.90"), (UA, 1, "12"), (UB, 1, "12"), (UA, 2, "12"), (UA, 3, "0"))
    seen = messages(form, ORDERS, rows)
    assert [m.key["id"] for m in seen] == [1, 1, 2, 3]
    if form.name == "canal-json":
        assert [m.value["type"] for m in seen] == ["UPDATE", "DELETE", "INSERT", "UPDATE"]
        assert [m.value["old"] for m in seen] == [[{"amount": "9.90"}], None, None, None]
        assert seen[0].value["data"] == [{"id": "1", "amount": "12.00"}]
        assert seen[0].value["pkNames"] == ["id"]
        assert seen[0].value["mysqlType"] == {"id": "bigint", "amount": "decimal(10,2)"}
        assert seen[0].value["sqlType"] == {"id": -5, "amount": 3}
        assert (seen[0].value["database"], seen[0].value["isDdl"]) == ("lake", False)
    else:
        assert [m.value["op"] for m in seen] == ["u", "d", "c", "u"]
        assert seen[0].value["before"] == {"id": 1, "amount": "9.90"}
        assert seen[0].value["after"] == {"id": 1, "amount": "12.00"}
        assert seen[1].value["after"] is seen[2].value["before"] is seen[3].value["before"] is None
        source = seen[0].value["source"]
        assert (source["db"], source["table"], source["seq"]) == ("shop", "orders", 6)
        assert seen[0].value["ts_ms"] == 1_700_000_000_000


def test_images_whose_other_one_is_not_there_stand_alone() -> None:
    """The filter of a log of changes judges each image: out of it is a delete."""
    ops = [m.value["op"] for m in messages(FORMATS[0], ORDERS, orders((UB, 1, "1"), (INS, 2, "1")))]
    assert ops == ["d", "c"]
    apart = pa.concat_tables([orders((UB, 1, "1")), orders((DEL, 9, "1"), (UA, 1, "2")).slice(1)])
    assert [m.value["op"] for m in messages(FORMATS[0], ORDERS, apart)] == ["u"]


def test_the_schema_names_types_and_units_as_kafka_connect_does() -> None:
    columns = {
        "d": (pa.date32(), {"type": "int32", "name": "io.debezium.time.Date"}),
        "t": (pa.timestamp("us"), {"type": "int64", "name": "io.debezium.time.MicroTimestamp"}),
        "z": (
            pa.timestamp("us", tz="UTC"),
            {"type": "string", "name": "io.debezium.time.ZonedTimestamp"},
        ),
        "h": (pa.duration("us"), {"type": "int64", "name": "io.debezium.time.MicroTime"}),
        "u": (pa.uint32(), {"type": "int64"}),
        "b": (pa.binary(), {"type": "string"}),
        "v": (pa.list_(pa.float32()), {"type": "array"}),
    }
    schema = TableSchema(
        TableId("shop", "t"), tuple(Column(n, t) for n, (t, _) in columns.items()), ("d",)
    )
    values: list[Any] = [dt.date(1970, 1, 2), dt.datetime(1970, 1, 1, 0, 0, 1)]
    values += [dt.datetime(2026, 1, 1, tzinfo=dt.UTC), dt.timedelta(seconds=-1), 7, b"\0", [0.5]]
    row = dict(zip(columns, values, strict=True))
    batch = Changes(schema, [(INS, row)], 1).batch()
    (seen,) = messages(DebeziumJson(schemas=True), schema, pa.Table.from_batches([batch]))
    assert seen.key["payload"] == {"d": 1}
    said = {f["field"]: f for f in seen.value["schema"]["fields"][1]["fields"]}
    for name, (_, wanted) in columns.items():
        assert wanted.items() <= said[name].items()
    after = seen.value["payload"]["after"]
    assert list(after.values()) == [
        *(1, 1_000_000, "2026-01-01T00:00:00.000000Z", -1_000_000, 7, "AA==", [0.5])
    ]


@settings(max_examples=50, deadline=None, database=None)
@given(texts=st.lists(st.none() | st.text(), max_size=20), start=st.integers(0, 3))
def test_any_text_is_a_json_string(texts: list[str | None], start: int) -> None:
    found = typed_json(pa.array(texts, pa.string()).slice(start)).to_pylist()
    assert [None if text is None else json.loads(text) for text in found] == texts[start:]


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_minus_zero_is_the_same_key_as_zero(form: MessageFormat) -> None:
    schema = TableSchema(TableId("shop", "t"), (Column("x", pa.float32()),), ("x",))
    rows = pa.table({"x": pa.array([0.0, -0.0, 0.1], pa.float32())})
    zero, minus, tenth = form.keys(schema, rows).to_pylist()
    assert (zero, tenth) == (minus, '{"x":0.1}')


@pytest.mark.parametrize("scale", range(9))
def test_decimals_are_plain_digits_however_small(scale: int) -> None:
    values = [None if n is None else Decimal(n).scaleb(-scale) for n in (None, 0, 1, -1, -(10**9))]
    for type_ in (pa.decimal128(38, scale), pa.decimal256(76, scale)):
        found = decimal_text(pa.array(values, type_)).to_pylist()
        assert found == [None if value is None else f"{value:f}" for value in values]
