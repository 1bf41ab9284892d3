"""Two sinks of a polled table: one added later is filled from the log, or told why it cannot be."""

from __future__ import annotations

import time
from typing import Any

import pytest

from cdc_assets import retention
from cdc_assets.members import chosen_members
from cdc_assets.open import opened
from cdc_assets.settings import load_pipeline
from resources.sinks.contract import TargetId
from resources.sinks.parquet import ParquetSink
from tests.dagster.room import Room
from tests.dagster.test_polling import insert
from tests.dagster.test_runs import failure


def write(room: Room, name: str, *sinks: str) -> None:
    """Write a file that polls a table into the DuckDB file, and into Parquet files if told to."""
    known: dict[str, dict[str, Any]] = {
        "lake": {"type": "duckdb", "path": str(room.lake)},
        "files": {"type": "parquet", "location": str(room.home / "files")},
    }
    source = {"type": "sql", "url": f"sqlite:///{room.home}/clicks.db", "tables": ["main.*"]}
    room.write({"name": name, "source": source, "sinks": {sink: known[sink] for sink in sinks}})


@pytest.mark.parametrize("forgotten", [False, True])
def test_a_sink_added_later_is_filled_from_the_log_as_long_as_the_log_is_whole(
    room: Room, name: str, forgotten: bool
) -> None:
    clicks = room.home / "clicks.db"
    insert(clicks, "CREATE TABLE clicks (id INTEGER PRIMARY KEY AUTOINCREMENT, page TEXT)", "a")
    write(room, name, "lake")
    assert room.execute(f"{name}__lake_sync").success
    insert(clicks, "", "b")
    assert room.execute(f"{name}__lake_sync").success
    if forgotten:
        (member,) = chosen_members(load_pipeline(room.pipelines / f"{name}.yaml"))
        with opened(member, "looks") as pipeline:
            retention.compact_log(member, [pipeline], time.time() + 30 * 86_400)
    write(room, name, "lake", "files")
    result = room.execute(f"{name}__files_sync")
    insert(clicks, "", "c")
    assert room.execute(f"{name}__lake_sync").success
    assert [row[1] for row in room.target("main", "clicks")] == ["a", "b", "c"]
    if forgotten:
        assert not result.success
        assert "a target that begins empty would lack the rows before" in failure(result)
        return
    assert room.execute(f"{name}__files_sync").success
    with ParquetSink(str(room.home / "files")) as sink:
        rows = sink.read_table(TargetId("main", "clicks")).to_pylist()
    assert sorted(row["page"] for row in rows) == ["a", "b", "c"]
