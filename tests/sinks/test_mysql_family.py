"""The MySQL sink on MariaDB and OceanBase: a part of the suite in every run, all of it nightly."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
import pytest

from resources.model.table import Column, TableSchema
from resources.sinks.contract import TargetTable
from resources.sinks.shape import target_schema
from tests.contracts.sink_shared_steps import ALL_STEPS
from tests.contracts.sink_steps import TARGET, fence, observe
from tests.contracts.sink_suite import SinkSuite
from tests.sinks.mysql_room import LONGEST_TIME_US, MySQLRoom
from tests.sinks.mysql_room import mariadb_room as mariadb_room
from tests.sinks.mysql_room import oceanbase_room as oceanbase_room
from tests.sinks.test_mysql import InRoom
from tests.strategies import comparable


class OnMariaDB(InRoom):
    """MariaDB's TIME is longer by a fraction; its zeros have no sign."""

    longest_time = LONGEST_TIME_US + 999_999

    @pytest.fixture(autouse=True)
    def _room(self, mariadb_room: MySQLRoom) -> None:
        type(self).room = mariadb_room

    def fits(self, type_: pa.DataType, value: Any) -> bool:
        signed = pa.types.is_floating(type_) and value == 0 and math.copysign(1, value) < 0
        return super().fits(type_, value) and not signed


class OnOceanBase(InRoom):
    """OceanBase takes rows by VALUES only, and texts in keys as bytes."""

    @pytest.fixture(autouse=True)
    def _room(self, oceanbase_room: MySQLRoom) -> None:
        type(self).room = oceanbase_room


TRIED = {
    "mariadb": ("load", "merge", "append", "truncate", "kept load", "shared load", "alter"),
    "oceanbase": ("shared merge",),
}
"""Steps of every run: changes of tables take OceanBase's kernel a while."""


@pytest.mark.parametrize("kind", sorted(TRIED))
def test_loads_merges_and_column_changes(kind: str, request: pytest.FixtureRequest) -> None:
    """What every run tries on the other servers, beside what is left there by other tests."""
    room = MySQLRoom(request.getfixturevalue(kind), frozenset({"shop"}))
    room.run("SET GLOBAL local_infile = ON")
    with room.sink(request.node.name) as sink:
        for name in TRIED[kind]:
            step = ALL_STEPS[name]
            step.prepare(sink)
            before = observe(sink, step.target, step.feed)
            step.work(sink)
            after = observe(sink, step.target, step.feed)
            assert before != after
            step.redo(sink)
            assert observe(sink, step.target, step.feed) == after
            sink.drop_table(step.target.id)
        columns = (Column("code", pa.string()), Column("v", pa.binary()))
        target = TargetTable(TARGET.id, TableSchema(TARGET.schema.table, columns, ("code",)))
        sink.create_table(target)
        assert sink.check_table(target) == []
        codes = ["a", "A", "a ", "á", "", "a\\\0\t'"]
        rows = pa.table(
            [codes, [c.encode() + b"\xff" for c in codes]], schema=target_schema(target)
        )
        sink.merge(target, rows, rows.select(["code"]).slice(0, 0), fence(None, 1))
        assert comparable(sink.read_table(target.id)) == comparable(rows)
        sink.merge(target, rows.slice(0, 1), rows.select(["code"]).slice(1, 3), fence(1, 2))
        assert sorted(sink.read_table(target.id)["code"].to_pylist()) == ["", "a", codes[5]]
        long = pa.table([["x" * 3073, "ok"], [b"", b""]], schema=target_schema(target))
        assert [r.index for r in sink.find_rejected(target, long)] == [0]
    room.empty()


@pytest.mark.nightly
class TestMariaDB(OnMariaDB, SinkSuite):
    pass


@pytest.mark.nightly
class TestOceanBase(OnOceanBase, SinkSuite):
    pass
