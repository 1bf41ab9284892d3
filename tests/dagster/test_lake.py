"""Pipelines into tables of lake formats: their runs, and the upkeep of their files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from resources.sinks.iceberg import IcebergSink
from tests.dagster.room import Room, rows_of, run_sql

if TYPE_CHECKING:
    from tests.servers.family import FamilyServer


def delta(room: Room, database: str, table: str) -> DeltaTable:
    return DeltaTable(str(room.home / "lake" / database / table))


@pytest.fixture
def lake(room: Room, mysql: FamilyServer, shop: str, name: str) -> str:
    sink = {"type": "delta", "location": "lake", "history": "2d"}
    return room.write_mysql(mysql, shop, name, sink=sink)


def test_a_pipeline_fills_and_keeps_up_delta_tables(
    room: Room, mysql: FamilyServer, shop: str, lake: str
) -> None:
    assert room.execute(f"{lake}_snapshot").success
    for number in range(3):
        run_sql(mysql, f"INSERT INTO {shop}.users VALUES ({10 + number}, 'n{number}')")
        assert room.execute(f"{lake}_sync").success
    result = room.execute(f"{lake}_maintain")
    assert result.success
    (event,) = [e for e in result.all_node_events if e.is_successful_output]
    told = {k: v.value for k, v in event.step_output_data.metadata.items()}
    assert told["tables"] == 2
    assert told["files joined"] >= 4
    for table in ("orders", "users"):
        found = pa.table(delta(room, shop, table).scan()).to_pylist()
        assert sorted(tuple(r.values()) for r in found) == rows_of(mysql, f"{shop}.{table}")
    assert len(delta(room, shop, "users").file_uris()) == 1


def test_a_pipeline_fills_and_keeps_up_iceberg_tables(
    room: Room, mysql: FamilyServer, shop: str, name: str
) -> None:
    sink = {"type": "iceberg", "location": "lake", "history": "2d"}
    lake = room.write_mysql(mysql, shop, name, sink=sink)
    assert room.execute(f"{lake}_snapshot").success
    for number in range(3):
        run_sql(mysql, f"INSERT INTO {shop}.users VALUES ({10 + number}, 'n{number}')")
        assert room.execute(f"{lake}_sync").success
    assert room.execute(f"{lake}_maintain").success
    with IcebergSink(str(room.home / "lake")) as opened:
        for table in ("orders", "users"):
            live = opened.catalog.open().load_table((shop, table))
            found = live.scan().to_arrow().to_pylist()
            assert sorted(tuple(r.values()) for r in found) == rows_of(mysql, f"{shop}.{table}")
        assert len(list(live.scan().plan_files())) == 1


def test_the_upkeep_has_a_job_and_a_schedule_that_wait(room: Room, lake: str) -> None:
    repository = room.load().get_repository_def()
    assert f"{lake}_maintain" in {j.name for j in repository.get_all_jobs()}
    schedules = {s.name: s for s in repository.schedule_defs}
    assert set(schedules) == {f"{lake}_compact_daily", f"{lake}_maintain_daily"}
    assert {s.default_status for s in schedules.values()} == {dg.DefaultScheduleStatus.STOPPED}
