"""Random changes and random kills with another MySQL server as the target: the tables end equal."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests import oracle
from tests.e2e import child
from tests.e2e.random_dml import TABLES, RandomDml
from tests.e2e.test_equality import EXAMPLES, FIRST, run_with_kills
from tests.mysql.room import tcp_settings
from tests.sinks.mysql_room import MySQLRoom
from tests.sinks.mysql_room import mysql_room as mysql_room


@pytest.mark.nightly
@pytest.mark.timeout(0)
def test_random_dml_with_kills_ends_equal_in_mysql(
    mysql: Any, mysql_room: MySQLRoom, tmp_path: Path
) -> None:
    kills = 0
    for seed in range(FIRST, FIRST + EXAMPLES):
        home = tmp_path / str(seed)
        home.mkdir()
        kills += _one_history(mysql, mysql_room, home, seed)
    assert kills >= EXAMPLES, "too few runs were killed for this test to mean anything"


def _one_history(server: Any, room: MySQLRoom, home: Path, seed: int) -> int:
    rnd = random.Random(seed)
    database = f"to_mysql_{seed}"
    room.enter(database)
    server.execute(f"DROP DATABASE IF EXISTS {database}", f"CREATE DATABASE {database}")
    options = tuple(room.options().items())
    setup = child.Setup(tcp_settings(server), database, home, mysql=options)
    writers = RandomDml(server.connect, database, seed)
    writers.create(rnd.choice((0, 30, 150)))
    writers.start()
    try:
        kills = run_with_kills(setup, rnd)
    finally:
        writers.stop()
    assert child.run(setup, "sync")
    connection = server.connect()
    with room.server.connect() as there:
        for table in TABLES:
            difference = oracle.compare(
                table,
                oracle.mysql_rows(connection, database, table),
                oracle.mysql_rows(there, database, table),
            )
            assert not difference, f"seed {seed}: {difference}"
    connection.close()
    server.execute(f"DROP DATABASE {database}")
    return kills
