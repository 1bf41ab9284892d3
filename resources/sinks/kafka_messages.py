"""What formats of messages share: whose rows they are, and the key.

In: events and the rows that are their images. Out: keys and values of messages as texts.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from resources.model.table import TableId, TableSchema
from resources.sinks.contract import TargetTable
from resources.sinks.kafka_events import NONE, Events
from resources.sinks.kafka_json import NULL, Text, joined, object_text, or_null, typed_cells


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

    def keys(self, key: TableSchema, rows: pa.Table) -> pa.Array:
        """Return the key of every row's message, large_string."""
        ...

    def values(self, rows: pa.Table, events: Events, origin: Origin) -> pa.Array:
        """Return the value of every event's message, large_string."""
        ...

    def truncate(self, origin: Origin, seq: int) -> bytes:
        """Return the message that all rows are gone."""
        ...

    def schema_change(self, change: SchemaMessage) -> bytes:
        """Return the message of a change of columns."""
        ...


def plain_keys(schema: TableSchema, rows: pa.Table) -> pa.Array:
    """Return each row's key as a JSON object."""
    cells = [typed_cells(_as_key(column(rows, name))) for name in schema.key]
    return joined(object_text(schema.key, cells))


def _as_key(values: pa.Array) -> pa.Array:
    """Return values as keys: -0.0 as 0.0, which is the same key to every database."""
    type_ = values.type
    return pc.add(values, pa.scalar(0, type_)) if pa.types.is_floating(type_) else values


def column(rows: pa.Table, name: str) -> pa.Array:
    """Return a column in one piece."""
    found = rows.column(name).combine_chunks()
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def images(rows: pa.Table, texts: Text, *numbers: npt.NDArray[np.int64]) -> list[Text]:
    """Return the text of each event's image, `null` where it has none (`NONE`).

    Args:
        rows: The rows.
        texts: Their texts.
        numbers: The row of each event, once for every image wanted.
    """
    every = np.arange(rows.num_rows)
    found: list[Text] = []
    for wanted in numbers:
        if (wanted == NONE).all():
            found.append([NULL])
        elif np.array_equal(wanted, every):
            found.append(texts)  # of rows that were read, each is one event
        else:
            texts = [joined(texts)]  # once for all images
            found.append([or_null(texts[0].take(pa.array(wanted, mask=wanted == NONE)))])
    return found


def compact(value: object) -> str:
    """Return a value as JSON without spaces."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
