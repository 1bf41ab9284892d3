"""Messages -> rows: what a topic says of a target, for tests, checks and demos.

In: messages of either format. Out: an Arrow table of the target's own columns and `_cdc_…`.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from confluent_kafka import Message

from resources.model.change import RowKind
from resources.sinks.contract import TargetTable
from resources.sinks.kafka_write import TABLE_HEADER
from resources.sinks.shape import target_schema

Image = dict[str, Any]
Change = tuple[Image, RowKind, int, int]
_KINDS = {"INSERT": RowKind.INSERT, "UPDATE": RowKind.UPDATE_AFTER, "DELETE": RowKind.DELETE}


def read_rows(target: TargetTable, messages: Iterable[Message]) -> pa.Table:
    """Return the rows that messages of a target say; an update is one row per image it has.

    Args:
        target: The table, as it is now: columns that messages lack are NULL.
        messages: Of its topic, those of other tables among them.
    """
    changes: list[Change] = []
    typed = True
    for message in messages:
        headers = dict(message.headers() or [])
        value = message.value()
        if value is None or headers.get(TABLE_HEADER) != str(target.id).encode():
            continue
        body = json.loads(value)
        typed = "data" not in body
        changes += _debezium(body.get("payload", body)) if typed else _canal(body)
    decode = _typed if typed else _text
    columns = [
        decode([image.get(c.name) for image, _, _, _ in changes], c.type)
        for c in target.schema.columns
    ]
    ops, seqs, ts_us = (
        [c[1] for c in changes],
        [c[2] for c in changes],
        [c[3] for c in changes],
    )
    schema = target_schema(target)
    stamps = [ops, seqs, ts_us]
    arrays = [pa.array(s, f.type) for s, f in zip(stamps, list(schema)[-3:], strict=True)]
    return pa.table([*columns, *arrays], schema=schema)


def _debezium(body: dict[str, Any]) -> list[Change]:
    seq, ts_us = body["source"]["seq"], body["source"]["ts_us"]
    op, before, after = body["op"], body["before"], body["after"]
    if op in ("c", "r"):
        return [(after, RowKind.INSERT, seq, ts_us)]
    found = []
    if before is not None:
        kind = RowKind.DELETE if op == "d" else RowKind.UPDATE_BEFORE
        found.append((before, kind, seq if op == "d" else seq - 1, ts_us))
    if after is not None:
        found.append((after, RowKind.UPDATE_AFTER, seq, ts_us))
    return found


def _canal(body: dict[str, Any]) -> list[Change]:
    kind, ts_us, found = _KINDS[body["type"]], body["es"] * 1000, []
    for number, row in enumerate(body["data"]):
        if body["old"]:
            before = row | body["old"][number]
            found.append((before, RowKind.UPDATE_BEFORE, body["id"] - 1, ts_us))
        found.append((row, kind, body["id"], ts_us))
    return found


def _typed(values: list[Any], type_: pa.DataType) -> pa.Array:
    """Read what `typed_json` wrote."""
    t = pa.types
    if t.is_date32(type_):
        return pa.array(values, pa.int32()).cast(type_)
    if t.is_duration(type_) or (t.is_timestamp(type_) and type_.tz is None):
        return pa.array(values, pa.int64()).cast(type_)
    if t.is_timestamp(type_):
        texts = [None if v is None else v.rstrip("Z").replace("T", " ") for v in values]
        return _text(texts, type_)
    if t.is_struct(type_):
        known = [v or {} for v in values]
        inner = [_typed([v.get(f.name) for v in known], f.type) for f in type_]
        mask = pa.array([v is None for v in values])
        return pa.StructArray.from_arrays(inner, fields=list(type_), mask=mask)
    if t.is_list(type_):
        return pa.array([v and [float(x) for x in v] for v in values], type_)
    return pa.array([v if v is None else _single(v, type_) for v in values], type_)


def _single(value: Any, type_: pa.DataType) -> Any:  # noqa: ANN401 - any JSON value
    t = pa.types
    if t.is_decimal(type_):
        return Decimal(value)
    if t.is_floating(type_):
        return float(value)
    if t.is_binary(type_) or t.is_large_binary(type_):
        return b64decode(value)
    return value


def _text(values: list[Any], type_: pa.DataType) -> pa.Array:
    """Read what `text_json` wrote."""
    t = pa.types
    if t.is_struct(type_) or t.is_list(type_):
        return _typed([None if v is None else json.loads(v) for v in values], type_)
    if t.is_timestamp(type_):
        naive = pa.array(values, pa.string()).cast(pa.timestamp("us"))
        return naive if type_.tz is None else pc.assume_timezone(naive, type_.tz)
    if t.is_date32(type_):
        return pa.array(values, pa.string()).cast(type_)
    if t.is_boolean(type_):
        return pa.array([None if v is None else v == "1" for v in values], type_)
    if t.is_integer(type_):
        return pa.array([None if v is None else int(v) for v in values], type_)
    if t.is_duration(type_):
        times = [None if v is None else _microseconds(v) for v in values]
        return pa.array(times, pa.int64()).cast(type_)
    return _typed(values, type_)


def _microseconds(text: str) -> int:
    hours, minutes, seconds = text.lstrip("-").split(":")
    whole, fraction = seconds.split(".")
    found = ((int(hours) * 60 + int(minutes)) * 60 + int(whole)) * 10**6 + int(fraction)
    return -found if text.startswith("-") else found
