"""Producers, and transactions of theirs.

In: a name of who writes, and messages. Out: messages delivered, all or none. Each writer of a
target (a feed) has a transactional id of its own: who begins with it last makes every earlier one
fail (Kafka's KIP-98), so a process that comes back from the dead writes nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import blake2b

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from resources.failpoints import failpoint
from resources.sinks.kafka_client import Cluster, Setting
from resources.sinks.kafka_errors import meaning, understood
from resources.sinks.kafka_state import Record, message_of

Headers = list[tuple[str, str | bytes | None]]
Outgoing = tuple[bytes | None, bytes | None, Headers]
"""Key, value and headers of a message."""
_MOST = 16
"""Producers a process keeps; each has threads and connections of its own."""


class Transaction:
    """Messages being written: all of them, or none where there are transactions.

    Args:
        producer: It.
        cluster: For its timeout.
        state: The state topic.
        where: The table, for errors.
    """

    def __init__(self, producer: Producer, cluster: Cluster, state: str, where: str) -> None:
        self._producer = producer
        self._timeout = cluster.timeout
        self._state = state
        self._where = where
        self._failed: list[KafkaError] = []

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int = -1,
        headers: Headers | None = None,
    ) -> None:
        """Queue a message; waits while the queue is full.

        Args:
            topic: Where to.
            key: Its key; messages of one key lie in one partition, in their order.
            value: Its value, None to say that the key is gone.
            partition: Where it goes whatever its key; -1 for by key.
            headers: Names and values.

        Raises:
            CdcError: As `meaning`.
        """
        self.send_all(topic, partition, [(key, value, headers or [])])

    def send_all(self, topic: str, partition: int, messages: Iterable[Outgoing]) -> None:
        """Queue messages in their order; see `send`."""
        produce = self._producer.produce  # found once for millions of messages
        for key, value, headers in messages:
            while True:
                try:
                    produce(topic, value, key, partition, headers=headers)
                    break
                except BufferError:
                    self._make_room()

    def record(self, records: Sequence[Record]) -> None:
        """Write records of the state topic, once all messages before them are there."""
        self.flush()
        failpoint("sink.before_record")
        for record in records:
            key, value = message_of(record)
            self.send(self._state, key, value, partition=0)

    def flush(self) -> None:
        """Wait until every message is delivered.

        Raises:
            CdcError: Some is not.
        """
        # librdkafka gives every message up after its own timeout, so this ends.
        while self._producer.flush(1.0):
            self._require_delivered()
        self._require_delivered()

    def delivered(self, error: KafkaError | None, _message: Message) -> None:
        """Keep a failed delivery; librdkafka calls this while the producer is polled."""
        if error is not None:
            self._failed.append(error)

    def _make_room(self) -> None:
        """Wait for deliveries; librdkafka gives messages up after their timeout, so room comes."""
        self._producer.poll(0.05)
        self._require_delivered()

    def _require_delivered(self) -> None:
        if self._failed:
            raise meaning(self._failed[0], self._where)


class Producers:
    """The producers of one process.

    Args:
        cluster: Where they write.
        state: The state topic; also names the transactional ids.
        transactions: Whether messages are written in transactions.
        transaction_timeout: Seconds after which the broker ends one that its writer left open.
        settings: Further settings of librdkafka.
    """

    def __init__(
        self,
        cluster: Cluster,
        state: str,
        *,
        transactions: bool,
        transaction_timeout: float,
        settings: Mapping[str, Setting],
    ) -> None:
        self.transactions = transactions
        self._cluster = cluster
        self._state = state
        self._transaction_timeout = transaction_timeout
        self._settings = settings
        self._open: OrderedDict[str, tuple[Producer, _Deliveries]] = OrderedDict()

    def begin(self, writer: Sequence[str], where: str) -> None:
        """Make sure that this process alone writes under a name from now on.

        What an earlier process left open under it is rolled back first.

        Args:
            writer: The name's parts.
            where: For errors.

        Raises:
            SinkUnavailable: No broker answers.
            ConfigError: The user may not use transactions.
        """
        name = self._name(writer)
        if name in self._open:
            self._open.move_to_end(name)
            return
        while len(self._open) >= _MOST:
            self._open.popitem(last=False)
        deliveries = _Deliveries()
        # What is not delivered by then is given up; librdkafka wants it within the transaction's.
        longest = int(min(self._cluster.timeout, self._transaction_timeout) * 1000)
        settings = self._cluster.settings(
            enable_idempotence=True,
            delivery_report_only_error=True,
            message_timeout_ms=longest,
            socket_timeout_ms=longest,
            linger_ms=20,
        )
        if self.transactions:
            settings["transactional.id"] = name
            settings["transaction.timeout.ms"] = int(self._transaction_timeout * 1000)
        with understood(where):
            producer = Producer({**settings, **self._settings, "on_delivery": deliveries.tell})
            if self.transactions:
                producer.init_transactions(self._cluster.timeout)
        self._open[name] = (producer, deliveries)

    @contextmanager
    def transaction(self, writer: Sequence[str], where: str) -> Iterator[Transaction]:
        """Write messages: all of them when the block ends well, none of them otherwise.

        Without transactions they are written as they come.

        Raises:
            FencedOut: Another process has begun to write under the name.
            CdcError: As `meaning`; nothing was written.
        """
        self.begin(writer, where)
        name = self._name(writer)
        producer, deliveries = self._open[name]
        transaction = Transaction(producer, self._cluster, self._state, where)
        deliveries.of = transaction
        try:
            with understood(where):
                if self.transactions:
                    producer.begin_transaction()
                yield transaction
                transaction.flush()
                failpoint("sink.before_commit")
                if self.transactions:
                    self._commit(producer)
        except BaseException:
            self._give_up(name, producer)
            raise

    def close(self) -> None:
        """Let every producer go; all of them have delivered what they have."""
        self._open.clear()

    def _commit(self, producer: Producer) -> None:
        while True:
            try:
                producer.commit_transaction(self._cluster.timeout)
                return
            except KafkaException as error:
                if not error.args[0].retriable() or error.args[0].code() == KafkaError._TIMED_OUT:
                    raise

    def _give_up(self, name: str, producer: Producer) -> None:
        """Roll back, and forget the producer: the next one finds out what was committed."""
        self._open.pop(name, None)
        producer.purge()
        if self.transactions:
            # Where it cannot, the broker does it: at the next begin, or after the timeout.
            with suppress(KafkaException):
                producer.abort_transaction(self._cluster.timeout)

    def _name(self, writer: Sequence[str]) -> str:
        parts = "/".join(writer)
        digest = blake2b(parts.encode(), digest_size=8).hexdigest()
        return f"{self._state}-{digest}"


class _Deliveries:
    """Hands failed deliveries to the transaction that is open."""

    def __init__(self) -> None:
        self.of: Transaction | None = None

    def tell(self, error: KafkaError | None, message: Message) -> None:
        if self.of is not None:
            self.of.delivered(error, message)
