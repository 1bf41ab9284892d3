"""Random changes and random kills with Kafka as the target: a fold of the topics is the source."""

from __future__ import annotations

import random
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cdc_assets.engine.run import run_snapshot, run_sync
from resources.model.table import TableId
from tests import oracle
from tests.e2e import child
from tests.e2e.equality import EXAMPLES, FIRST, run_with_kills
from tests.e2e.random_dml import TABLES, RandomDml
from tests.mysql.room import tcp_settings
from tests.servers.mysql import FamilyServer
from tests.sinks.kafka_room import Room, fold, plain
from tests.sinks.kafka_room import room as room

FORMATS = ("debezium-json", "canal-json")
OPTIONS = {"append": ("*.*",), "append_loads": True, "before_images": True}


class Shop:
    """One database of random changes, and its topics."""

    def __init__(self, server: Any, room: Room, home: Path, seed: int, form: str) -> None:
        home.mkdir()
        self.server, self.room, self.form, self.place = server, room, form, str(home)
        self.database = f"to_kafka_{seed}_{form[:5]}"
        self.rnd = random.Random(seed)
        server.execute(
            f"DROP DATABASE IF EXISTS {self.database}", f"CREATE DATABASE {self.database}"
        )
        kafka = room.options(self.place, format=form, partitions=2, transaction_timeout=20.0)
        self.setup = child.Setup(
            *(tcp_settings(server), self.database, home, OPTIONS), kafka=tuple(kafka.items())
        )
        self.writers = RandomDml(server.connect, self.database, seed)
        self.writers.create(self.rnd.choice((5, 60)))

    def compare(self) -> None:
        connection = self.server.connect()
        for table in TABLES:
            messages = self.room.messages(self.room.topic(self.place, f"{self.database}.{table}"))
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT column_name, data_type FROM information_schema.columns WHERE "
                    "table_schema = %s AND table_name = %s ORDER BY ordinal_position",
                    (self.database, table),
                )
                kinds = dict(cursor.fetchall())
            rows = [
                tuple(plain(row[name], kind, self.form) for name, kind in kinds.items())
                for row in fold(messages).values()
            ]
            source = oracle.mysql_rows(connection, self.database, table)
            difference = oracle.compare(table, source, rows)
            assert not difference, f"{self.form}: {difference}"
            assert all(_says_before(m.value) for m in messages if m.value is not None)
            seqs = [m.headers.get("_cdc_seq") for m in messages if m.value and m.key]
            changes = [seq for seq in seqs if seq is not None]
            assert len(changes) == len(set(changes)), f"{table}: a change is there twice"
        connection.close()
        self.server.execute(f"DROP DATABASE {self.database}")


def _says_before(message: dict[str, Any]) -> bool:
    """Whether a message that is an update tells the row before it."""
    if message.get("type") == "UPDATE":
        return bool(message["old"][0])
    return message.get("op") != "u" or bool(message["before"])


@pytest.mark.parametrize("form", FORMATS)
def test_a_fold_of_the_topics_is_the_source(
    mysql: FamilyServer, room: Room, tmp_path: Path, form: str
) -> None:
    shop = Shop(mysql, room, tmp_path / "p", FIRST, form)
    with closing(child.open_pipeline(shop.setup)) as pipeline:
        shop.writers.start()
        try:
            for table in TABLES:
                run_snapshot(pipeline, TableId(shop.database, table))
            run_sync(pipeline)
        finally:
            shop.writers.stop()
        report = run_sync(pipeline)
    assert {t.outcome for t in report.tables.values()} <= {"applied", "current"}
    shop.compare()


@pytest.mark.nightly
@pytest.mark.timeout(0)
@pytest.mark.parametrize("form", FORMATS)
def test_a_fold_of_the_topics_is_the_source_after_any_kills(
    mysql: FamilyServer, room: Room, tmp_path: Path, form: str
) -> None:
    kills = 0
    for seed in range(FIRST, FIRST + EXAMPLES):
        shop = Shop(mysql, room, tmp_path / str(seed), seed, form)
        shop.writers.start()
        try:
            kills += run_with_kills(shop.setup, shop.rnd)
        finally:
            shop.writers.stop()
        assert child.run(shop.setup, "sync")
        shop.compare()
    assert kills >= EXAMPLES, "too few runs were killed for this test to mean anything"
