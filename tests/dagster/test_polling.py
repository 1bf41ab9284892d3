"""A polling pipeline through Dagster: history and increments by one job, asked for by ticks."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from cdc_assets import naming
from resources.model.table_id import TableId
from tests.dagster.room import Room
from tests.dagster.test_sensors import reason, tick


@pytest.fixture
def clicks(room: Room, name: str) -> Path:
    """A SQLite database with an insert-only table, and a pipeline of it."""
    path = room.home / "clicks.db"
    insert(path, "CREATE TABLE clicks (id INTEGER PRIMARY KEY AUTOINCREMENT, page TEXT)", "a", "b")
    room.write(
        {
            "name": name,
            "source": {"type": "sql", "url": f"sqlite:///{path}", "tables": ["main.*"]},
            "sink": {"type": "duckdb", "path": str(room.lake)},
        }
    )
    return path


def insert(path: Path, create: str, *pages: str) -> None:
    with sqlite3.connect(path) as connection:
        if create:
            connection.execute(create)
        connection.executemany("INSERT INTO clicks (page) VALUES (?)", [(p,) for p in pages])


def test_ticks_ask_for_runs_that_bring_history_and_increments(
    room: Room, clicks: Path, name: str
) -> None:
    first = tick(room, "auto_increment")
    assert [r.job_name for r in first.run_requests or []] == [f"{name}_sync"]
    assert room.execute(f"{name}_sync").success
    assert [row[1] for row in room.target("main", "clicks")] == ["a", "b"]
    still = tick(room, "auto_increment", first.cursor)
    assert not still.run_requests
    assert "still at" in reason(still)
    insert(clicks, "", "c")
    assert len(tick(room, "auto_increment", still.cursor).run_requests or []) == 1
    assert room.execute(f"{name}_sync").success
    assert [row[1] for row in room.target("main", "clicks")] == ["a", "b", "c"]
    assert len(room.events(naming.table_key(name, TableId("main", "clicks")))) == 2


def test_discovery_of_a_polling_pipeline_fills_the_inventory_and_asks_for_nothing(
    room: Room, clicks: Path, name: str
) -> None:
    assert not tick(room, "discovery").run_requests
    keys = room.load().resolve_asset_graph().get_all_asset_keys()
    assert {key.to_user_string() for key in keys} == {f"{name}/changes", f"{name}/main/clicks"}
