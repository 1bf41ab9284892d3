"""A pipeline into Parquet files: its runs, and the upkeep of its files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

from tests.dagster.room import Room, rows_of, run_sql

if TYPE_CHECKING:
    from tests.servers.family import FamilyServer


def test_a_pipeline_fills_and_keeps_up_parquet_tables(
    room: Room, mysql: FamilyServer, shop: str, name: str
) -> None:
    sink = {"type": "parquet", "location": "lake"}
    lake = room.write_mysql(mysql, shop, name, sink=sink)
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
        folder = room.home / "lake" / shop / table
        found = duckdb.sql(f"FROM read_parquet('{folder}/**/*.parquet')").fetchall()
        assert sorted(found) == rows_of(mysql, f"{shop}.{table}")
    assert len(list((room.home / "lake" / shop / "users").rglob("*.parquet"))) == 1
