"""What the sink keeps of its own: a compacted topic with watermarks, shapes and loads.

In: records by key, as JSON. Out: the last value of every key, and records to be written in the
same transaction as the data they speak of.

    ["watermark", pipeline, database, table, namespace, target]   {seq, consistent_from, token}
    ["table", namespace, target]                                  {schema, mode, owner, topic}
    ["load", namespace, target, load]                             {feed, finished}
    ["chunk", namespace, target, load, number]                    {rows}
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from resources.errors import ConfigError
from resources.model.table import TableId, schema_from_json
from resources.sinks.contract import Feed, TargetId, TargetTable, Watermark
from resources.sinks.kafka_client import Cluster, Topics
from resources.sinks.kafka_log import TopicLog
from resources.sinks.kafka_messages import compact

Key = tuple[str | int, ...]


@dataclass(frozen=True)
class Record:
    """A record to be written: its key, and its value, None to delete it."""

    key: Key
    value: dict[str, Any] | None


@dataclass(frozen=True)
class KnownTable:
    """A target as it is now, and the topic its rows go to."""

    target: TargetTable
    topic: str


class KafkaState:
    """The state topic.

    Args:
        cluster: Where it is.
        topics: Its topics.
        topic: Its name.
        patience: Seconds to wait for transactions of others to end.
    """

    def __init__(self, cluster: Cluster, topics: Topics, topic: str, patience: float) -> None:
        self.topic = topic
        self._topics = topics
        self._log = TopicLog(cluster, topics, topic, patience)
        self._values: dict[Key, dict[str, Any]] = {}
        self._made = False

    def make(self) -> None:
        """Create the topic, or check the one that is there.

        Raises:
            ConfigError: It would forget: its cleanup policy deletes what is old.
        """
        if self._made:
            return
        self._topics.create(self.topic, state=True)
        policy = self._topics.setting(self.topic, "cleanup.policy")
        if policy is not None and policy != "compact":
            raise ConfigError(
                f"the state topic's cleanup.policy is {policy}, so that it would forget watermarks",
                where=f"topic {self.topic}",
                remedy="set it to compact",
            )
        self._made = True

    def refresh(self, stalled: Callable[[], None] | None = None) -> None:
        """Learn what was committed up to now; arguments and errors as `TopicLog.read_on`."""
        for message in self._log.read_on(stalled):
            key: Key = tuple(json.loads(message.key() or b"[]"))
            value = message.value()
            if value is None:
                self._values.pop(key, None)
            else:
                self._values[key] = json.loads(value)

    def find(self, *beginning: str | int) -> Iterator[Key]:
        """Yield the keys that begin so."""
        yield from [k for k in self._values if k[: len(beginning)] == beginning]

    def get(self, key: Key) -> dict[str, Any] | None:
        """Return a key's value, None if there is none."""
        return self._values.get(key)

    def table(self, target: TargetId) -> KnownTable | None:
        """Return a target as it is, None if it was not made."""
        found = self.get(table_key(target))
        if found is None:
            return None
        schema = schema_from_json(found["schema"])
        table = TargetTable(target, schema, found["mode"], found["owner"])
        return KnownTable(table, found["topic"])

    def watermark(self, target: TargetId, feed: Feed) -> Watermark | None:
        """Return a feed's watermark, None if there is none."""
        found = self.get(watermark_key(target, feed))
        return None if found is None else Watermark(**found)

    def watermarks(self, pipeline: str) -> dict[tuple[TargetId, TableId], Watermark]:
        """Return every watermark of a pipeline."""
        return {
            (TargetId(*map(str, k[4:6])), TableId(*map(str, k[2:4]))): Watermark(**self._values[k])
            for k in self.find("watermark", pipeline)
        }

    def feeds(self, target: TargetId) -> list[Feed]:
        """Return the feeds that have a watermark in a target, sorted."""
        keys = [tuple(map(str, key)) for key in self.find("watermark")]
        return sorted(
            Feed(k[1], TableId(k[2], k[3]))
            for k in keys
            if k[4:6] == (target.namespace, target.table)
        )

    def close(self) -> None:
        """Release the consumer and forget what was read."""
        self._log.close()
        self._values.clear()


def message_of(record: Record) -> tuple[bytes, bytes | None]:
    """Return a record as a message's key and value."""
    value = None if record.value is None else compact(record.value).encode()
    return compact(record.key).encode(), value


def table_key(target: TargetId) -> Key:
    """Return the key of a target's shape."""
    return ("table", target.namespace, target.table)


def watermark_key(target: TargetId, feed: Feed) -> Key:
    """Return the key of a feed's watermark."""
    source = (feed.pipeline, feed.table.database, feed.table.table)
    return ("watermark", *source, target.namespace, target.table)


def table_record(target: TargetTable, topic: str) -> Record:
    """Return the record of a target's shape."""
    shape = {"schema": target.schema.to_json(), "mode": target.mode, "owner": target.owner}
    return Record(table_key(target.id), shape | {"topic": topic})


def watermark_record(target: TargetId, feed: Feed, mark: Watermark) -> Record:
    """Return the record of a feed's watermark."""
    value = {"seq": mark.seq, "consistent_from": mark.consistent_from, "token": mark.token}
    return Record(watermark_key(target, feed), value)
