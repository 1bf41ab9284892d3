"""Random changes and random kills with another MySQL server as the target: the tables end equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import oracle
from tests.e2e import child
from tests.e2e.equality import histories_end_equal
from tests.sinks.mysql_room import MySQLRoom
from tests.sinks.mysql_room import mysql_room as mysql_room


@pytest.mark.nightly
@pytest.mark.timeout(0)
def test_random_dml_with_kills_ends_equal_in_mysql(
    mysql_family: Any, mysql_room: MySQLRoom, tmp_path: Path
) -> None:
    def target(home: Path, database: str) -> dict[str, Any]:
        mysql_room.enter(database)
        return {"mysql": tuple(mysql_room.options().items())}

    def rows(setup: child.Setup, table: str) -> list[tuple[Any, ...]]:
        with mysql_room.server.connect() as there:
            return oracle.mysql_rows(there, setup.database, table)

    histories_end_equal(mysql_family, tmp_path, f"{mysql_family.kind}_to_mysql", target, rows)
