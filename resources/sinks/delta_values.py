"""Values as a Delta log writes them: partition values and statistics.

In: Python values of stored types. Out: text and JSON that every reader of Delta takes.
"""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

from resources.sinks.lake_format import DataFile

_LONGEST_TEXT = 32
"""Longer texts are left out of the bounds; readers then read the file."""
_EXACT = 2**53
"""Beyond this some readers read numbers as floats."""


def partition_text(value: Any) -> str | None:  # noqa: ANN401 - any value of a column
    """Return the value of a partition column as text, None for NULL.

    Source: PROTOCOL.md, "Partition Value Serialization".
    """
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dt.datetime):
        mark, zone = ("T", "Z") if value.tzinfo else (" ", "")
        return value.replace(tzinfo=None).isoformat(mark, "microseconds") + zone
    if isinstance(value, dt.date):
        return value.isoformat()
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def statistics_json(file: DataFile) -> str:
    """Return what the log says of a file's rows.

    Source: PROTOCOL.md, "Per-file Statistics".
    """
    bounds = {k: v for k, v in file.bounds.items() if all(map(_is_told, v))}
    found = {
        "numRecords": file.rows,
        "minValues": {k: _json(v[0]) for k, v in bounds.items()},
        "maxValues": {k: _json(v[1]) for k, v in bounds.items()},
        "nullCount": dict(file.nulls),
    }
    return json.dumps(found, ensure_ascii=False)


def _is_told(value: Any) -> bool:  # noqa: ANN401 - any value of a column
    if isinstance(value, str):
        return len(value) <= _LONGEST_TEXT
    if isinstance(value, Decimal):
        return abs(value) < _EXACT and value == int(value)
    return not isinstance(value, bytes | float) and value is not None


def _json(value: Any) -> Any:  # noqa: ANN401 - any value of a column
    if isinstance(value, Decimal):
        return int(value)
    if isinstance(value, dt.datetime):
        zone = "Z" if value.tzinfo else ""
        mark = "T" if value.tzinfo else " "
        return value.replace(tzinfo=None).isoformat(mark, "milliseconds") + zone
    return value.isoformat() if isinstance(value, dt.date) else value
