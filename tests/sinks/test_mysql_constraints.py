"""Constraints that users put on columns of targets in the MySQL family make dirty rows."""

from __future__ import annotations

import pytest

from resources.errors import DirtyRowError
from tests.contracts.sink_steps import STEPS, TARGET, fence, keys_of, observe, rows_of
from tests.sinks.mysql_room import MySQLRoom
from tests.sinks.mysql_room import mariadb_room as mariadb_room
from tests.sinks.mysql_room import mysql_room as mysql_room
from tests.sinks.mysql_room import oceanbase_room as oceanbase_room

MADE = {
    "not null": ("MODIFY name longtext NOT NULL", (13, 14, 40)),
    "check": ("ADD CONSTRAINT short CHECK (CHAR_LENGTH(name) < 20)", (7, 41)),
}


@pytest.mark.nightly
@pytest.mark.parametrize("what", MADE)
@pytest.mark.parametrize("kind", ["mysql", "mariadb", "oceanbase"])
def test_constraints_of_the_user_make_dirty_rows(
    kind: str, what: str, request: pytest.FixtureRequest
) -> None:
    statement, refused = MADE[what]
    room: MySQLRoom = request.getfixturevalue(f"{kind}_room")
    with room.sink(request.node.name) as sink:
        STEPS["merge"].prepare(sink)
        sink.merge(TARGET, rows_of({}), keys_of(3), fence(10, 12))
        room.run(f"ALTER TABLE shop.orders {statement}")
        bad = None if what == "not null" else "canary" * 10
        rows = rows_of({i: bad if i in refused else "fine" for i in range(50)})
        before = observe(sink, TARGET)
        with pytest.raises(DirtyRowError) as caught:
            sink.merge(TARGET, rows, keys_of(), fence(12, 20))
        assert "canary" not in str(caught.value)
        rejected = sink.find_rejected(TARGET, rows)
        assert tuple(r.index for r in rejected) == refused
        assert all(r.message for r in rejected)
        assert observe(sink, TARGET) == before
        good = rows_of({i: "fine" for i in range(50) if i not in refused})
        sink.merge(TARGET, good, keys_of(), fence(12, 20))
        assert sink.count_rows(TARGET.id) == good.num_rows
