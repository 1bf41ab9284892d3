"""Kafka: killed writers, zombies, brokers that go away, users who may not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewPartitions,
    ResourcePatternType,
    ResourceType,
)

from resources.errors import ConfigError, FencedOut, SchemaMismatch, SinkUnavailable
from resources.sinks.contract import Watermark
from tests.contracts.sink_steps import FEED, HISTORY, STEPS, changes_of, fence
from tests.servers.kafka import KafkaServer
from tests.sinks.kafka_room import Room
from tests.sinks.kafka_room import room as room


@pytest.fixture(scope="module")
def own() -> Iterator[Room]:
    """A broker of this module, to be stopped, that refuses what topics `forbidden…` are asked."""
    authorizer = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
    with KafkaServer(
        authorizer_class_name=authorizer, allow_everyone_if_no_acl_found="true"
    ) as server:
        yield Room(server)


def ids(room: Room, place: str) -> list[int]:
    """The rows that a reader of what is committed sees."""
    return [m.value["after"]["id"] for m in room.messages(room.topic(place, HISTORY.id))]


def test_a_writer_killed_before_any_call_of_the_producer_writes_all_or_nothing(
    room: Room, tmp_path: object
) -> None:
    command = [sys.executable, "-m", "tests.sinks.kill_kafka", room.server.url, str(tmp_path)]
    done = subprocess.run(command, timeout=120, check=True, capture_output=True)
    calls = int(done.stdout)
    assert calls > 8, "the writer made too few calls for this test to mean anything"
    for number in range(1, calls + 1):
        place = f"{tmp_path}/{number}"
        with room.open(place, transaction_timeout=20.0) as sink:
            STEPS["append"].redo(sink)
            assert sink.read_watermark(HISTORY.id, FEED) == Watermark(20, 0, 1)
        assert ids(room, place) == [1, 2, 11, 12, 13], number


def test_a_writer_that_comes_back_from_the_dead_writes_nothing(
    room: Room, tmp_path: object
) -> None:
    place = str(tmp_path)
    with room.open(place) as zombie, room.open(place) as heir:
        STEPS["append"].prepare(zombie)
        writing = zombie._place.write_as(HISTORY.id, FEED)
        with pytest.raises(FencedOut), writing as transaction:
            transaction.send(room.topic(place, HISTORY.id), b"{}", b'{"after":{"id":99}}')
            transaction.flush()
            heir.append(HISTORY, changes_of(11, ["c"]), fence(10, 20, token=2))
        with pytest.raises(FencedOut, match="token 2"):
            zombie.append(HISTORY, changes_of(11, ["c"]), fence(10, 20, token=1))
        heir.append(HISTORY, changes_of(21, ["d"]), fence(20, 30, token=2))
    assert ids(room, place) == [1, 2, 11, 21]


def test_a_broker_that_is_down_at_the_start_or_goes_down_in_the_middle_loses_nothing(
    own: Room, tmp_path: object
) -> None:
    place = str(tmp_path)
    with own.open(place, timeout=4.0) as sink:
        STEPS["append"].prepare(sink)
        own.server.stop()
        with pytest.raises(SinkUnavailable, match="brokers run"):
            STEPS["append"].work(sink)
    with own.open(place, timeout=1.0) as sink, pytest.raises(SinkUnavailable):
        sink.read_watermark(HISTORY.id, FEED)
    own.server.start()
    with own.open(place) as sink:
        assert sink.read_watermark(HISTORY.id, FEED) == Watermark(10, 0, 1)
        STEPS["append"].redo(sink)
    assert ids(own, place) == [1, 2, 11, 12, 13]


def test_a_user_who_may_not_is_told_what_to_grant(own: Room, tmp_path: object) -> None:
    admin = AdminClient({"bootstrap.servers": own.server.url, "log_level": 0})
    denied = AclBinding(
        *(ResourceType.TOPIC, "forbidden", ResourcePatternType.PREFIXED, "User:ANONYMOUS", "*"),
        *(AclOperation.ALL, AclPermissionType.DENY),
    )
    for future in admin.create_acls([denied]).values():
        future.result()
    place = str(tmp_path)
    for topics in ({"topic": "forbidden.{table}"}, {"state_topic": "forbidden_state"}):
        refused = pytest.raises(ConfigError, match="grant the user Read, Write, Create")
        with own.open(place, **topics) as sink, refused:
            sink.create_table(HISTORY)


def test_without_transactions_all_is_written_at_least_once(room: Room, tmp_path: object) -> None:
    place = str(tmp_path)
    with room.open(place, delivery="at_least_once") as sink:
        STEPS["append"].prepare(sink)
        STEPS["append"].work(sink)
        assert sink.read_watermark(HISTORY.id, FEED) == Watermark(20, 0, 1)
        with pytest.raises(FencedOut):
            STEPS["append"].work(sink)
    assert ids(room, place) == [1, 2, 11, 12, 13]


def test_topics_that_somebody_changed_are_told_or_taken_as_they_are(
    room: Room, tmp_path: object
) -> None:
    """A topic that is gone is no table any more; further partitions are used from then on."""
    place = str(tmp_path)
    admin = AdminClient({"bootstrap.servers": room.server.url, "log_level": 0})
    topic = room.topic(place, HISTORY.id)
    with room.open(place) as sink:
        STEPS["append"].prepare(sink)
        for future in admin.create_partitions([NewPartitions(topic, 3)]).values():
            future.result()
        STEPS["append"].work(sink)
    assert sorted(ids(room, place)) == [1, 2, 11, 12, 13]
    for future in admin.delete_topics([topic]).values():
        future.result()
    with room.open(place) as sink:
        with pytest.raises(SchemaMismatch, match="does not exist") as caught:
            sink.append(HISTORY, changes_of(21, ["e"]), fence(20, 30))
        assert "snapshot" in caught.value.remedy
        assert topic in str(caught.value)
        mark = sink.read_watermark(HISTORY.id, FEED)
        sink.create_table(HISTORY)
        sink.append(HISTORY, changes_of(21, ["e"]), fence(mark.seq if mark else None, 30))
    assert ids(room, place) == [21]
