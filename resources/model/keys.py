"""A row's key as text, the same wherever it is made: for dirty rows and messages between rooms.

In: key values as Python objects or Arrow columns. Out: one JSON array per row.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa


def key_text(values: Sequence[Any]) -> str:
    """Return one row's key as JSON: numbers as they are, bytes as `0x…`, the rest as text.

    Args:
        values: One value per key column, as `pa.Scalar.as_py()` gives them.
    """
    return json.dumps([_plain(v) for v in values], ensure_ascii=False, separators=(",", ":"))


def key_texts(rows: pa.Table | pa.RecordBatch, key: Sequence[str]) -> list[str]:
    """Return `key_text` of every row; meant for few rows (those set aside)."""
    columns = [rows.column(name).to_pylist() for name in key]
    return [key_text(values) for values in zip(*columns, strict=True)]


def _plain(value: Any) -> Any:  # noqa: ANN401 - any Arrow value
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return str(value)
