"""Rows -> messages in a transaction.

In: rows of a target. Out: messages in its topic; or the rows whose messages are too long.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from resources.errors import DirtyRowError
from resources.sinks.contract import Feed, RejectedWrite, TargetTable
from resources.sinks.kafka_events import Events, Kind, events_of
from resources.sinks.kafka_messages import MessageFormat, Origin
from resources.sinks.kafka_producers import Headers, Transaction

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
    """Some events as messages, and the rows they are of."""

    events: Events
    keys: list[bytes | None]
    values: list[bytes]
    first_row: int

    def longer_than(self, limit: int) -> Iterator[int]:
        """Yield the numbers of messages of more bytes."""
        longest_key = max((len(key) for key in self.keys if key is not None), default=0)
        if max(map(len, self.values), default=0) + longest_key + _OVERHEAD <= limit:
            return
        for i, (key, value) in enumerate(zip(self.keys, self.values, strict=True)):
            if len(value) + len(key or b"") + _OVERHEAD > limit:
                yield i


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
    name = topic.name
    read: Headers = [(LOAD_HEADER, load_id), (TABLE_HEADER, table)]
    # Millions of messages pass here: an enum's member takes longer to find than all else does.
    is_read, is_delete = int(Kind.READ), int(Kind.DELETE)
    for part in _parts(form, target, feed, rows):
        if next(part.longer_than(topic.limit), None) is not None:
            raise _too_long(target, topic)
        kinds, seqs = part.events.kinds.tolist(), part.events.seqs.tolist()
        for kind, seq, key, value in zip(kinds, seqs, part.keys, part.values, strict=True):
            headers = read if kind == is_read else [(SEQ_HEADER, str(seq)), read[1]]
            transaction.send(name, key, value, partition, headers)
            if kind == is_delete and topic.tombstones and key is not None:
                transaction.send(name, key, None, partition, headers)


def find_too_long(
    form: MessageFormat, topic: Topic, target: TargetTable, feed: Feed, rows: pa.Table
) -> list[RejectedWrite]:
    """Return the rows whose messages are too long, both images of an update."""
    message = _too_long(target, topic).message
    found: set[int] = set()
    for part in _parts(form, target, feed, rows):
        bad = list(part.longer_than(topic.limit))
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
        keys: list[bytes | None] = [None] * len(part)
        if target.schema.key:
            rows_of_keys = images.select(target.schema.key).take(pa.array(part.keys))
            keys = list(form.keys(target.schema, rows_of_keys))
        yield _Part(part, keys, form.values(images, part, origin), low)


def _too_long(target: TargetTable, topic: Topic) -> DirtyRowError:
    return DirtyRowError(
        f"its message is longer than the {topic.limit:,} bytes that topic {topic.name} takes, "
        f"of which {_OVERHEAD} are for headers (sink.max_message_bytes, max.message.bytes)",
        where=str(target.id),
        remedy="raise sink.max_message_bytes and the topic's max.message.bytes, or leave the "
        "long columns out by a projection",
    )
