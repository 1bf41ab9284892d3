"""What gh-ost and pt-online-schema-change wrote into the log when they ran, and how to play it.

In: `recordings/`, made by running the tools (gh-ost of August 2026; 3.2.1 of the other) against
MySQL 9.7 and MariaDB 10.11 while rows were written: the statements of the log in order, and
between them `rows of` a table where row events came. Out: the same statements on any server.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.mysql.room import Room

BEFORE = (
    "CREATE TABLE orders (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, a VARCHAR(10), b VARCHAR(10))"
)
"""The table that every run changed."""
_ROWS = "rows of "
_SHARED = """
SELECT C.COLUMN_NAME FROM information_schema.COLUMNS C JOIN information_schema.COLUMNS O
  ON O.TABLE_SCHEMA = C.TABLE_SCHEMA AND O.COLUMN_NAME = C.COLUMN_NAME
WHERE C.TABLE_SCHEMA = %s AND C.TABLE_NAME = %s AND O.TABLE_NAME = 'orders'"""


@dataclass(frozen=True)
class Run:
    """A run of a tool.

    Args:
        tool: Its name.
        server: Kind of server.
        name: What it was to do.
        options: Its options.
        log: Statements, and `rows of` tables.
        then: CREATE TABLE of the table afterwards, by the server.
    """

    tool: str
    server: str
    name: str
    options: tuple[str, ...]
    log: tuple[str, ...]
    then: str

    def __str__(self) -> str:
        return f"{self.server} {self.tool} {self.name}"

    def statements(self, database: str) -> Iterator[str]:
        """Its statements alone, on a database of another name."""
        for entry in self.log:
            if not entry.startswith(_ROWS):
                yield entry.replace("`rec`", f"`{database}`")


@cache
def runs() -> tuple[Run, ...]:
    """Every run that was recorded."""
    folder = Path(__file__).parent / "recordings"
    out = []
    for path in sorted(folder.glob("*.json")):
        tool = path.stem.replace("_", "-")
        for run in json.loads(path.read_text()):
            parts = run["server"], run["name"], tuple(run["options"]), tuple(run["log"])
            out.append(Run(tool, *parts, run["then"]))
    return tuple(out)


def run_of(tool: str, server: str, name: str) -> Run:
    """The run of that name."""
    return next(r for r in runs() if (r.tool, r.server, r.name) == (tool, server, name))


def play(room: Room, log: Sequence[str], ids: Iterator[int]) -> None:
    """Play entries of a run's log; rows come into the table anew, and into copies from it.

    Args:
        room: Where.
        log: The entries.
        ids: Keys of new rows.
    """
    connection = room.server.connect(database=room.database)
    with closing(connection), connection.cursor() as cursor:
        cursor.execute("SET sql_mode = ''")
        for entry in log:
            if entry.startswith(_ROWS):
                _write(cursor, room, entry.removeprefix(_ROWS), ids)
            else:
                cursor.execute(entry.replace("`rec`", f"`{room.database}`"))


def _write(cursor: Any, room: Room, table: str, ids: Iterator[int]) -> None:
    if table == "orders":
        new = next(ids)
        cursor.execute("INSERT INTO orders (id) VALUES (%s)", (new,))
        cursor.execute("UPDATE orders SET b = %s WHERE id = %s", (f"b{new}", new))
        return
    if not table.endswith(("_gho", "_new", "_fresh")):
        return  # the tool's notes to itself
    cursor.execute(_SHARED, (room.database, table))
    shared = ", ".join(name for (name,) in cursor.fetchall())
    cursor.execute(f"REPLACE INTO {table} ({shared}) SELECT {shared} FROM orders")
