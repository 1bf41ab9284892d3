"""Messages as Debezium's MySQL connector writes them (debezium-json).

In: events and rows. Out: envelopes `before, after, source, op, ts_ms`, with the schema Kafka
Connect's JSON converter puts around them where it is wanted. What the fields mean:
https://debezium.io/documentation/reference/stable/connectors/mysql.html (events, data types;
decimals as under `decimal.handling.mode=string`, binary values as JSON converters write bytes).
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from resources.model.table import Column, TableSchema
from resources.sinks.kafka_events import Events, Kind
from resources.sinks.kafka_json import (
    TEXT,
    Text,
    constant,
    joined,
    numbers_text,
    object_text,
    typed_cells,
)
from resources.sinks.kafka_messages import (
    Origin,
    SchemaMessage,
    column,
    compact,
    images,
    plain_keys,
)
from resources.sinks.kafka_types import jdbc_type, source_type

VERSION = "1"
"""Of the `source` block."""
_OPS = pa.array(["c", "u", "d"], TEXT)
_SOURCE: tuple[tuple[str, str], ...] = (
    *(("version", "string"), ("connector", "string"), ("name", "string"), ("ts_ms", "int64")),
    *(("snapshot", "string"), ("db", "string"), ("table", "string")),
    *(("ts_us", "int64"), ("seq", "int64")),
)


class DebeziumJson:
    """Debezium's envelopes.

    Args:
        schemas: Whether every message carries its schema.
    """

    name = "debezium-json"
    tombstones = True

    def __init__(self, *, schemas: bool = False) -> None:
        self._schemas = schemas

    def keys(self, key: TableSchema, rows: pa.Table) -> pa.Array:
        """Return keys as objects of the key's columns."""
        texts = plain_keys(key, rows)
        if self._schemas:
            columns = [key.column(name) for name in key.key]
            texts = joined(_with_schema(_struct(columns, f"{key.table}.Key"), [texts]))
        return texts

    def values(self, rows: pa.Table, events: Events, origin: Origin) -> pa.Array:
        """Return one envelope per event."""
        names = origin.target.schema.names
        texts = object_text(names, [typed_cells(column(rows, name)) for name in names])
        before, after = images(rows, texts, events.before, events.after)
        is_read = bool((events.kinds == Kind.READ).all())  # all of a batch are, or none
        op = constant("r") if is_read else _OPS.take(pa.array(events.kinds))
        pieces: Text = [
            *(constant('{"before":'), *before, constant(',"after":'), *after),
            constant(f',"source":{_source_head(origin)},"ts_ms":'),
            *(numbers_text(events.ts_us // 1000), constant(',"snapshot":"')),
            constant("incremental" if is_read else "false"),
            constant(f'","db":{compact(origin.source.database)},"table":'),
            constant(f'{compact(origin.source.table)},"ts_us":'),
            *(numbers_text(events.ts_us), constant(',"seq":'), numbers_text(events.seqs)),
            *(constant('},"op":"'), op, constant(f'","ts_ms":{origin.now_ms}}}')),
        ]
        return joined(_with_schema(_envelope_schema(origin), pieces) if self._schemas else pieces)

    def truncate(self, origin: Origin, seq: int) -> bytes:
        """Return an envelope of the operation `t`."""
        source = {
            "version": VERSION,
            "connector": "cdc-assets",
            "name": origin.pipeline,
            "ts_ms": origin.now_ms,
            "snapshot": "false",
            "db": origin.source.database,
            "table": origin.source.table,
            "ts_us": origin.now_ms * 1000,
            "seq": seq,
        }
        envelope = {"before": None, "after": None, "source": source, "op": "t"}
        value: dict[str, Any] = {**envelope, "ts_ms": origin.now_ms}
        if self._schemas:
            value = {"schema": _envelope_schema(origin), "payload": value}
        return compact(value).encode()

    def schema_change(self, change: SchemaMessage) -> bytes:
        """Return a message of Debezium's schema change topic."""
        target, schema = change.target, change.target.schema
        columns = [_described(c, i) for i, c in enumerate(schema.columns, start=1)]
        table = {"primaryKeyColumnNames": list(schema.key), "columns": columns}
        name = f'"{target.id.namespace}"."{target.id.table}"'
        value = {
            "source": {"connector": "cdc-assets", "db": target.id.namespace}
            | {"table": target.id.table, "ts_ms": change.now_ms},
            "ts_ms": change.now_ms,
            "databaseName": target.id.namespace,
            "schemaName": None,
            "ddl": change.statement,
            "tableChanges": [{"type": "ALTER", "id": name, "table": table}],
        }
        return compact(value).encode()


def _source_head(origin: Origin) -> str:
    head = {"version": VERSION, "connector": "cdc-assets", "name": origin.pipeline}
    return compact(head)[:-1]


def _with_schema(schema: dict[str, Any], text: Text) -> Text:
    return [constant(f'{{"schema":{compact(schema)},"payload":'), *text, constant("}")]


def _envelope_schema(origin: Origin) -> dict[str, Any]:
    source = [{"type": kind, "optional": False, "field": name} for name, kind in _SOURCE]
    columns, name = origin.target.schema.columns, str(origin.target.id)
    row = _struct(columns, f"{name}.Value") | {"optional": True}
    whole = {"type": "struct", "fields": source, "optional": False, "field": "source"}
    fields = [row | {"field": "before"}, row | {"field": "after"}, whole]
    fields += [{"type": "string", "optional": False, "field": "op"}]
    fields += [{"type": "int64", "optional": True, "field": "ts_ms"}]
    named = {"optional": False, "name": f"{name}.Envelope"}
    return {"type": "struct", "fields": fields, **named}


def _struct(columns: Any, name: str) -> dict[str, Any]:  # noqa: ANN401 - any sequence of columns
    fields = [_connect_type(c) | {"optional": c.nullable, "field": c.name} for c in columns]
    return {"type": "struct", "fields": fields, "optional": False, "name": name}


def _connect_type(of: Column) -> dict[str, Any]:
    """Return a column's type in Kafka Connect's words, the unit of times in its name."""
    t, type_ = pa.types, of.type
    if t.is_boolean(type_):
        return {"type": "boolean"}
    if t.is_integer(type_):
        bits = type_.bit_width * (1 if t.is_signed_integer(type_) else 2)
        return {"type": f"int{min(max(bits, 8), 64)}"}
    if t.is_floating(type_):
        return {"type": "float" if type_.bit_width == 32 else "double"}
    if t.is_date32(type_):
        return {"type": "int32", "name": "io.debezium.time.Date", "version": 1}
    if t.is_duration(type_):
        return {"type": "int64", "name": "io.debezium.time.MicroTime", "version": 1}
    if t.is_timestamp(type_) and type_.tz is None:
        return {"type": "int64", "name": "io.debezium.time.MicroTimestamp", "version": 1}
    if t.is_timestamp(type_):
        return {"type": "string", "name": "io.debezium.time.ZonedTimestamp", "version": 1}
    if t.is_struct(type_):
        fields = [_connect_type(Column(f.name, f.type)) | {"field": f.name} for f in type_]
        return {"type": "struct", "fields": [f | {"optional": True} for f in fields]}
    if t.is_list(type_):
        items = _connect_type(Column("", type_.value_type)) | {"optional": True}
        return {"type": "array", "items": items}
    json = {"name": "io.debezium.data.Json", "version": 1} if of.kind == "json" else {}
    return {"type": "string", **json}


def _described(of: Column, position: int) -> dict[str, Any]:
    return {
        "name": of.name,
        "jdbcType": jdbc_type(of.type),
        "typeName": source_type(of),
        "typeExpression": source_type(of),
        "charsetName": of.charset or None,
        "position": position,
        "optional": of.nullable,
        "generated": of.generated,
    }
