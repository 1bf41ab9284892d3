"""Topics of a Kafka broker for sinks under test, and consumers that share no code with the sink."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import struct
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from confluent_kafka import Consumer, IsolationLevel, KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from resources.sinks.kafka import KafkaSink
from tests.servers.kafka import KafkaServer


@dataclass(frozen=True)
class Seen:
    """A message as a consumer of what is committed sees it."""

    partition: int
    key: Any
    value: Any
    headers: dict[str, bytes]


class Room:
    """A broker; every place has topics of its own."""

    def __init__(self, server: KafkaServer) -> None:
        self.server = server

    def options(self, place: str, **more: Any) -> dict[str, Any]:
        return options_of(self.server.url, place, **more)

    def open(self, place: str, **more: Any) -> KafkaSink:
        return KafkaSink(**self.options(place, **more))

    def messages(self, topic: str) -> list[Seen]:
        """All that a topic says, partition by partition, up to its present end."""
        return read_topic(self.server.url, topic)

    def topic(self, place: str, target: object) -> str:
        database, _, table = str(target).partition(".")
        return str(self.options(place)["topic"]).format(database=database, table=table)


@pytest.fixture(scope="session")
def room(kafka: KafkaServer) -> Room:
    return Room(kafka)


def options_of(url: str, place: str, **more: Any) -> dict[str, Any]:
    """The sink's options for a place: topics of its own."""
    name = hashlib.blake2b(place.encode(), digest_size=6).hexdigest()
    topics = {
        "topic": f"{name}.{{database}}.{{table}}",
        "schema_topic": f"{name}.schemas",
        "state_topic": f"{name}.state",
    }
    return {"bootstrap_servers": url, "timeout": 20.0, **topics, **more}


def read_topic(url: str, topic: str) -> list[Seen]:
    """Read a topic as any consumer with `isolation.level=read_committed` does.

    To the end it has now: where a transaction is open, the reader waits until it is decided.
    """
    common = {"bootstrap.servers": url, "log_level": 0}
    consumer = Consumer(
        {
            **common,
            "group.id": "test",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 50,
        }
    )
    partitions = consumer.list_topics(topic, timeout=20).topics[topic].partitions
    left = _ends(AdminClient(common), topic, list(partitions))
    consumer.assign([TopicPartition(topic, p, 0) for p in partitions])
    found = []
    while left:
        message = consumer.poll(40)
        assert message is not None, "the topic does not end"
        error, partition, offset = message.error(), message.partition(), message.offset()
        if error is None:
            key, value = _json(message.key()), _json(message.value())
            found.append(Seen(partition, key, value, dict(message.headers() or [])))
            offset += 1
        else:
            assert error.code() == KafkaError._PARTITION_EOF, error
        if offset >= left.get(partition, offset + 1):
            del left[partition]
    consumer.close()
    return sorted(found, key=lambda seen: seen.partition)


def _ends(admin: AdminClient, topic: str, partitions: list[int]) -> dict[int, int]:
    asked = {TopicPartition(topic, p): OffsetSpec.latest() for p in partitions}
    futures = admin.list_offsets(asked, isolation_level=IsolationLevel.READ_UNCOMMITTED)
    ends = {at.partition: future.result().offset for at, future in futures.items()}
    return {partition: end for partition, end in ends.items() if end}


def _json(text: bytes | None) -> Any:
    return None if text is None else json.loads(text)


def fold(messages: Sequence[Seen]) -> dict[str, dict[str, Any]]:
    """The last row of every key that a consumer of either format ends with.

    A message that all rows are gone is about the keys of its partition.
    """
    rows: dict[int, dict[str, dict[str, Any]]] = {}
    for seen in messages:
        here = rows.setdefault(seen.partition, {})
        key, value = json.dumps(seen.key), seen.value
        if value is None or value.get("op") == "d" or value.get("type") == "DELETE":
            here.pop(key, None)
        elif value.get("op") == "t" or value.get("type") == "TRUNCATE":
            here.clear()
        else:
            here[key] = value["data"][0] if "data" in value else value["after"]
    return {key: row for here in rows.values() for key, row in here.items()}


def plain(value: Any, kind: str, form: str) -> Any:
    """A value of a message as the plain one the judge of tests compares, by MySQL's type."""
    if value is None or kind in ("varchar", "text", "enum", "set", "json"):
        return value
    if kind == "varbinary":
        return b64decode(value)
    if kind == "decimal":
        return Decimal(value)
    if kind in ("float", "double"):
        number = float(value)
        return struct.unpack("f", struct.pack("f", number))[0] if kind == "float" else number
    if kind == "timestamp":
        return dt.datetime.fromisoformat(value).replace(tzinfo=None)
    if kind == "datetime" and form == "canal-json":
        return dt.datetime.fromisoformat(value)
    if kind == "datetime":
        return dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=value)
    if kind == "time" and form == "canal-json":
        sign = -1 if value.startswith("-") else 1
        hours, minutes, seconds = value.lstrip("-").split(":")
        whole = dt.timedelta(hours=int(hours), minutes=int(minutes))
        micros = round(Decimal(seconds) * 10**6)
        return sign * (whole + dt.timedelta(microseconds=micros))
    if kind == "time":
        return dt.timedelta(microseconds=value)
    return int(value)
