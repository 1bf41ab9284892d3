"""Random changes and random kills with ClickHouse as the target: the tables end equal."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from resources.sinks.clickhouse import ClickHouseSink
from resources.sinks.clickhouse_types import from_storage
from resources.sinks.contract import TargetId
from tests import oracle
from tests.e2e import child
from tests.e2e.random_dml import TABLES, RandomDml
from tests.e2e.test_equality import EXAMPLES, FIRST, run_with_kills
from tests.mysql.room import tcp_settings


@pytest.mark.nightly
@pytest.mark.timeout(0)
def test_random_dml_with_kills_ends_equal_in_clickhouse(mysql: Any, tmp_path: Path) -> None:
    kills = 0
    for seed in range(FIRST, FIRST + EXAMPLES):
        home = tmp_path / str(seed)
        home.mkdir()
        kills += _one_history(mysql, home, seed)
    assert kills >= EXAMPLES, "too few runs were killed for this test to mean anything"


def _one_history(server: Any, home: Path, seed: int) -> int:
    rnd = random.Random(seed)
    database = f"to_clickhouse_{seed}"
    server.execute(f"DROP DATABASE IF EXISTS {database}", f"CREATE DATABASE {database}")
    folder = str(home / "clickhouse")
    setup = child.Setup(tcp_settings(server), database, home, clickhouse=folder)
    writers = RandomDml(server.connect, database, seed)
    writers.create(rnd.choice((0, 30, 150)))
    writers.start()
    try:
        kills = run_with_kills(setup, rnd)
    finally:
        writers.stop()
    assert child.run(setup, "sync")
    connection = server.connect()
    with ClickHouseSink(folder) as sink:
        for table in TABLES:
            difference = oracle.compare(
                table,
                oracle.mysql_rows(connection, database, table),
                oracle.plain_rows(_shown(sink, TargetId(database, table))),
            )
            assert not difference, f"seed {seed}: {difference}"
    connection.close()
    server.execute(f"DROP DATABASE {database}")
    return kills


def _shown(sink: ClickHouseSink, target: TargetId) -> pa.Table:
    """What the view with FINAL shows."""
    schema = sink.read_schema(target)
    query = f"SELECT * FROM `{target.namespace}`.`{target.table}_final`"
    return from_storage(sink._server.select(query, str(target)), schema)
