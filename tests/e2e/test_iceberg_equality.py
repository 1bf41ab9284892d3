"""Random changes and random kills with Iceberg tables as the target: the tables end equal."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from resources.sinks.contract import TargetId
from resources.sinks.iceberg import IcebergSink
from resources.sinks.lake_types import from_storage
from tests import oracle
from tests.e2e import child
from tests.e2e.random_dml import TABLES, RandomDml
from tests.e2e.test_equality import EXAMPLES, FIRST, run_with_kills
from tests.mysql.room import tcp_settings


@pytest.mark.nightly
@pytest.mark.timeout(0)
def test_random_dml_with_kills_ends_equal_in_iceberg(mysql: Any, tmp_path: Path) -> None:
    kills = 0
    for seed in range(FIRST, FIRST + EXAMPLES):
        home = tmp_path / str(seed)
        home.mkdir()
        kills += _one_history(mysql, home, seed)
    assert kills >= EXAMPLES, "too few runs were killed for this test to mean anything"


def _one_history(server: Any, home: Path, seed: int) -> int:
    rnd = random.Random(seed)
    database = f"to_iceberg_{seed}"
    server.execute(f"DROP DATABASE IF EXISTS {database}", f"CREATE DATABASE {database}")
    setup = child.Setup(tcp_settings(server), database, home, iceberg=str(home / "lake"))
    writers = RandomDml(server.connect, database, seed)
    writers.create(rnd.choice((0, 30, 150)))
    writers.start()
    try:
        kills = run_with_kills(setup, rnd)
    finally:
        writers.stop()
    assert child.run(setup, "sync")
    connection = server.connect()
    for table in TABLES:
        difference = oracle.compare(
            table,
            oracle.mysql_rows(connection, database, table),
            iceberg_rows(setup.iceberg, database, table),
        )
        assert not difference, f"seed {seed}: {difference}"
    connection.close()
    server.execute(f"DROP DATABASE {database}")
    return kills


def iceberg_rows(place: str, namespace: str, table: str) -> list[tuple[Any, ...]]:
    """Read an Iceberg table as plain values, by pyiceberg's own scan."""
    with IcebergSink(place) as sink:
        schema = sink.read_schema(TargetId(namespace, table))
        rows = sink.catalog.open().load_table((namespace, table)).scan().to_arrow()
    assert schema is not None
    return oracle.plain_rows(from_storage(rows, schema))
