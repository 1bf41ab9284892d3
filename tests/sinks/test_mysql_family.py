"""The MySQL sink on MariaDB and OceanBase: a part of the suite in every run, all of it nightly."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
import pytest

from resources.errors import DirtyRowError, SinkUnavailable
from resources.model.table import Column, TableSchema
from resources.sinks.contract import Sink, TargetTable
from resources.sinks.shape import target_schema
from tests.contracts.sink_shared_steps import ALL_STEPS
from tests.contracts.sink_sizes import table
from tests.contracts.sink_sizes import target_of as sized
from tests.contracts.sink_steps import FEED, STEPS, TARGET, fence, observe, rows_of
from tests.contracts.sink_suite import SinkSuite
from tests.sinks.mysql_room import LONGEST_TIME_US, MySQLRoom
from tests.sinks.mysql_room import mariadb_room as mariadb_room
from tests.sinks.mysql_room import oceanbase_room as oceanbase_room
from tests.sinks.test_mysql import InRoom, MySQLByHand
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
@pytest.mark.parametrize("kind", sorted(TRIED))
def test_the_server_is_started_again_meanwhile(kind: str, request: pytest.FixtureRequest) -> None:
    """Killed before a merge and in the middle of a load, whose next chunk then fails."""
    room: MySQLRoom = request.getfixturevalue(f"{kind}_room")
    if kind == "mariadb":
        room.run("SET GLOBAL innodb_flush_log_at_trx_commit = 1")
    with room.sink(request.node.name) as sink:
        STEPS["merge"].prepare(sink)
        before = observe(sink, TARGET)
        sink.begin_load(TARGET, "new", FEED)
        sink.load_chunk(TARGET, "new", 1, [rows_of({1: "eins"})])
        room.server.kill()
        for write in (
            lambda: STEPS["merge"].work(sink),
            lambda: sink.load_chunk(TARGET, "new", 2, [rows_of({5: "fuenf"})]),
        ):
            with pytest.raises(SinkUnavailable) as caught:
                write()
            assert caught.value.remedy
        room.server.start()
    with room.sink(request.node.name) as sink:
        assert observe(sink, TARGET) == before
        STEPS["merge"].work(sink)
        merged = rows_of({2: "TWO", 3: None, 4: "four"})
        assert comparable(sink.read_table(TARGET.id)) == comparable(merged)
        assert list(sink.loaded_chunks(TARGET.id, "new")) == [1]
        sink.load_chunk(TARGET, "new", 2, [rows_of({5: "fuenf"})])
        sink.finish_load(TARGET, "new", fence(20, 30), 30)
        left = rows_of({1: "eins", 5: "fuenf"})
        assert comparable(sink.read_table(TARGET.id)) == comparable(left)


@pytest.mark.nightly
class TestMariaDB(OnMariaDB, SinkSuite):
    pass


@pytest.mark.nightly
class TestOceanBase(OnOceanBase, SinkSuite):
    def test_values_of_50_mb(self, sink: Sink) -> None:
        """Rows longer than the server's packet, 16 MiB, are dirty rows; 5 MB come back."""
        target = sized(Column("b", pa.large_binary()))
        rows = table(target, *((i, b"\0\xff" * (size << 19)) for i, size in ((1, 5), (2, 50))))
        assert self.written(sink, target, rows.slice(0, 1)).equals(rows.slice(0, 1))
        with pytest.raises(DirtyRowError, match="max_allowed_packet"):
            sink.merge(target, rows, rows.select(["id"]).slice(0, 0), fence(2, 3))
        assert [r.index for r in sink.find_rejected(target, rows)] == [1]
        assert sink.read_table(target.id).equals(rows.slice(0, 1))


@pytest.mark.nightly
class TestMariaDBByHand(OnMariaDB, MySQLByHand):
    pass


@pytest.mark.nightly
class TestOceanBaseByHand(OnOceanBase, MySQLByHand):
    pass
