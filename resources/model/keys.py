"""A row's key as text, the same wherever it is made: for dirty rows and messages between rooms.

In: key values as Python objects or Arrow columns. Out: one JSON object per row, and back.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from resources.model.table import TableSchema

_MICROSECOND = dt.timedelta(microseconds=1)


def key_text(key: Mapping[str, Any]) -> str:
    """Return one row's key as JSON: numbers as they are, bytes as `0x…`, the rest as text.

    Args:
        key: Value by key column, in key order, as `pa.Scalar.as_py()` gives them.
    """
    plain = {name: _plain(value) for name, value in key.items()}
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))


def key_texts(rows: pa.Table | pa.RecordBatch, key: Sequence[str]) -> list[str]:
    """Return `key_text` of every row; meant for few rows (those set aside)."""
    return [key_text(row) for row in rows.select(list(key)).to_pylist()]


def key_parameters(text: str, schema: TableSchema) -> list[Any]:
    """Return the values of a key text as statement parameters, in key order.

    Bytes come back as bytes; dates, times and decimals stay text, which every server reads
    exactly.
    """
    values = json.loads(text)
    return [_parameter(values[name], schema.column(name).type) for name in schema.key]


def _parameter(value: Any, type_: pa.DataType) -> Any:  # noqa: ANN401 - any JSON value
    is_bytes = pa.types.is_binary(type_) or pa.types.is_large_binary(type_)
    return bytes.fromhex(value[2:]) if is_bytes and isinstance(value, str) else value


def _plain(value: Any) -> Any:  # noqa: ANN401 - any Arrow value
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, dt.datetime):
        return str(value.replace(tzinfo=None))  # zones are UTC throughout
    if isinstance(value, dt.timedelta):
        return _time(value)
    return str(value)


def _time(value: dt.timedelta) -> str:
    micros = value // _MICROSECOND
    sign, micros = ("-", -micros) if micros < 0 else ("", micros)
    seconds, fraction = divmod(micros, 1_000_000)
    return f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{fraction:06}"
