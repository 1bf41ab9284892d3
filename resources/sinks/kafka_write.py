"""Rows -> messages in a transaction.

In: rows of a target. Out: messages in its topic; or the rows whose messages are too long.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from resources.errors import DirtyRowError
from resources.sinks.contract import Feed, RejectedWrite, TargetTable
from resources.sinks.kafka_events import Events, Kind, events_of
from resources.sinks.kafka_messages import MessageFormat, Origin
from resources.sinks.kafka_producers import Headers, Outgoing, Transaction

_ROWS = 20_000
"""Most messages made at once."""
_BYTES = 16 << 20
"""Most bytes of Arrow rows they are made of, unless one row has more."""
_OVERHEAD = 512
"""Bytes a message may take beside key and value: headers and the frame of its batch."""
TABLE_HEADER, SEQ_HEADER, LOAD_HEADER = "_cdc_table", "_cdc_seq", "_cdc_load"


@dataclass(frozen=True)
class Topic:
    """Where a target's messages go, and how.

    Args:
        name: The topic.
        limit: Most bytes of a message.
        by_key: Whether the key says which partition; else all go to the first.
        tombstones: Whether a delete is followed by a message without a value.
    """

    name: str
    limit: int
    by_key: bool
    tombstones: bool


@dataclass(frozen=True)
class _Part:
    """Some events as messages, and the rows they are of.

    Args:
        events: The events.
        keys: Their keys, large_string; None for a table without a key.
        values: Their values, large_string.
        first_row: Number of the first row they are of.
    """

    events: Events
    keys: pa.Array | None
    values: pa.Array
    first_row: int

    def longer_than(self, limit: int) -> npt.NDArray[np.int64]:
        """Return the numbers of messages of more bytes."""
        sizes = pc.binary_length(self.values)
        if self.keys is not None:
            sizes = pc.add(sizes, pc.binary_length(self.keys))
        return np.flatnonzero(sizes.to_numpy() > limit - _OVERHEAD)

    def messages(self, table: bytes, load_id: str, *, tombstones: bool) -> Iterator[Outgoing]:
        """Return the messages in their order.

        Args:
            table: The target's name, for headers.
            load_id: The load whose rows they are, for headers.
            tombstones: Whether a delete is followed by a message without a value.
        """
        values = _pythons(self.values)
        keys = repeat(None, len(values)) if self.keys is None else _pythons(self.keys)
        if self.events.kinds[0] == Kind.READ:  # reads and changes are never in one batch
            read: Headers = [(LOAD_HEADER, load_id.encode()), (TABLE_HEADER, table)]
            return zip(keys, values, repeat(read))
        return self._changes(keys, values, table, tombstones=tombstones)

    def _changes(
        self, keys: Iterable[bytes | None], values: list[bytes], table: bytes, *, tombstones: bool
    ) -> Iterator[Outgoing]:
        of_table = (TABLE_HEADER, table)
        buried = ((self.events.kinds == Kind.DELETE) & tombstones).tolist()
        seqs = _pythons(pa.array(self.events.seqs).cast(pa.string()))
        for key, value, seq, is_buried in zip(keys, values, seqs, buried, strict=True):
            headers: Headers = [(SEQ_HEADER, seq), of_table]
            yield key, value, headers
            if is_buried and key is not None:
                yield key, None, headers


def send_rows(
    transaction: Transaction,
    form: MessageFormat,
    topic: Topic,
    target: TargetTable,
    feed: Feed,
    rows: pa.Table,
    load_id: str = "",
) -> None:
    """Send the messages of rows, in their order.

    Args:
        transaction: Where to write them.
        form: Their format.
        topic: Where to.
        target: Whose rows.
        feed: Where they come from.
        rows: Changes, or rows that were read, which lack the `_cdc_…` columns.
        load_id: The load that read them.

    Raises:
        DirtyRowError: A message is too long.
    """
    partition = -1 if topic.by_key and target.schema.key else 0
    table = str(target.id).encode()
    for part in _parts(form, target, feed, rows):
        if len(part.longer_than(topic.limit)):
            raise _too_long(target, topic)
        messages = part.messages(table, load_id, tombstones=topic.tombstones)
        transaction.send_all(topic.name, partition, messages)


def find_too_long(
    form: MessageFormat, topic: Topic, target: TargetTable, feed: Feed, rows: pa.Table
) -> list[RejectedWrite]:
    """Return the rows whose messages are too long, both images of an update."""
    message = _too_long(target, topic).message
    found: set[int] = set()
    for part in _parts(form, target, feed, rows):
        bad = part.longer_than(topic.limit)
        numbers = np.concatenate([part.events.before[bad], part.events.after[bad]])
        found.update((numbers[numbers >= 0] + part.first_row).tolist())
    return [RejectedWrite(i, "", message) for i in sorted(found)]


def _parts(form: MessageFormat, target: TargetTable, feed: Feed, rows: pa.Table) -> Iterator[_Part]:
    now_us = time.time_ns() // 1000
    events = events_of(rows, target.schema.key, now_us)
    origin = Origin(feed.pipeline, feed.table, target, now_us // 1000)
    step = max(1, min(_ROWS, _BYTES * rows.num_rows // max(rows.nbytes, 1)))
    for start in range(0, len(events), step):
        part, low, high = events.slice(start, min(start + step, len(events)))
        images = rows.slice(low, high - low)
        keys = None
        if target.schema.key:
            rows_of_keys = images.select(target.schema.key)
            if part.kinds[0] != Kind.READ:
                rows_of_keys = rows_of_keys.take(pa.array(part.keys))
            keys = form.keys(target.schema, rows_of_keys)
        yield _Part(part, keys, form.values(images, part, origin), low)


def _pythons(texts: pa.Array) -> list[bytes]:
    found: list[bytes] = texts.cast(pa.large_binary()).to_pylist()
    return found


def _too_long(target: TargetTable, topic: Topic) -> DirtyRowError:
    return DirtyRowError(
        f"its message is longer than the {topic.limit:,} bytes that topic {topic.name} takes, "
        f"of which {_OVERHEAD} are for headers (sink.max_message_bytes, max.message.bytes)",
        where=str(target.id),
        remedy="raise sink.max_message_bytes and the topic's max.message.bytes, or leave the "
        "long columns out by a projection",
    )
