"""A table that stands in PostgreSQL is made anew by a load, killed on the way, from MySQL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cdc_assets.engine.existing import Existing
from tests.e2e import child
from tests.e2e.room import Line
from tests.mysql.room import tcp_settings
from tests.sinks.postgres_room import Room
from tests.sinks.postgres_room import room as room

KILLS = (
    "sink.finish.after_drop",  # the old table is dropped, the new one has not its name yet
    "copy.after_finish",
)


@pytest.fixture
def line(mysql: Any, mysql_db: str, room: Room, tmp_path: Path) -> Line:
    """A source table of three rows, and in PostgreSQL one of its name that a user made."""
    name = room.database(str(tmp_path))
    room.run(
        name,
        f"CREATE SCHEMA {mysql_db}",
        f"CREATE TABLE {mysql_db}.t (id bigint PRIMARY KEY, other text)",
        f"CREATE INDEX mine ON {mysql_db}.t (other)",
        f"INSERT INTO {mysql_db}.t VALUES (7, 'theirs')",
    )
    options = {"existing": Existing("recreate", where="shop.yaml:9:3")}
    url = room.url(name)
    line = Line(mysql, child.Setup(tcp_settings(mysql), mysql_db, tmp_path, options, postgres=url))
    line.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20))",
        "INSERT INTO t VALUES (1, 'one'), (2, NULL), (3, 'three')",
    )
    return line


def test_a_table_made_anew_is_the_old_or_the_new_one_whenever_its_run_is_killed(
    line: Line, room: Room
) -> None:
    name, schema = room.database(str(line.setup.home)), line.database

    def there() -> list[tuple[Any, ...]]:
        return sorted(room.run(name, f"SELECT * FROM {schema}.t"))

    new = sorted(tuple(row.values()) for row in line.select("SELECT * FROM t"))
    old = [(7, "theirs")]
    for number, point in enumerate(KILLS):
        assert not child.run(line.setup, "t", f"{point}:kill"), point
        assert there() == (old if number < len(KILLS) - 1 else new), point
    line.load("t")
    line.execute("UPDATE t SET v = 'two' WHERE id = 2")
    line.sync()
    assert there() == [(1, "one"), (2, "two"), (3, "three")]
    indexes = room.run(name, f"SELECT indexname FROM pg_indexes WHERE schemaname = '{schema}'")
    assert ("mine",) not in indexes
