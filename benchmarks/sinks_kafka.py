"""A Kafka broker, and messages produced to it without our sink.

In: what our sink has just written, read back. Out: what it takes to produce the very same messages,
key, value and headers, with the same batching and compression, and without a transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import pyarrow as pa

from benchmarks.clock import Clock, Spent
from benchmarks.sinks_bare import Closing
from resources.sinks.contract import Mode

if TYPE_CHECKING:
    from resources.sinks.contract import Sink
    from tests.servers.kafka import KafkaServer

_FOLDER = "benchmark"
_OURS, _BARE = f"{_FOLDER}.bench.ours", f"{_FOLDER}.bare"
_PORTION = 1_000_000
"""Messages held at once."""
Messages = list[tuple[bytes | None, bytes | None, Any]]


class BareKafka(Closing):
    """A broker in KRaft mode: `produce` of messages that are there.

    Args:
        folder: An empty folder.
        server: A broker that runs; one of our own if left out.
    """

    mode: Mode = "append"

    def __init__(self, folder: Path, server: KafkaServer | None = None) -> None:
        super().__init__(folder)
        self._server = server

    def __enter__(self) -> Self:
        """Start a broker, a producer, and a reader of what our sink commits."""
        from confluent_kafka import Consumer, Producer, TopicPartition

        if self._server is None:
            from tests.servers import start_server

            self._server = cast("KafkaServer", self.stack.enter_context(start_server("kafka")))
        common = {"bootstrap.servers": self._server.url, "log_level": 0}
        self._producer: Any = Producer(
            {**common, "enable.idempotence": True, "linger.ms": 20, "compression.type": "lz4"}
        )
        reader: Any = Consumer(
            {
                **common,
                "group.id": _FOLDER,
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 20,
            }
        )
        self.stack.callback(reader.close)
        self._reader = reader
        self._at = TopicPartition(_OURS, 0, 0)
        return self

    def open_sink(self) -> Sink:
        """Return our sink on the same broker, a partition per topic."""
        from resources.sinks.kafka import KafkaSink

        assert self._server is not None
        return KafkaSink(
            self._server.url,
            topic=f"{_FOLDER}.{{database}}.{{table}}",
            schema_topic=f"{_FOLDER}.schemas",
            state_topic=f"{_FOLDER}.state",
            partitions=1,
            truncates=False,
        )

    def load(self, rows: Sequence[pa.Table]) -> Spent:
        """Produce what our load has written."""
        return self._copy(sum(part.num_rows for part in rows))

    def merge(self, upserts: pa.Table, deletes: pa.Table) -> Spent:
        """Produce what our append has written."""
        # A delete is a message, and one without a value for compacted topics.
        return self._copy(upserts.num_rows + 2 * deletes.num_rows)

    def count(self) -> None:
        """Return None: what our sink wrote was counted before it was produced."""

    def _copy(self, wanted: int) -> Spent:
        """Produce what our sink has committed since it was asked last; reading does not count.

        Raises:
            SystemExit: It is not as many messages as it has to be.
        """
        found, seconds, cpu = 0, 0.0, 0.0
        while messages := self._read(wanted - found):
            found += len(messages)
            spent = self._produce(messages)
            seconds, cpu = seconds + spent.seconds, cpu + spent.cpu
        if found != wanted:
            raise SystemExit(f"{found:,} messages by the sink for {wanted:,}")
        return Spent(seconds, cpu)

    def _produce(self, messages: Messages) -> Spent:
        producer = self._producer
        with Clock() as clock:
            for key, value, headers in messages:
                while True:
                    try:
                        producer.produce(_BARE, value, key, 0, headers=headers)
                        break
                    except BufferError:
                        producer.poll(0.05)
            if producer.flush(60):
                raise SystemExit("the broker did not take all messages")
        return clock.spent

    def _read(self, expected: int) -> Messages:
        """Return the next messages our sink has committed, none at the end of the topic."""
        found: Messages = []
        self._reader.assign([self._at])
        ended = False
        while not ended and len(found) < _PORTION:
            # It waits for so many, the last of which says that the topic ends here.
            count = max(1, min(10_000, _PORTION - len(found), expected + 1 - len(found)))
            for message in self._reader.consume(count, 1.0):
                ended = message.error() is not None
                if not ended:
                    found.append((message.key(), message.value(), message.headers()))
        if found:
            (self._at,) = self._reader.position([self._at])
        # Assigned, it would go on fetching while our sink or the limit is measured.
        self._reader.unassign()
        return found
