"""Random histories for a target: several writers, runs killed at random, and tables that end equal.

In: a source server and what a target adds to a run's setup. Out: how much was killed; a difference
between a source table and its target fails. CDC_EXAMPLES sets the number of histories (2 in
`make test`, 100 in `make nightly`); CDC_SEED repeats one.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import oracle
from tests.e2e import child
from tests.e2e.points import CAPTURE, CAPTURED, LOAD, MERGE
from tests.e2e.random_dml import TABLES, RandomDml
from tests.mysql.room import tcp_settings

KILLS = (*CAPTURE, *CAPTURED, *LOAD, *MERGE)
EXAMPLES = int(os.environ.get("CDC_EXAMPLES", "2"))
FIRST = int(os.environ.get("CDC_SEED", "1"))
TargetOf = Callable[[Path, str], dict[str, Any]]
"""Fields of `child.Setup` for a target: of a folder for this history, and the source database."""
RowsOf = Callable[[child.Setup, str], list[tuple[Any, ...]]]
"""The rows of a target table as plain values."""


def histories_end_equal(
    server: Any, folder: Path, name: str, target_of: TargetOf, rows_of: RowsOf
) -> tuple[int, int]:
    """Require that all histories end equal; how many runs were killed, and transactions made."""
    kills = transactions = 0
    for seed in range(FIRST, FIRST + EXAMPLES):
        home = folder / str(seed)
        home.mkdir()
        done = _one_history(server, home, f"{name}_{seed}", seed, target_of, rows_of)
        kills, transactions = kills + done[0], transactions + done[1]
    assert kills >= EXAMPLES, "too few runs were killed for this test to mean anything"
    return kills, transactions


def _one_history(
    server: Any, home: Path, database: str, seed: int, target_of: TargetOf, rows_of: RowsOf
) -> tuple[int, int]:
    rnd = random.Random(seed)
    server.execute(f"DROP DATABASE IF EXISTS {database}", f"CREATE DATABASE {database}")
    setup = child.Setup(tcp_settings(server), database, home, **target_of(home, database))
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
        source = oracle.mysql_rows(connection, database, table)
        difference = oracle.compare(table, source, rows_of(setup, table))
        assert not difference, f"seed {seed}: {difference}"
    connection.close()
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
