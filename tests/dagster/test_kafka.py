"""A pipeline into Kafka: the snapshot as messages, then every change, with nothing more said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.dagster.room import Room, rows_of, run_sql
from tests.sinks.kafka_room import fold, read_topic

if TYPE_CHECKING:
    from tests.servers.family import FamilyServer
    from tests.servers.kafka import KafkaServer


def test_a_pipeline_tells_the_snapshot_and_every_change(
    room: Room, mysql: FamilyServer, kafka: KafkaServer, shop: str, name: str
) -> None:
    sink = {"type": "kafka", "bootstrap_servers": kafka.url, "security": "plaintext"}
    topics = {"topic": f"{name}.{{table}}", "state_topic": f"{name}.state"}
    line = room.write_mysql(mysql, shop, name, sink={**sink, **topics})
    assert room.execute(f"{line}_snapshot").success
    users = read_topic(kafka.url, f"{name}.users")
    before = len(users)
    assert before
    assert {m.value["op"] for m in users} == {"r"}
    run_sql(mysql, f"INSERT INTO {shop}.users VALUES (70, 'new')")
    run_sql(mysql, f"UPDATE {shop}.users SET name = 'old' WHERE id = 70")
    run_sql(mysql, f"DELETE FROM {shop}.users WHERE id = 70")
    assert room.execute(f"{line}_sync").success
    users = read_topic(kafka.url, f"{name}.users")
    assert [m.value and m.value["op"] for m in users[before:]] == ["c", "u", "d", None]
    assert [m.value["before"] for m in users[before:-1]] == [
        *(None, {"id": 70, "name": "new"}, {"id": 70, "name": "old"})
    ]
    run_sql(mysql, f"TRUNCATE TABLE {shop}.users", f"INSERT INTO {shop}.users VALUES (1, 'a')")
    assert room.execute(f"{line}_sync").success
    for table in ("orders", "users"):
        folded = fold(read_topic(kafka.url, f"{name}.{table}"))
        rows = [tuple(map(str, row.values())) for row in folded.values()]
        source = rows_of(mysql, f"{shop}.{table}")
        assert sorted(rows) == sorted(tuple(map(str, row)) for row in source)
