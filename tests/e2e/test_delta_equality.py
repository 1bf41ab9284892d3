"""Random changes and random kills with Delta tables as the target: the tables end equal."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from resources.sinks.contract import TargetId
from resources.sinks.delta import DeltaSink
from resources.sinks.lake_types import from_storage
from tests import oracle
from tests.e2e import child
from tests.e2e.random_dml import TABLES, RandomDml
from tests.e2e.test_equality import EXAMPLES, FIRST, run_with_kills
from tests.mysql.room import tcp_settings


@pytest.mark.nightly
@pytest.mark.timeout(0)
def test_random_dml_with_kills_ends_equal_in_delta(mysql: Any, tmp_path: Path) -> None:
    kills = 0
    for seed in range(FIRST, FIRST + EXAMPLES):
        home = tmp_path / str(seed)
        home.mkdir()
        kills += _one_history(mysql, home, seed)
    assert kills >= EXAMPLES, "too few runs were killed for this test to mean anything"


def _one_history(server: Any, home: Path, seed: int) -> int:
    rnd = random.Random(seed)
    database = f"to_delta_{seed}"
    server.execute(f"DROP DATABASE IF EXISTS {database}", f"CREATE DATABASE {database}")
    setup = child.Setup(tcp_settings(server), database, home, delta=str(home / "lake"))
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
            delta_rows(setup.delta, database, table),
        )
        assert not difference, f"seed {seed}: {difference}"
    connection.close()
    server.execute(f"DROP DATABASE {database}")
    return kills


def delta_rows(place: str, namespace: str, table: str) -> list[tuple[Any, ...]]:
    """Read a Delta table as plain values, by DataFusion and the table's log."""
    target = TargetId(namespace, table)
    with DeltaSink(place) as sink:
        schema = sink.read_schema(target)
        folder = sink.store.path(sink.format.folder(target))
    assert schema is not None
    rows = from_storage(pa.table(DeltaTable(folder).scan()), schema)
    return oracle.plain_rows(rows)
