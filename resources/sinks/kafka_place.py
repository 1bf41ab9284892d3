"""What the parts of the Kafka sink share: cluster, topics, state, producers, format.

In: the sink's options. Out: one place to write a target's messages and records from.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from resources.sinks.contract import Feed, TargetId, TargetTable, Watermark
from resources.sinks.kafka_client import Cluster, Topics
from resources.sinks.kafka_messages import MessageFormat
from resources.sinks.kafka_producers import Producers, Transaction
from resources.sinks.kafka_state import KafkaState, KnownTable
from resources.sinks.kafka_write import Topic
from resources.sinks.shape import misfit, no_table, show_schema, target_schema


@dataclass(frozen=True)
class TopicOptions:
    """How messages are laid out.

    Args:
        topic: Name of a target's topic, `{database}` and `{table}` in it are the target's.
        schema_topic: Name of the topic of schema changes, likewise; empty for the table's own.
        by_key: Whether the key says which partition.
        tombstones: Whether deletes are followed by a message without a value.
        max_message_bytes: Most bytes of a message.
        truncates: Whether a message says that all rows are gone, before a table is read again.
    """

    topic: str
    schema_topic: str
    by_key: bool
    tombstones: bool
    max_message_bytes: int
    truncates: bool


class KafkaPlace:
    """Everything one sink object writes with.

    Args:
        cluster: Where.
        topics: Its topics.
        state: The state topic.
        producers: Who writes.
        form: The format of messages.
        options: How they are laid out.
    """

    def __init__(
        self,
        cluster: Cluster,
        topics: Topics,
        state: KafkaState,
        producers: Producers,
        form: MessageFormat,
        options: TopicOptions,
    ) -> None:
        self.cluster = cluster
        self.topics = topics
        self.state = state
        self.producers = producers
        self.form = form
        self.options = options

    def topic_name(self, target: TargetId) -> str:
        """Return the name of a target's topic."""
        return self.options.topic.format(database=target.namespace, table=target.table)

    def topic(self, target: TargetTable) -> Topic:
        """Return where a target's messages go."""
        name, options = self.topic_name(target.id), self.options
        limit = options.max_message_bytes
        there = self.topics.limit(name)
        limit = limit if there is None else min(limit, there)
        return Topic(name, limit, options.by_key, options.tombstones)

    def schema_topic(self, target: TargetId) -> str:
        """Return the name of the topic that a target's schema changes go to."""
        template = self.options.schema_topic
        if not template:
            return self.topic_name(target)
        return template.format(database=target.namespace, table=target.table)

    def known(self, target: TargetId) -> KnownTable | None:
        """Return a target as it is now."""
        self.state.refresh()
        return self.state.table(target)

    def require(self, target: TargetTable) -> None:
        """Refuse a target that was not made, or has other columns.

        Raises:
            SchemaMismatch: It is so.
        """
        known = self.state.table(target.id)
        if known is None:
            raise no_table(target.id)
        live, wanted = target_schema(known.target), target_schema(target)
        if {(f.name, f.type) for f in live} != {(f.name, f.type) for f in wanted}:
            raise misfit(target.id, show_schema(live), show_schema(wanted))

    def claim(self, target: TargetId, feed: Feed) -> None:
        """Make this process the feed's only writer, and learn all that others have written.

        A transaction that the feed's last writer left open is over then, and every one that ended
        well is seen.
        """
        self.producers.begin(feed_writer(target, feed), str(target))
        self.state.refresh()

    def watermark(self, target: TargetId, feed: Feed) -> Watermark | None:
        """Return a feed's watermark, past every transaction of writers that live or died."""

        def stalled() -> None:
            if self.producers.transactions:
                self.producers.begin(feed_writer(target, feed), str(target))

        self.state.refresh(stalled)
        return self.state.watermark(target, feed)

    def write_as(self, target: TargetId, feed: Feed | None) -> AbstractContextManager[Transaction]:
        """Open a transaction of a feed's writer, or of the target's own."""
        writer = table_writer(target) if feed is None else feed_writer(target, feed)
        return self.producers.transaction(writer, str(target))

    def close(self) -> None:
        """Release every client."""
        self.producers.close()
        self.state.close()


def feed_writer(target: TargetId, feed: Feed) -> Sequence[str]:
    """Return what names the writer of a feed in a target."""
    source = (feed.pipeline, feed.table.database, feed.table.table)
    return ("feed", *source, target.namespace, target.table)


def table_writer(target: TargetId) -> Sequence[str]:
    """Return what names the writer of a target's shape."""
    return ("table", target.namespace, target.table)
