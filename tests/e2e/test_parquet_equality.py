"""Random changes and random kills with Parquet files as the target: DuckDB reads equal tables."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import duckdb
import pytest

from resources.sinks.contract import TargetId
from resources.sinks.lake_types import from_storage
from resources.sinks.parquet import ParquetSink
from tests import oracle
from tests.e2e import child
from tests.e2e.random_dml import TABLES, RandomDml
from tests.e2e.test_equality import EXAMPLES, FIRST, run_with_kills
from tests.mysql.room import tcp_settings


@pytest.mark.nightly
@pytest.mark.timeout(0)
def test_random_dml_with_kills_ends_equal_in_parquet(mysql: Any, tmp_path: Path) -> None:
    kills = 0
    for seed in range(FIRST, FIRST + EXAMPLES):
        home = tmp_path / str(seed)
        home.mkdir()
        kills += _one_history(mysql, home, seed)
    assert kills >= EXAMPLES, "too few runs were killed for this test to mean anything"


def _one_history(server: Any, home: Path, seed: int) -> int:
    rnd = random.Random(seed)
    database = f"to_parquet_{seed}"
    server.execute(f"DROP DATABASE IF EXISTS {database}", f"CREATE DATABASE {database}")
    setup = child.Setup(tcp_settings(server), database, home, parquet=str(home / "lake"))
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
            plain_rows(setup.parquet, database, table),
        )
        assert not difference, f"seed {seed}: {difference}"
    connection.close()
    server.execute(f"DROP DATABASE {database}")
    return kills


def plain_rows(place: str, namespace: str, table: str) -> list[tuple[Any, ...]]:
    """Read a folder of Parquet files as plain values, by DuckDB, which asks no manifest."""
    target = TargetId(namespace, table)
    with ParquetSink(place) as sink:
        schema = sink.read_schema(target)
        assert schema is not None
        if not sink.list_files(target):
            return []
        folder = sink.store.path(sink.format.folder(target))
    found = duckdb.sql(f"FROM read_parquet('{folder}/**/*.parquet', union_by_name = true)")
    return oracle.plain_rows(from_storage(found.to_arrow_table(), schema))
