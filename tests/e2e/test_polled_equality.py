"""Polled tables of OceanBase and MariaDB, random inserts and random kills: targets end equal."""

from __future__ import annotations

import random
import threading
from pathlib import Path
from typing import Any

import pytest

from resources.mysql.connection import MySQLSettings
from resources.sinks.contract import TargetId
from tests import oracle
from tests.e2e import child
from tests.e2e.equality import EXAMPLES, FIRST
from tests.e2e.points import CAPTURE, CAPTURED, MERGE
from tests.e2e.test_lake_equality import read_by_others
from tests.sinks.delta_room import DeltaRoom
from tests.sinks.postgres_room import Room
from tests.sinks.postgres_room import room as room

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(0)]
KILLS = (*CAPTURE, *CAPTURED, *MERGE)
ROUNDS = 8
VISITS = """CREATE TABLE visits (
    id BIGINT AUTO_INCREMENT PRIMARY KEY, a INT UNSIGNED, b VARCHAR(40), c DECIMAL(30,10),
    d DOUBLE, e DATETIME(6), g VARBINARY(20))"""
INSERT = "INSERT INTO visits (a, b, c, d, e, g) VALUES (%s, %s, %s, %s, %s, %s)"


class Visitors:
    """Several threads of transactions that insert rows, of which a part is rolled back."""

    def __init__(self, server: Any, database: str, seed: int, writers: int = 3) -> None:
        self.server, self.database = server, database
        self.stopped = threading.Event()
        self.errors: list[BaseException] = []
        self.committed = 0
        self.threads = [
            threading.Thread(target=self._write, args=(random.Random(seed * 100 + n),))
            for n in range(writers)
        ]

    def __enter__(self) -> Visitors:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join()
        if self.errors:
            raise self.errors[0]

    def _write(self, rnd: random.Random) -> None:
        try:
            connection = self.server.connect(database=self.database, autocommit=False)
            with connection, connection.cursor() as cursor:
                while not self.stopped.is_set():
                    for _ in range(rnd.randint(1, 5)):
                        cursor.execute(INSERT, _visit(rnd))
                        self.stopped.wait(rnd.random() * 0.05)
                    if rnd.random() < 0.2:
                        connection.rollback()
                    else:
                        connection.commit()
                        self.committed += 1
        except BaseException as error:  # raised by __exit__ in the test's thread
            self.errors.append(error)


def _visit(rnd: random.Random) -> tuple[object, ...]:
    values = (
        rnd.randrange(2**32),
        rnd.choice(("", "ü😀", "x" * 40)),
        f"{rnd.randrange(-(10**18), 10**18)}.{rnd.randrange(10**10):010}",
        rnd.uniform(-1e300, 1e300),
        f"2024-02-{rnd.randint(1, 29):02} 23:59:59.{rnd.randrange(10**6):06}",
        rnd.randbytes(20),
    )
    return tuple(None if rnd.random() < 0.1 else value for value in values)


@pytest.mark.parametrize("sink", ["postgres", "delta"])
@pytest.mark.parametrize("kind", ["oceanbase", "mariadb"])
def test_random_inserts_with_kills_end_equal(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, sink: str
) -> None:
    server = request.getfixturevalue(kind)
    kills = 0
    for seed in range(FIRST, FIRST + EXAMPLES):
        rnd = random.Random(seed)
        home = tmp_path / str(seed)
        home.mkdir()
        database = f"polled_to_{sink}_{seed}"
        server.execute(f"DROP DATABASE IF EXISTS {database}", f"CREATE DATABASE {database}")
        with server.connect(database=database) as connection, connection.cursor() as cursor:
            cursor.execute(VISITS)
        place = Place(request, sink, home, database)
        setup = child.Setup(
            MySQLSettings(), database, home, {"history": "log"}, polled=server.url, **place.options
        )
        with Visitors(server, database, seed) as visitors:
            for _ in range(ROUNDS):
                point = f"{rnd.choice(KILLS)}:kill:1" if rnd.random() < 0.6 else None
                kills += not child.run(setup, "sync", point)
        assert child.run(setup, "sync")
        with server.connect() as connection:
            source = oracle.mysql_rows(connection, database, "visits")
        difference = oracle.compare("visits", source, place.rows())
        assert not difference, f"seed {seed}: {difference}"
        assert len(source) >= visitors.committed > ROUNDS
        server.execute(f"DROP DATABASE {database}")
    assert kills >= EXAMPLES, "too few runs were killed for this test to mean anything"


class Place:
    """Where the rows of one history go, and how other programs read them there."""

    def __init__(
        self, request: pytest.FixtureRequest, sink: str, home: Path, database: str
    ) -> None:
        self.target, self.lake = TargetId(database, "visits"), str(home / "lake")
        self.options: dict[str, Any] = {"delta": self.lake}
        self.room: Room | None = None
        if sink == "postgres":
            self.room = request.getfixturevalue("room")
            self.name = self.room.database(str(home))
            self.options = {"postgres": self.room.url(self.name)}

    def rows(self) -> list[tuple[Any, ...]]:
        if self.room is None:
            return read_by_others(DeltaRoom(), self.lake, self.target)
        with self.room.connect(self.name) as there:
            return oracle.postgres_rows(there, self.target.namespace, self.target.table)
