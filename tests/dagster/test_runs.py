"""Runs against a real MySQL: what they do to the target, and what they tell Dagster."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import dagster as dg
import duckdb
import pytest

from cdc_assets import naming
from cdc_assets.engine.run import capture_through
from cdc_assets.open import opened
from cdc_assets.settings import load_pipelines
from resources.model.table_id import TableId
from tests.dagster.room import Room, partitions, rows_of, run_sql

if TYPE_CHECKING:
    from tests.servers.family import FamilyServer


def metadata(entry: dg.EventLogEntry) -> dict[str, Any]:
    assert entry.asset_materialization is not None
    return {k: v.value for k, v in entry.asset_materialization.metadata.items()}


def failure(result: dg.ExecuteInProcessResult) -> str:
    """Return the text of a failed run's failure."""
    (event,) = (e for e in result.all_node_events if e.is_step_failure)
    data = event.step_failure_data
    text = data.user_failure_data.description if data.user_failure_data else ""
    return text or str(data.error)


def latest_check(room: Room, key: list[str], name: str) -> dg.AssetCheckEvaluation:
    check = dg.AssetCheckKey(dg.AssetKey(key), name)
    storage = room.instance.event_log_storage
    record = storage.get_latest_asset_check_execution_by_key([check])[check]
    assert record.event is not None
    assert record.event.dagster_event is not None
    data = record.event.dagster_event.event_specific_data
    assert isinstance(data, dg.AssetCheckEvaluation)
    return data


def test_snapshot_then_sync_makes_the_target_equal(
    room: Room, mysql: FamilyServer, shop: str, name: str
) -> None:
    room.write_mysql(mysql, shop, name)
    assert room.execute(f"{name}_snapshot").success
    assert sorted(partitions(room.instance, name)) == [f"{shop}.orders", f"{shop}.users"]
    run_sql(
        mysql,
        f"UPDATE {shop}.orders SET price = 2 WHERE id = 1",
        f"DELETE FROM {shop}.orders WHERE id = 2",
        f"INSERT INTO {shop}.users VALUES (3, 'cat')",
    )
    assert room.execute(f"{name}_sync").success
    for table in ("orders", "users"):
        assert room.target(shop, table) == rows_of(mysql, f"{shop}.{table}")


def test_a_sync_reports_the_log_and_each_touched_table_in_its_window(
    room: Room, mysql: FamilyServer, shop: str, name: str
) -> None:
    room.write_mysql(mysql, shop, name)
    assert room.execute(f"{name}_snapshot").success
    run_sql(
        mysql,
        f"UPDATE {shop}.orders SET price = 2 WHERE id = 1",
        f"DELETE FROM {shop}.orders WHERE id = 2",
    )
    assert room.execute(f"{name}_sync").success
    (log,) = room.events(naming.changes_key(name))
    assert log.asset_materialization is not None
    window = log.asset_materialization.partition
    assert (
        window
        in room.load()
        .resolve_asset_graph()
        .get(dg.AssetKey(naming.changes_key(name)))
        .partitions_def.get_partition_keys()
    )
    found = metadata(log)
    assert (found["inserts"], found["updates"], found["deletes"]) == (0, 1, 1)
    assert found["lag (bytes)"] == 0
    assert found["position to"] != found["position from"]
    assert "orders | 0 | 1 | 1" in found["tables"]
    table = room.events(naming.table_key(name, TableId(shop, "orders")))[0]
    assert table.asset_materialization is not None
    assert table.asset_materialization.partition == window
    found = metadata(table)
    assert (found["rows upserted"], found["rows deleted"]) == (1, 1)
    assert found["dagster/row_count"] == 2
    columns = {c.name: c for c in found["dagster/column_schema"].columns}
    assert columns["price"].type == "decimal(10,2)"
    assert not columns["id"].constraints.nullable
    assert len(room.events(naming.table_key(name, TableId(shop, "users")))) == 1  # its snapshot
    assert latest_check(room, naming.changes_key(name), "continuity").passed


def test_a_sync_that_finds_nothing_logs_an_observation_and_no_materialization(
    room: Room, mysql: FamilyServer, shop: str, name: str
) -> None:
    room.write_mysql(mysql, shop, name)
    result = room.execute(f"{name}_sync")
    assert result.success
    assert room.events(naming.changes_key(name)) == []
    assert any(e.event_type_value == "ASSET_OBSERVATION" for e in result.all_events)


def test_one_partition_of_the_snapshot_loads_that_table_alone(
    room: Room, mysql: FamilyServer, shop: str, name: str
) -> None:
    room.write_mysql(mysql, shop, name)
    room.instance.add_dynamic_partitions(naming.table_partitions_name(name), [f"{shop}.users"])
    assert room.execute(f"{name}_snapshot", partition=f"{shop}.users").success
    assert room.target(shop, "users") == rows_of(mysql, f"{shop}.users")
    with pytest.raises(duckdb.CatalogException):
        room.target(shop, "orders")


def test_tables_chosen_alone_merge_what_is_pending_with_the_server_away(
    room: Room, mysql: FamilyServer, shop: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.write_mysql(mysql, shop, name)
    assert room.execute(f"{name}_snapshot").success
    run_sql(mysql, f"INSERT INTO {shop}.users VALUES (3, 'cat')")
    (settings,) = load_pipelines(room.pipelines)
    with opened(settings, "captures only") as pipeline:
        capture_through(pipeline, pipeline.source.current_position())
    expected = rows_of(mysql, f"{shop}.users")
    assert room.target(shop, "users") != expected
    defs = room.load()
    key = dg.AssetKey(naming.table_key(name, TableId(shop, "users")))
    log = dg.AssetKey(naming.changes_key(name))
    day = defs.resolve_asset_graph().get(log).partitions_def.get_last_partition_key()
    room.write_mysql(mysql, shop, name, source={"port": 1, "connect_timeout": "1s"})
    result = dg.materialize(
        [a for a in room.load().assets or [] if isinstance(a, dg.AssetsDefinition)],
        selection=[key],
        partition_key=day,
        instance=room.instance,
    )
    assert result.success
    assert room.target(shop, "users") == expected
    events = room.events(list(key.path))
    assert events[0].asset_materialization is not None
    assert events[0].asset_materialization.partition == day
    assert len(events) == 2  # the snapshot's and this one


def test_a_table_that_stops_fails_the_run_once_after_the_others_are_merged(
    room: Room, mysql: FamilyServer, shop: str, name: str
) -> None:
    room.write_mysql(mysql, shop, name, pipeline={"schema_changes": "exception"})
    assert room.execute(f"{name}_snapshot").success
    run_sql(
        mysql,
        f"ALTER TABLE {shop}.orders ADD COLUMN note TEXT",
        f"INSERT INTO {shop}.orders VALUES (7, 'cup', 1, 'secret-canary')",
        f"INSERT INTO {shop}.users VALUES (7, 'eve')",
    )
    result = room.execute(f"{name}_sync")
    assert not result.success
    assert f"{shop}.orders" in failure(result)
    assert "secret-canary" not in failure(result)
    assert room.target(shop, "users") == rows_of(mysql, f"{shop}.users")
    run_sql(mysql, f"INSERT INTO {shop}.orders VALUES (8, 'cap', 1, 'x')")
    assert room.execute(f"{name}_sync").success


def test_a_missing_secret_fails_the_run_with_its_line_and_not_the_load(
    room: Room, mysql: FamilyServer, shop: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.write_mysql(mysql, shop, name, source={"password": "${env:CDC_NOT_SET}"})
    result = room.execute(f"{name}_sync")
    assert not result.success
    assert "CDC_NOT_SET" in failure(result)
    assert f"{name}.yaml:" in failure(result)
    assert len([e for e in result.all_events if e.event_type_value == "STEP_UP_FOR_RETRY"]) == 0


def test_a_transient_error_is_retried(
    room: Room, mysql: FamilyServer, shop: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdc_assets.failures.FIRST_PAUSE_SECONDS", 0.01)
    room.write_mysql(mysql, shop, name, source={"port": 1, "connect_timeout": "1s"})
    result = room.execute(f"{name}_sync")
    assert not result.success
    retries = [e for e in result.all_events if e.event_type_value == "STEP_UP_FOR_RETRY"]
    assert len(retries) == 2
    assert "127.0.0.1:1" in failure(result)


def test_dirty_rows_turn_the_check_red_and_show_no_value(
    room: Room, mysql: FamilyServer, shop: str, name: str
) -> None:
    run_sql(
        mysql,
        f"CREATE TABLE {shop}.dates (id INT PRIMARY KEY, d DATE)",
        "SET GLOBAL sql_mode = ''",
    )
    try:
        run_sql(mysql, f"INSERT INTO {shop}.dates VALUES (1, '2026-01-01'), (2, '0000-00-00')")
    finally:
        run_sql(mysql, "SET GLOBAL sql_mode = DEFAULT")
    room.write_mysql(mysql, shop, name, dirty_data={"max_rows": 5, "zero_dates": "dirty"})
    assert room.execute(f"{name}_snapshot").success
    key = naming.table_key(name, TableId(shop, "dates"))
    found = latest_check(room, key, "dirty_rows")
    assert found.passed
    assert found.metadata["open"].value == 1
    assert found.metadata["limit"] == dg.TextMetadataValue("5")
    assert "data:image/png;base64," in str(found.metadata["dirty rows plot"].value)
    (line,) = found.metadata["dirty rows"].records  # type: ignore[attr-defined]
    assert (line.data["table"], line.data["open"]) == (f"{shop}.dates", 1)
    room.write_mysql(mysql, shop, name, dirty_data={"max_rows": 0, "zero_dates": "dirty"})
    defs = room.load()
    checks = dg.define_asset_job("checks", selection=dg.AssetSelection.all_asset_checks())
    merged = dg.Definitions.merge(defs, dg.Definitions(jobs=[checks]))
    result = merged.resolve_job_def("checks").execute_in_process(instance=room.instance)
    verdicts = {
        (e.asset_key.path[-1], e.check_name): e.passed for e in result.get_asset_check_evaluations()
    }
    assert verdicts[("dates", "dirty_rows")] is False
    assert verdicts[("users", "dirty_rows")] is True
    assert verdicts[("changes", "continuity")] is True


def test_replay_and_compact_run(room: Room, mysql: FamilyServer, shop: str, name: str) -> None:
    room.write_mysql(mysql, shop, name)
    assert room.execute(f"{name}_snapshot").success
    run_sql(mysql, f"INSERT INTO {shop}.users VALUES (3, 'cat')")
    assert room.execute(f"{name}_sync").success
    assert room.execute(f"{name}_replay").success
    assert room.execute(f"{name}_compact").success
    assert room.target(shop, "users") == rows_of(mysql, f"{shop}.users")


def test_a_following_run_reports_while_it_follows(
    room: Room, mysql: FamilyServer, shop: str, name: str
) -> None:
    options = {"commit_interval": "200ms", "report_interval": "1s"}
    room.write_mysql(mysql, shop, name, pipeline=options)
    assert room.execute(f"{name}_snapshot").success

    def write() -> None:
        with mysql.connect() as connection, connection.cursor() as cursor:
            for i in range(10, 40):
                cursor.execute(f"INSERT INTO {shop}.users VALUES ({i}, 'u')")
                time.sleep(0.1)

    writer = threading.Thread(target=write)
    writer.start()
    config = {"ops": {naming.op_name(name, "sync"): {"config": {"follow_for": 5.0}}}}
    result = room.execute(f"{name}_sync", config=config)
    writer.join()
    assert result.success
    events = room.events(naming.table_key(name, TableId(shop, "users")))
    assert 2 <= len(events) - 1 <= 6  # without the snapshot's; seldom enough, often enough
    assert room.execute(f"{name}_sync").success
    assert room.target(shop, "users") == rows_of(mysql, f"{shop}.users")
