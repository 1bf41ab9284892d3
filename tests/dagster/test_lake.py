"""Pipelines into tables of lake formats: their runs, and the upkeep of their files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from resources.sinks.contract import TargetId
from tests.dagster.room import Room, rows_of, run_sql
from tests.sinks.delta_room import DeltaRoom
from tests.sinks.iceberg_room import IcebergRoom
from tests.sinks.paimon_room import PaimonRoom
from tests.sinks.parquet_room import ParquetRoom

if TYPE_CHECKING:
    from tests.contracts.lake_case import LakeRoom
    from tests.servers.family import FamilyServer

HISTORY = {"history": "2d"}


@pytest.mark.parametrize(
    ("sink", "format"),
    [
        ({"type": "delta", **HISTORY}, DeltaRoom()),
        ({"type": "iceberg", **HISTORY}, IcebergRoom()),
        ({"type": "paimon", **HISTORY}, PaimonRoom()),
        ({"type": "parquet"}, ParquetRoom()),
    ],
    ids=["delta", "iceberg", "paimon", "parquet"],
)
def test_a_pipeline_fills_and_keeps_up_tables(
    room: Room,
    mysql: FamilyServer,
    shop: str,
    name: str,
    sink: dict[str, Any],
    format: LakeRoom,
) -> None:
    lake = room.write_mysql(mysql, shop, name, sink={**sink, "location": "lake"})
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
    with format.make(str(room.home / "lake")) as opened:
        for table in ("orders", "users"):
            found = format.seen(opened, TargetId(shop, table))
            assert found == rows_of(mysql, f"{shop}.{table}")
        assert len(format.live(opened, TargetId(shop, "users"))) == 1


def test_the_upkeep_has_a_job_and_a_schedule_that_wait(
    room: Room, mysql: FamilyServer, shop: str, name: str
) -> None:
    lake = room.write_mysql(mysql, shop, name, sink={"type": "delta", "location": "lake"})
    repository = room.load().get_repository_def()
    assert f"{lake}_maintain" in {j.name for j in repository.get_all_jobs()}
    schedules = {s.name: s for s in repository.schedule_defs}
    assert set(schedules) == {f"{lake}_compact_daily", f"{lake}_maintain_daily"}
    assert {s.default_status for s in schedules.values()} == {dg.DefaultScheduleStatus.STOPPED}
