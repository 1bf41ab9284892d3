"""A pipeline into Paimon tables: its runs, and the upkeep of its files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pypaimon import CatalogFactory

from tests.dagster.room import Room, rows_of, run_sql

if TYPE_CHECKING:
    from tests.servers.family import FamilyServer


def test_a_pipeline_fills_and_keeps_up_paimon_tables(
    room: Room, mysql: FamilyServer, shop: str, name: str
) -> None:
    sink = {"type": "paimon", "location": "lake", "history": "2d"}
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
    catalog = CatalogFactory.create({"warehouse": str(room.home / "lake")})
    for table in ("orders", "users"):
        builder = catalog.get_table(f"{shop}.{table}").new_read_builder()
        splits = builder.new_scan().plan().splits()
        found = builder.new_read().to_arrow(splits).to_pylist()
        assert sorted(tuple(r.values()) for r in found) == rows_of(mysql, f"{shop}.{table}")
    assert sum(len(split.files) for split in splits) == 1
