"""An archive of log files through Dagster: loaded by ticks without a server, then followed on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from cdc_assets import naming
from tests.dagster.room import Room, rows_of, run_sql

if TYPE_CHECKING:
    from tests.servers.family import FamilyServer


def files_since(server: FamilyServer, first: str) -> list[Path]:
    """The log files of a server from one on, closed ones only."""
    server.execute("FLUSH BINARY LOGS")
    names = [row[0] for row in server.execute("SHOW BINARY LOGS")]
    return [server.datadir / name for name in names[names.index(first) : -1]]


def write_archive(room: Room, folder: Path, database: str, name: str, **source: Any) -> None:
    room.write(
        {
            "name": name,
            "source": {
                "type": "binlog_files",
                "path": str(folder),
                "tables": [f"{database}.*"],
                **source,
            },
            "sink": {"type": "duckdb", "path": str(room.lake)},
        }
    )


def tick(room: Room, folder: Path, cursor: str | None = None) -> dg.SensorResult:
    sensor = room.load().get_sensor_def(naming.sensor_name(str(folder), "binlog"))
    context = dg.build_sensor_context(
        instance=room.instance, definitions=room.load(), cursor=cursor
    )
    result = sensor(context)
    assert isinstance(result, dg.SensorResult)
    return result


def test_ticks_load_what_appears_in_the_folder_and_the_server_follows_on(
    room: Room, mysql: FamilyServer, shop: str, name: str
) -> None:
    first = mysql.execute("SHOW BINARY LOGS")[-1][0]
    folder = room.home / "binlogs"
    folder.mkdir()
    write_archive(room, folder, shop, name)
    for file in files_since(mysql, first):
        shutil.copy(file, folder)
    asked = tick(room, folder)
    assert [r.job_name for r in asked.run_requests or ()] == [f"{name}_sync"]
    assert room.execute(f"{name}_sync").success
    assert room.target(shop, "orders") == rows_of(mysql, f"{shop}.orders")
    assert tick(room, folder, asked.cursor).run_requests in (None, [])

    run_sql(mysql, f"UPDATE {shop}.orders SET price = 7 WHERE id = 2", f"DELETE FROM {shop}.users")
    for file in files_since(mysql, first):
        shutil.copy(file, folder)
    assert tick(room, folder, asked.cursor).run_requests
    assert room.execute(f"{name}_sync").success
    assert room.target(shop, "orders") == rows_of(mysql, f"{shop}.orders")
    assert room.target(shop, "users") == []
    jobs = {job.name for job in room.load().resolve_all_job_defs()}
    assert f"{name}_snapshot" not in jobs

    run_sql(mysql, f"INSERT INTO {shop}.users VALUES (9, 'live')")
    room.write_mysql(mysql, shop, name, source={"startup": "latest"})
    assert room.execute(f"{name}_sync").success
    assert room.target(shop, "users") == rows_of(mysql, f"{shop}.users")


def test_a_run_stops_where_its_config_or_the_file_says(
    room: Room, mysql: FamilyServer, shop: str, name: str
) -> None:
    first = mysql.execute("SHOW BINARY LOGS")[-1][0]
    before = rows_of(mysql, f"{shop}.orders")
    gtids = mysql.execute("SELECT @@GLOBAL.gtid_executed")[0][0].replace("\n", "")
    run_sql(mysql, f"DELETE FROM {shop}.orders")
    folder = room.home / "binlogs"
    folder.mkdir()
    for file in files_since(mysql, first):
        shutil.copy(file, folder)
    write_archive(room, folder, shop, name, stop_at={"gtid_set": gtids})
    assert room.execute(f"{name}_sync").success
    assert room.target(shop, "orders") == before
    write_archive(room, folder, shop, name)
    op = naming.op_name(name, "sync")
    for stop_at in (gtids, f"{first}:4"):
        config = {"ops": {op: {"config": {"stop_at": stop_at}}}}
        assert room.execute(f"{name}_sync", config=config).success
        assert room.target(shop, "orders") == before
    wrong = {"ops": {op: {"config": {"stop_at": "tomorrow"}}}}
    assert not room.execute(f"{name}_sync", config=wrong).success
    assert room.execute(f"{name}_sync").success
    assert room.target(shop, "orders") == []


def test_startup_snapshot_loads_and_does_not_follow(
    room: Room, mysql: FamilyServer, shop: str, name: str
) -> None:
    room.write_mysql(mysql, shop, name, source={"startup": "snapshot"})
    assert room.execute(f"{name}_snapshot").success
    loaded = rows_of(mysql, f"{shop}.orders")
    run_sql(mysql, f"DELETE FROM {shop}.orders WHERE id = 1")
    result = room.execute(f"{name}_sync")
    assert result.success
    assert room.target(shop, "orders") == loaded
    assert room.events(naming.changes_key(name)) == []
    repository = room.load().get_repository_def()
    assert [s.name.rpartition("_")[2] for s in repository.sensor_defs] == ["discovery"]
    assert room.execute(f"{name}_snapshot", partition=f"{shop}.orders").success
    assert room.target(shop, "orders") == rows_of(mysql, f"{shop}.orders")
