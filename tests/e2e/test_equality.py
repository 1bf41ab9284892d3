"""Random changes by several writers, random kills of the runs: the tables end equal every time.

CDC_EXAMPLES sets the number of histories per server (3 in `make test`, 100 in `make nightly`);
CDC_SEED repeats one.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest

from tests import oracle
from tests.e2e import child
from tests.e2e.points import CAPTURE, CAPTURED, LOAD, MERGE
from tests.e2e.random_dml import TABLES, RandomDml
from tests.mysql.room import tcp_settings

KILLS = (*CAPTURE, *CAPTURED, *LOAD, *MERGE)
EXAMPLES = int(os.environ.get("CDC_EXAMPLES", "3"))
FIRST = int(os.environ.get("CDC_SEED", "1"))


@pytest.mark.timeout(0)
def test_random_dml_with_kills_ends_equal(
    mysql_family: Any, tmp_path: Path, record_property: Any
) -> None:
    kills = transactions = 0
    for seed in range(FIRST, FIRST + EXAMPLES):
        home = tmp_path / str(seed)
        home.mkdir()
        done = _one_history(mysql_family, home, seed)
        kills, transactions = kills + done[0], transactions + done[1]
    print(f"{mysql_family.name}: {EXAMPLES} histories, {kills} kills, {transactions} transactions")
    record_property("kills", kills)
    assert kills >= EXAMPLES, "too few runs were killed for this test to mean anything"


def _one_history(server: Any, home: Path, seed: int) -> tuple[int, int]:
    rnd = random.Random(seed)
    database = f"history_{seed}"
    server.execute(f"DROP DATABASE IF EXISTS {database}", f"CREATE DATABASE {database}")
    setup = child.Setup(tcp_settings(server), database, home)
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
            oracle.duckdb_rows(str(setup.lake), database, table),
        )
        assert not difference, f"seed {seed}: {difference}"
    pipeline = child.open_pipeline(setup)
    assert pipeline.log.check(full=True) == [], f"seed {seed}"
    pipeline.close()
    server.execute(f"DROP DATABASE {database}")
    return kills, writers.transactions


def run_with_kills(setup: child.Setup, rnd: random.Random) -> int:
    """Snapshots and syncs, killed at random and started again; how many were killed."""
    kills = 0
    waiting = list(TABLES)
    rnd.shuffle(waiting)
    for job in [*waiting, "sync"]:
        for attempt in range(4):
            if rnd.random() < 0.3 and not child.run(setup, "sync", *_violence(rnd)):
                kills += 1
            violence = (None, None) if attempt == 3 else _violence(rnd)
            if child.run(setup, job, *violence):
                break
            kills += 1
    return kills


def _violence(rnd: random.Random) -> tuple[str | None, float | None]:
    """A kill at a named point, a kill after some time, or peace."""
    choice = rnd.random()
    if choice < 0.55:
        return f"{rnd.choice(KILLS)}:kill:{rnd.choice((1, 1, 2, 3))}", None
    if choice < 0.75:
        return None, rnd.random() * 0.8
    return None, None
