"""How a Kafka cluster is reached, and its topics.

In: addresses and settings. Out: clients of librdkafka; topics made, described and deleted.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic

from resources.errors import ConfigError, SchemaMismatch, SinkUnavailable
from resources.sinks.kafka_errors import meaning, understood

Setting = str | int | float | bool
_LEGAL = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_HIDDEN = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)


@dataclass(frozen=True)
class Cluster:
    """How to reach a cluster and what new topics are like.

    Args:
        servers: `host:port`, several with commas.
        client: Further settings of librdkafka, those of security among them.
        timeout: Seconds an answer, and the delivery of a message, may take.
        partitions: Of new topics; -1 for the broker's default.
        replication: Copies of new topics; -1 for the broker's default.
        topic_config: Further settings of new topics of data.
    """

    servers: str
    client: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout: float = 30.0
    partitions: int = -1
    replication: int = -1
    topic_config: Mapping[str, str] = field(default_factory=dict)

    def settings(self, **more: Setting) -> dict[str, Setting]:
        """Return a client's settings; underscores of names given here stand for dots."""
        common: dict[str, Setting] = {
            "bootstrap.servers": self.servers,
            "log_level": 0,
            "socket.timeout.ms": int(self.timeout * 1000),
            "reconnect.backoff.max.ms": 1000,
        }
        return common | {n.replace("_", "."): v for n, v in more.items()} | dict(self.client)

    def consumer(self) -> Consumer:
        """Return a consumer of what is committed; it keeps no offsets and joins no group."""
        with understood(self.servers):
            return Consumer(
                self.settings(
                    group_id="_cdc",
                    isolation_level="read_committed",
                    enable_partition_eof=True,
                    enable_auto_commit=False,
                    auto_offset_reset="earliest",
                    # A fetch that waits is not answered when a transaction ends, only after this.
                    fetch_wait_max_ms=10,
                )
            )


class Topics:
    """The topics of a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._admin: AdminClient | None = None
        self._limits: dict[str, int] = {}

    @property
    def admin(self) -> AdminClient:
        """The client, made at first use."""
        if self._admin is None:
            with understood(self._cluster.servers):
                self._admin = AdminClient(self._cluster.settings())
        return self._admin

    def partitions(self, topic: str) -> list[int]:
        """Return the partitions of a topic, none if it is not there.

        Raises:
            SinkUnavailable: No broker answers.
            ConfigError: The topic may not be seen.
        """
        # Asked for in this way, a topic that is not there is not made.
        asked = self.admin.describe_topics(
            TopicCollection([topic]), request_timeout=self._cluster.timeout
        )
        try:
            found = asked[topic].result()
        except KafkaException as error:
            if error.args[0].code() in _ABSENT:
                return []
            raise meaning(error.args[0], f"topic {topic}") from error
        return sorted(partition.id for partition in found.partitions)

    def ends(self, topic: str, partitions: list[int]) -> dict[int, int]:
        """Return where each partition ends now, undecided messages included.

        Raises:
            SinkUnavailable: No broker that leads a partition answers.
        """
        patience = time.monotonic() + self._cluster.timeout
        while True:
            try:
                return self._ends(topic, partitions)
            except KafkaException as error:
                code = error.args[0].code()
                if code not in _ELSEWHERE or time.monotonic() > patience:
                    raise meaning(error.args[0], f"topic {topic}") from error
                time.sleep(0.1)

    def _ends(self, topic: str, partitions: list[int]) -> dict[int, int]:
        latest: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        futures = self.admin.list_offsets(
            {TopicPartition(topic, p): latest for p in partitions},
            isolation_level=IsolationLevel.READ_UNCOMMITTED,
            request_timeout=self._cluster.timeout,
        )
        return {at.partition: f.result().offset for at, f in futures.items()}

    def create(self, topic: str, *, state: bool = False) -> None:
        """Create a topic unless it is there, and wait until it is seen.

        Args:
            topic: Its name.
            state: Whether it keeps the last message of a key for ever, in one partition.

        Raises:
            ConfigError: The name or a setting is refused, or the user may not.
        """
        require_legal(topic)
        if self.partitions(topic):
            return
        cluster = self._cluster
        config = {"cleanup.policy": "compact"} if state else dict(cluster.topic_config)
        partitions = 1 if state else cluster.partitions
        new = NewTopic(topic, partitions, cluster.replication, config=config)
        for future in self.admin.create_topics([new], request_timeout=cluster.timeout).values():
            try:
                future.result()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise meaning(error.args[0], f"creating the topic {topic}") from error
        self._wait(topic, there=True)

    def delete(self, topic: str) -> None:
        """Delete a topic if it is there, and wait until it is gone."""
        if not self.partitions(topic):
            return
        done = self.admin.delete_topics([topic], request_timeout=self._cluster.timeout)
        for future in done.values():
            with understood(f"deleting the topic {topic}"):
                future.result()
        self._limits.pop(topic, None)
        self._wait(topic, there=False)

    def limit(self, topic: str) -> int | None:
        """Return the topic's `max.message.bytes`, None if the user may not see it."""
        if topic not in self._limits:
            value = self.setting(topic, "max.message.bytes")
            if value is None:
                return None
            self._limits[topic] = int(value)
        return self._limits[topic]

    def setting(self, topic: str, name: str) -> str | None:
        """Return a setting of a topic, None if the user may not see it."""
        resource = ConfigResource(ResourceType.TOPIC, topic)
        asked = self.admin.describe_configs([resource], request_timeout=self._cluster.timeout)
        try:
            value: str = asked[resource].result()[name].value
        except KafkaException as error:
            if error.args[0].code() in _HIDDEN:
                return None
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise SchemaMismatch(
                    "the topic does not exist any more",
                    where=f"topic {topic}",
                    remedy="snapshot the table again",
                ) from error
            raise meaning(error.args[0], f"topic {topic}") from error
        return value

    def _wait(self, topic: str, *, there: bool) -> None:
        """Wait until brokers tell of a topic that it is there, or gone."""
        patience = time.monotonic() + self._cluster.timeout
        while bool(self.partitions(topic)) != there:
            if time.monotonic() > patience:
                raise SinkUnavailable(
                    f"the topic is still {'not there' if there else 'there'}",
                    where=f"topic {topic}",
                    remedy="see that the cluster's controller is well",
                )
            time.sleep(0.02)


_ELSEWHERE = frozenset(
    {
        *(KafkaError.UNKNOWN_LEADER_EPOCH, KafkaError.FENCED_LEADER_EPOCH),
        *(KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE),
    }
)
"""What brokers say for a moment after one of them was started again."""
_ABSENT = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC})


def is_legal(topic: str) -> bool:
    """Return whether a topic may have this name."""
    return bool(_LEGAL.fullmatch(topic)) and topic not in (".", "..")


def require_legal(topic: str) -> None:
    """Refuse what cannot be a topic's name.

    Raises:
        ConfigError: It has other characters than letters, digits and `._-`, or over 249.
    """
    if not is_legal(topic):
        raise ConfigError(
            f"{topic!r} cannot be the name of a topic: it takes up to 249 of a-z A-Z 0-9 . _ -",
            remedy="route the table to another name, or change sink.topic",
        )
