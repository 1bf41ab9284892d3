"""What formats of messages share: whose rows they are, and the key.

In: events and the rows that are their images. Out: keys and values of messages as bytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from resources.model.table import TableId, TableSchema
from resources.sinks.contract import TargetTable
from resources.sinks.kafka_events import Events
from resources.sinks.kafka_json import objects, typed_json


@dataclass(frozen=True)
class Origin:
    """Whose messages these are.

    Args:
        pipeline: The pipeline's name.
        source: The source table.
        target: The target table.
        now_ms: The time of writing, milliseconds since the epoch.
    """

    pipeline: str
    source: TableId
    target: TargetTable
    now_ms: int


@dataclass(frozen=True)
class SchemaMessage:
    """A change of a table's columns to be told.

    Args:
        target: The table after it.
        statement: What happened, as SQL to be read.
        now_ms: The time of writing.
    """

    target: TargetTable
    statement: str
    now_ms: int


class MessageFormat(Protocol):
    """A format of messages."""

    name: str
    tombstones: bool
    """Whether a delete is followed by a message without a value, where nothing else is said."""

    def keys(self, key: TableSchema, rows: pa.Table) -> list[bytes]:
        """Return the key of every row's message."""
        ...

    def values(self, rows: pa.Table, events: Events, origin: Origin) -> list[bytes]:
        """Return the value of every event's message."""
        ...

    def truncate(self, origin: Origin, seq: int) -> bytes:
        """Return the message that all rows are gone."""
        ...

    def schema_change(self, change: SchemaMessage) -> bytes:
        """Return the message of a change of columns."""
        ...


def plain_keys(schema: TableSchema, rows: pa.Table) -> pa.Array:
    """Return each row's key as a JSON object."""
    return objects(schema.key, [typed_json(column(rows, name)) for name in schema.key])


def column(rows: pa.Table, name: str) -> pa.Array:
    """Return a column in one piece."""
    found = rows.column(name).combine_chunks()
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def images(texts: pa.Array, numbers: npt.NDArray[np.int64]) -> pa.Array:
    """Return the text of each event's image, null where it has none (`NONE`)."""
    if len(numbers) == len(texts) and np.array_equal(numbers, np.arange(len(texts))):
        return texts  # of rows that were read, each is one event
    return texts.take(pa.array(numbers, mask=numbers < 0))


def to_bytes(texts: pa.Array) -> list[bytes]:
    """Return texts as Python bytes."""
    found: list[bytes] = texts.cast(pa.large_binary()).to_pylist()
    return found


def compact(value: object) -> str:
    """Return a value as JSON without spaces."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
