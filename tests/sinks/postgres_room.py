"""Databases of a PostgreSQL server for sinks under test: a few, emptied and used again.

Creating a database takes longer than most tests of a sink; emptying one does not.
"""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest

from resources.sinks.postgres import PostgresSink
from tests.servers.postgres import PostgresServer

_KEPT = 4
"""Places that are remembered: more than any test has open."""


class Room:
    """Empty databases by place; a place is given up when `_KEPT` others were asked for since."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self._places: dict[str, str] = {}
        self._lock = threading.Lock()

    def database(self, place: str) -> str:
        """The place's database; an empty one at first."""
        with self._lock:
            return self._database(place)

    def _database(self, place: str) -> str:
        if place in self._places:
            name = self._places.pop(place)
        elif len(self._places) < _KEPT:
            name = f"room_{len(self._places)}"
            self.run("postgres", f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name}")
        else:
            name = self._places.pop(next(iter(self._places)))
            self.empty(name)
        self._places[place] = name
        return name

    def empty(self, database: str) -> None:
        """Drop all tables of users, and what the sink remembers of them."""
        with self.connect(database) as connection:
            schemas = connection.execute(
                "SELECT quote_ident(nspname) FROM pg_namespace WHERE nspname !~ '^pg_' "
                "AND nspname NOT IN ('information_schema', 'public', '_cdc')"
            ).fetchall()
            loads = connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = '_cdc' "
                "AND tablename LIKE '\\_cdc\\_load%'"
            ).fetchall()
            for (schema,) in schemas:
                connection.execute(f"DROP SCHEMA {schema} CASCADE")
            for (table,) in loads:
                connection.execute(f'DROP TABLE _cdc."{table}"')
            connection.execute(
                "DELETE FROM _cdc.watermarks; DELETE FROM _cdc.tables; DELETE FROM _cdc.loads; "
                "DELETE FROM _cdc.loaded_chunks"
            )

    def connect(self, database: str) -> psycopg.Connection[Any]:
        return self.server.connect(dbname=database)

    def run(self, database: str, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements as the administrator; rows of the last."""
        with self.connect(database) as connection:
            for statement in statements:
                cursor = connection.execute(statement)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def url(self, database: str, user: str | None = None, password: str | None = None) -> str:
        """URL of a database for a sink."""
        server = self.server
        return server.url_for(user or server.user, password or server.password, database)

    def sink(self, place: str, **options: Any) -> PostgresSink:
        """A sink on a place's database."""
        return PostgresSink(self.url(self.database(place)), **options)


@pytest.fixture(scope="session")
def room(postgres: PostgresServer) -> Room:
    return Room(postgres)
