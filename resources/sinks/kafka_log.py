"""A topic read to its end: what is committed there.

In: a topic. Out: its messages, in the order of each partition, and the certainty that none is
undecided: the end is waited for past every transaction that is still open.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from resources.errors import SinkUnavailable
from resources.sinks.kafka_client import Cluster, Topics
from resources.sinks.kafka_errors import meaning, understood

_STALLED = 0.3
"""Seconds after which a transaction of others is no longer one that is just being committed."""


class TopicLog:
    """Reads a topic from its beginning, and on from there.

    Args:
        cluster: Where it is.
        topics: Its topics.
        topic: Which.
        patience: Seconds to wait for transactions of others to end.
    """

    def __init__(self, cluster: Cluster, topics: Topics, topic: str, patience: float) -> None:
        self._cluster = cluster
        self._topics = topics
        self._topic = topic
        self._patience = patience
        self._consumer: Consumer | None = None
        self._at: dict[int, int] = {}

    def read_on(self, stalled: Callable[[], None] | None = None) -> Iterator[Message]:
        """Yield the messages that are new since the last call.

        Args:
            stalled: Called once where a transaction of others stays open.

        Raises:
            SinkUnavailable: No broker answers, or a transaction stays open.
        """
        if self._consumer is None and not self._begin():
            return
        assert self._consumer is not None, "begun above"
        ends = self._topics.ends(self._topic, list(self._at))
        began, told = time.monotonic(), stalled is None
        while any(self._at[p] < end for p, end in ends.items()):
            message = self._consumer.poll(0.1)
            waited = time.monotonic() - began
            if message is None:
                if waited > _STALLED and not told and stalled is not None:
                    told = True
                    stalled()
                if waited > self._patience:
                    raise self._open(waited)
                continue
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                raise meaning(error, f"topic {self._topic}")
            partition, offset = message.partition(), message.offset()
            assert partition is not None and offset is not None, "of what was fetched"
            self._at[partition] = max(self._at[partition], offset + (error is None))
            if error is None:
                yield message

    def _begin(self) -> bool:
        partitions = self._topics.partitions(self._topic)
        if not partitions:
            return False
        consumer = self._cluster.consumer()
        with understood(f"topic {self._topic}"):
            consumer.assign([TopicPartition(self._topic, p, 0) for p in partitions])
        self._consumer, self._at = consumer, dict.fromkeys(partitions, 0)
        return True

    def _open(self, waited: float) -> SinkUnavailable:
        return SinkUnavailable(
            f"a transaction in the topic has been open for {waited:.0f} s",
            where=f"topic {self._topic}",
            remedy="a writer that died holds it until sink.transaction_timeout is over; try again",
        )

    def close(self) -> None:
        """Release the consumer; the next read begins anew."""
        if self._consumer is not None:
            with suppress(KafkaException):  # a broker that is gone needs no farewell
                self._consumer.close()
            self._consumer, self._at = None, {}
