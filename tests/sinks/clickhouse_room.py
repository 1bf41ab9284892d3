"""One folder of the ClickHouse engine for sinks under test, emptied and used again.

Opening an engine on a new folder takes longer than most tests of a sink; dropping its databases
does not. A test has one place at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import clickhouse_connect
import pytest

from resources.failpoints import FailpointReached
from resources.sinks.clickhouse import ClickHouseSink
from resources.sinks.clickhouse_connection import ClickHouse
from resources.sinks.clickhouse_ddl import LEDGER_TABLES
from resources.sinks.clickhouse_names import quote

WORDS = {
    "text": "Nullable(String)",
    "number": "Nullable(Int32)",
    "schema": "DATABASE",
    "required": "String",
    "kind": "ENGINE = ReplacingMergeTree ORDER BY id",
}
"""What the statements of `hands_sql` say here."""


class Room:
    """Empty engines by place; a place is given up when another is asked for."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._client = clickhouse_connect.get_client(interface="chdb", path=folder)
        self._place = ""

    def at(self, place: str) -> str:
        """The folder for a place, empty if the place is another than the last."""
        if place != self._place:
            self._empty()
            self._place = place
        return self.folder

    def sink(self, place: str, **options: Any) -> ClickHouseSink:
        """A sink on a place."""
        return ClickHouseSink(self.at(place), **options)

    def run(self, *statements: str) -> None:
        """Run statements as the user of the tables would."""
        for statement in statements:
            self._client.command(statement)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of a query."""
        return [tuple(row) for row in self._client.query(query).result_rows]

    def close(self) -> None:
        self._client.close()

    def _empty(self) -> None:
        kept = ("system", "INFORMATION_SCHEMA", "information_schema", "default", "_cdc")
        for (name,) in self.rows("SELECT name FROM system.databases"):
            if name not in kept:
                self.run(f"DROP DATABASE {quote(name)} SYNC")
        for (name,) in self.rows("SELECT name FROM system.tables WHERE database = '_cdc'"):
            verb = "TRUNCATE" if name in LEDGER_TABLES else "DROP"
            self.run(f"{verb} TABLE `_cdc`.{quote(name)} SYNC")


class Countdown:
    """Breaks a server's connection before its n-th writing statement, for good.

    Nothing that the client would do after it is done, its own cleaning up included: the server
    is left as a kill of the client leaves it.
    """

    def __init__(self, sink: ClickHouseSink, statements: int) -> None:
        self._left = statements
        server: ClickHouse = sink._server
        for name in ("run", "insert", "rows", "select"):
            setattr(server, name, self._counted(getattr(server, name), name in ("run", "insert")))

    @property
    def reached(self) -> bool:
        return self._left <= 0

    def _counted(self, call: Any, writes: bool) -> Any:
        def counted(*arguments: Any, **options: Any) -> Any:
            if self._left > 0:
                self._left -= writes
            if self._left <= 0:
                raise FailpointReached("killed")
            return call(*arguments, **options)

        return counted


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    room = Room(str(tmp_path_factory.mktemp("clickhouse") / "engine"))
    yield room
    room.close()


@pytest.fixture
def sink(room: Room, request: pytest.FixtureRequest) -> Iterator[ClickHouseSink]:
    """A sink on a place of the test's own."""
    with room.sink(request.node.name) as sink:
        yield sink
