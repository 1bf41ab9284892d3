"""Which servers feed which sinks in the schema tests: fixtures for pairings of both."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.e2e.room import NIGHTLY
from tests.servers.family import FamilyServer
from tests.sinks import postgres_room

PAIRINGS = (
    "mysql-duckdb",
    "mariadb-postgres",
    pytest.param("mysql-postgres", marks=NIGHTLY),
    pytest.param("mariadb-duckdb", marks=NIGHTLY),
)


@dataclass(frozen=True)
class Pairing:
    """A source database, and where targets go.

    Args:
        server: The source server.
        database: An empty database on it.
        room: Databases for targets; None if they go to a DuckDB file.
    """

    server: FamilyServer
    database: str
    room: postgres_room.Room | None


@pytest.fixture(params=PAIRINGS)
def pairing(request: pytest.FixtureRequest) -> Pairing:
    """Each server and each sink once; every server with every sink by night."""
    kind, _, sink = request.param.partition("-")
    server, database = (request.getfixturevalue(name) for name in (kind, f"{kind}_db"))
    room = request.getfixturevalue("room") if sink == "postgres" else None
    return Pairing(server, database, room)
