"""Real ticks against a real MySQL, evaluated as the daemon does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import dagster as dg
from dagster import DagsterRunStatus
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.test_utils import create_run_for_test

from cdc_assets import naming
from sensors.plan import UNREACHABLE_TICKS
from tests.dagster.room import Room, partitions, rows_of, run_sql

if TYPE_CHECKING:
    from tests.servers.family import FamilyServer


def tick(room: Room, kind: str, cursor: str | None = None) -> dg.SensorResult:
    """Evaluate the one sensor of a kind from a cursor."""
    defs = room.load()
    sensors = [s for s in defs.sensors or [] if s.name.endswith(f"_{kind}")]
    assert len(sensors) == 1
    context = dg.build_sensor_context(instance=room.instance, cursor=cursor, definitions=defs)
    result = sensors[0](context)
    assert isinstance(result, dg.SensorResult)
    return result


def put_run(room: Room, job: str, status: DagsterRunStatus) -> str:
    """Put a run of a job into the instance, as a daemon would; returns its id."""
    location = RegisteredCodeLocationOrigin("cdc")
    origin = RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), job)
    run = create_run_for_test(room.instance, job_name=job, status=status, remote_job_origin=origin)
    return run.run_id


def reason(result: dg.SensorResult) -> str:
    assert isinstance(result.skip_reason, dg.SkipReason)
    return result.skip_reason.skip_message or ""


def test_a_moved_position_asks_for_exactly_one_run(
    room: Room, mysql: FamilyServer, shop: str, name: str
) -> None:
    room.write_mysql(mysql, shop, name)
    first = tick(room, "binlog")
    assert [r.job_name for r in first.run_requests or []] == [f"{name}_sync"]
    still = tick(room, "binlog", first.cursor)
    assert not still.run_requests
    assert "still at" in reason(still)
    run_sql(mysql, f"INSERT INTO {shop}.users VALUES (9, 'eve')")
    moved = tick(room, "binlog", still.cursor)
    assert len(moved.run_requests or []) == 1
    assert moved.run_requests[0].run_key != first.run_requests[0].run_key


def test_a_tick_repeated_after_a_daemon_restart_asks_under_the_same_key(
    room: Room, mysql: FamilyServer, shop: str, name: str
) -> None:
    room.write_mysql(mysql, shop, name)
    before = tick(room, "binlog")
    after = tick(room, "binlog")
    assert [r.run_key for r in before.run_requests] == [r.run_key for r in after.run_requests]
    run_id = put_run(room, f"{name}_sync", DagsterRunStatus.QUEUED)
    assert not tick(room, "binlog").run_requests
    room.instance.delete_run(run_id)


def test_a_run_in_flight_skips_with_the_lag(
    room: Room, mysql: FamilyServer, shop: str, name: str
) -> None:
    room.write_mysql(mysql, shop, name)
    for status in (DagsterRunStatus.QUEUED, DagsterRunStatus.STARTED):
        run_id = put_run(room, f"{name}_sync", status)
        result = tick(room, "binlog")
        assert not result.run_requests
        assert "queued or started" in reason(result)
        assert re.search(r"is at \S+:\d+", reason(result))
        room.instance.delete_run(run_id)
    assert tick(room, "binlog").run_requests


def test_two_pipelines_of_a_server_share_one_sensor(
    room: Room, mysql: FamilyServer, shop: str, name: str
) -> None:
    room.write_mysql(mysql, shop, f"{name}_a")
    room.write_mysql(mysql, shop, f"{name}_b")
    result = tick(room, "binlog")
    assert [r.job_name for r in result.run_requests] == [f"{name}_a_sync", f"{name}_b_sync"]


def test_a_new_table_becomes_a_partition_and_is_loaded(
    room: Room, mysql: FamilyServer, shop: str, name: str
) -> None:
    room.write_mysql(mysql, shop, name)
    assert room.execute(f"{name}_snapshot").success
    assert "no new table" in reason(tick(room, "discovery"))
    run_sql(
        mysql,
        f"CREATE TABLE {shop}.late (id INT PRIMARY KEY, v TEXT)",
        f"INSERT INTO {shop}.late VALUES (1, 'x')",
    )
    result = tick(room, "discovery")
    added = result.dynamic_partitions_requests[0]
    assert isinstance(added, dg.AddDynamicPartitionsRequest)
    assert list(added.partition_keys) == [f"{shop}.late"]
    (request,) = result.run_requests
    assert (request.job_name, request.partition_key) == (f"{name}_snapshot", f"{shop}.late")
    room.instance.add_dynamic_partitions(added.partitions_def_name, list(added.partition_keys))
    assert room.execute(request.job_name, partition=request.partition_key).success
    assert room.target(shop, "late") == rows_of(mysql, f"{shop}.late")
    assert not tick(room, "discovery", result.cursor).run_requests
    keys = room.load().resolve_asset_graph().get_all_asset_keys()
    assert dg.AssetKey([name, *naming.encode(shop).split("/"), "late"]) in keys


def test_a_table_taken_live_from_its_create_becomes_a_partition_without_a_run(
    room: Room, mysql: FamilyServer, shop: str, name: str
) -> None:
    room.write_mysql(mysql, shop, name)
    assert room.execute(f"{name}_snapshot").success
    run_sql(
        mysql,
        f"CREATE TABLE {shop}.late (id INT PRIMARY KEY, v TEXT)",
        f"INSERT INTO {shop}.late VALUES (1, 'x')",
    )
    assert room.execute(f"{name}_sync").success
    assert room.target(shop, "late") == rows_of(mysql, f"{shop}.late")
    result = tick(room, "discovery")
    assert not result.run_requests
    added = result.dynamic_partitions_requests[0]
    assert isinstance(added, dg.AddDynamicPartitionsRequest)
    assert list(added.partition_keys) == [f"{shop}.late"]


def test_many_new_tables_share_one_run(
    room: Room, mysql: FamilyServer, mysql_db: str, name: str
) -> None:
    run_sql(mysql, *(f"CREATE TABLE {mysql_db}.t{i} (id INT PRIMARY KEY)" for i in range(11)))
    room.write_mysql(mysql, mysql_db, name)
    result = tick(room, "discovery")
    assert [r.partition_key for r in result.run_requests] == [None]
    assert len(result.dynamic_partitions_requests[0].partition_keys) == 11
    assert partitions(room.instance, name) == []


def test_an_unreachable_server_skips_in_words_and_later_fails(room: Room, name: str) -> None:
    room.write(
        {
            "name": name,
            "source": {
                "type": "mysql",
                "host": "127.0.0.1",
                "port": 1,
                "user": "cdc",
                "tables": ["d.t"],
                "connect_timeout": "1s",
            },
            "sink": {"type": "duckdb", "path": str(room.lake)},
        }
    )
    cursor: str | None = None
    for _ in range(UNREACHABLE_TICKS):
        result = tick(room, "binlog", cursor)
        assert "127.0.0.1:1" in reason(result)
        assert "\n" not in reason(result)
        cursor = result.cursor
    try:
        tick(room, "binlog", cursor)
    except Exception as error:
        assert type(error).__name__ == "SourceUnavailable"
    else:
        raise AssertionError("the tick did not fail")
