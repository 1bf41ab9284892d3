"""Random changes and random kills with PostgreSQL as the target: the tables end equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import oracle
from tests.e2e import child
from tests.e2e.equality import histories_end_equal
from tests.sinks.postgres_room import Room
from tests.sinks.postgres_room import room as room


@pytest.mark.nightly
@pytest.mark.timeout(0)
def test_random_dml_with_kills_ends_equal_in_postgres(
    mysql_family: Any, room: Room, tmp_path: Path
) -> None:
    def target(home: Path, database: str) -> dict[str, Any]:
        return {"postgres": room.url(room.database(str(home)))}

    def rows(setup: child.Setup, table: str) -> list[tuple[Any, ...]]:
        with room.connect(room.database(str(setup.home))) as there:
            return oracle.postgres_rows(there, setup.database, table)

    histories_end_equal(mysql_family, tmp_path, "to_postgres", target, rows)
