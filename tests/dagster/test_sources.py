"""One pipeline file that names two servers: one asset per target, jobs for each server and both."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from cdc_assets import failures, naming
from resources.model.table_id import TableId
from sensors.runs import last_of
from tests.dagster.room import PASSWORD_VARIABLE, Room, run_sql
from tests.dagster.test_language import decide, output
from tests.dagster.test_runs import failure, latest_check, metadata
from tests.dagster.test_sensors import put_run, reason, tick
from tests.servers.base import CDC_USER

if TYPE_CHECKING:
    from tests.servers.family import FamilyServer

ORDERS = TableId("dw", "orders")
Servers = dict[str, tuple["FamilyServer", str]]


def source(kind: str, host: str, port: int, database: str) -> dict[str, Any]:
    return {
        "type": kind,
        "host": host,
        "port": port,
        "user": CDC_USER,
        "password": f"${{env:{PASSWORD_VARIABLE}}}",
        "tables": [f"{database}.orders", f"{database}.users"],
        "tls": {"mode": "off"},
        "connect_timeout": "1s",
    }


def write(room: Room, name: str, sources: dict[str, dict[str, Any]], **more: Any) -> str:
    """Write a file whose sources share the target of `orders`."""
    shard = {"columns": {"region": "{source}"}, "in_key": True}
    route = {"source": "*.orders", "target": str(ORDERS), "shard": shard}
    sink = {"type": "duckdb", "path": str(room.lake)}
    pipeline = {"target": "{source}_ods.{table}"} | more
    content = {"name": name, "sources": sources, "sink": sink, "route": [route]}
    return room.write(content | {"pipeline": pipeline})


def sources_of(servers: Servers, away: str = "") -> dict[str, dict[str, Any]]:
    return {
        name: source(s.kind, s.host, 1 if name == away else s.port, database)
        for name, (s, database) in servers.items()
    }


@pytest.fixture
def servers(mysql: FamilyServer, mysql_db: str, mariadb: FamilyServer, mariadb_db: str) -> Servers:
    """`orders` on both servers, of two shapes; `users` on one."""
    run_sql(
        mysql,
        f"CREATE TABLE {mysql_db}.orders (id INT PRIMARY KEY, item VARCHAR(40))",
        f"CREATE TABLE {mysql_db}.users (id INT PRIMARY KEY)",
        f"INSERT INTO {mysql_db}.orders VALUES (1, 'pen'), (2, 'cup')",
    )
    run_sql(
        mariadb,
        f"CREATE TABLE {mariadb_db}.orders (id INT PRIMARY KEY, item VARCHAR(60), note TEXT)",
        f"INSERT INTO {mariadb_db}.orders VALUES (1, 'bag', 'x')",
    )
    return {"eu": (mysql, mysql_db), "us": (mariadb, mariadb_db)}


def orders(room: Room) -> list[tuple[Any, ...]]:
    """Return the target's rows: region, id, item."""
    rows = room.target("dw", "orders", "region, id")
    return [(row[2], row[0], row[1]) for row in rows]


def test_a_file_with_two_servers_is_one_asset_per_target_and_a_log_per_server(room: Room) -> None:
    two = {name: source("mysql", f"{name}.example.org", 3306, "shop") for name in ("eu", "us")}
    write(room, "shop", two)
    repository = room.load().get_repository_def()
    graph = repository.asset_graph
    parents = {
        key.to_user_string(): {parent.to_user_string() for parent in graph.get(key).parent_keys}
        for key in graph.get_all_asset_keys()
    }
    of = {n: {f"shop/changes_{n}", f"shop/snapshot_{n}"} for n in two}
    assert parents == {
        "shop/dw/orders": of["eu"] | of["us"],
        "shop/eu_ods/users": of["eu"],
        "shop/us_ods/users": of["us"],
        **{key: set() for keys in of.values() for key in keys},
    }
    jobs = {job.name for job in repository.get_all_jobs()} - {"__ASSET_JOB"}
    whole = ("sync", "snapshot", "replay", "compact", "decide", "plan", "refold")
    assert jobs == {f"shop_{job}" for job in whole} | {
        f"shop__{n}_{job}" for n in two for job in ("sync", "snapshot")
    }
    checks = {f"{k.asset_key.path[-1]}:{k.name}" for k in graph.asset_check_keys}
    assert checks == {
        "changes_eu:continuity",
        "changes_us:continuity",
        "orders:dirty_rows_eu",
        "orders:dirty_rows_us",
        "users:dirty_rows_eu",
        "users:dirty_rows_us",
    }
    assert len(repository.sensor_defs) == 4  # the log and new tables of each server
    assert set(repository.get_top_level_resources()) == {
        "shop_sink",
        "shop__eu_dirty_rows",
        "shop__us_dirty_rows",
    }
    of_all = {source_name: keys | {"tables": ["shop.*"]} for source_name, keys in two.items()}
    write(room, "other", of_all)
    keys = {k.to_user_string() for k in room.load().resolve_asset_graph().get_all_asset_keys()}
    assert {key for key in keys if key.startswith("other/")} == {
        f"other/{what}_{n}" for n in two for what in ("changes", "snapshot")
    }, "of patterns no target is known yet"
    (spec,) = (s for s in room.load().resolve_all_asset_specs() if s.key.path[-1] == "orders")
    assert spec.metadata["source tables"] == ["eu: shop.orders", "us: shop.orders"]
    assert spec.metadata["dagster/table_name"] == f"{room.lake}/dw.orders"


def test_servers_that_are_followed_are_read_at_the_same_time(room: Room) -> None:
    two = {name: source("mysql", f"{name}.example.org", 3306, "shop") for name in ("eu", "us")}
    for follow_for, executor in (
        ("0s", dg.in_process_executor),
        ("1m", dg.multiprocess_executor),
    ):
        write(room, "shop", two, follow_for=follow_for)
        assert room.load().resolve_job_def("shop_sync").executor_def is executor


def test_one_run_makes_one_right_table_of_two_servers_and_shows_all_columns(
    room: Room, servers: Servers, name: str
) -> None:
    write(room, name, sources_of(servers))
    assert room.execute(f"{name}_snapshot").success
    (mysql, eu), (mariadb, us) = servers.values()
    run_sql(mysql, f"DELETE FROM {eu}.orders WHERE id = 2", f"INSERT INTO {eu}.users VALUES (5)")
    run_sql(mariadb, f"UPDATE {us}.orders SET item = 'big bag'")
    assert room.execute(f"{name}_sync").success
    assert orders(room) == [("eu", 1, "pen"), ("us", 1, "big bag")]
    assert room.target("eu_ods", "users") == [(5,)]
    for source_name in servers:
        assert len(room.events(naming.changes_key(naming.member_name(name, source_name)))) == 1
    key = naming.table_key(name, ORDERS)
    newest = {found["source"]: found for found in map(metadata, room.events(key)[:2])}
    assert set(newest) == {"eu", "us"}
    for found in newest.values():
        columns = [column.name for column in found["dagster/column_schema"].columns]
        assert set(columns) == {"id", "item", "note", "region", "_cdc_source"}
        lineage = found["dagster/column_lineage"].deps_by_column
        assert {(d.asset_key.path[-1], d.column_name) for d in lineage["item"]} == {
            ("changes_eu", f"{eu}.orders.item"),
            ("changes_us", f"{us}.orders.item"),
        }
    lineage = newest["us"]["dagster/column_lineage"].deps_by_column
    assert [d.column_name for d in lineage["note"]] == [f"{us}.orders.note"]


def test_a_server_that_is_away_is_named_and_holds_up_no_other(
    room: Room, servers: Servers, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "RETRIES", 0)
    write(room, name, sources_of(servers), schema_changes="hold")
    assert room.execute(f"{name}_snapshot").success
    (mysql, eu), (mariadb, us) = servers.values()
    run_sql(
        mysql,
        f"INSERT INTO {eu}.orders VALUES (3, 'ink')",
        f"ALTER TABLE {eu}.users ADD COLUMN age INT",
        f"INSERT INTO {eu}.users VALUES (6, 60)",
    )
    run_sql(mariadb, f"INSERT INTO {us}.orders VALUES (9, 'box', NULL)")
    write(room, name, sources_of(servers, away="us"), schema_changes="hold")
    result = room.execute(f"{name}_sync")
    assert not result.success
    assert "SourceUnavailable" in failure(result)
    (failed,) = (e.step_key for e in result.all_node_events if e.is_step_failure)
    assert failed == naming.op_name(naming.member_name(name, "us"), "sync")
    assert orders(room) == [("eu", 1, "pen"), ("eu", 2, "cup"), ("eu", 3, "ink"), ("us", 1, "bag")]
    key = naming.table_key(name, TableId("eu_ods", "users"))
    assert not latest_check(room, key, "dirty_rows_eu").passed
    planned = room.execute(f"{name}_plan")
    assert "1 of 2 sources failed, the others went on:\nus: " in failure(planned)
    listed = output(room.execute(f"{name}_decide"))
    assert (listed["eu: held"], listed["us: held"]) == (1, 0)
    assert f"-j {name}_decide" in listed["eu: held changes"]
    done = decide(room, name, table=f"{eu}.*", decision="apply", why="agreed")
    assert output(done)["eu: still held"] == "nothing"
    assert room.target("eu_ods", "users") == [(6, 60)]
    unknown = decide(room, name, source="jp", table="*.*", decision="skip", why="x")
    assert "`jp` is not one of the sources" in failure(unknown)
    write(room, name, sources_of(servers), schema_changes="hold")
    assert room.execute(f"{name}__us_sync").success
    assert orders(room)[-1] == ("us", 9, "box")
    for job in ("replay", "refold", "compact"):
        assert room.execute(f"{name}_{job}").success
    run_sql(mysql, f"ALTER TABLE {eu}.orders ADD COLUMN paid INT")
    run_sql(mysql, f"INSERT INTO {eu}.orders VALUES (5, 'jar', 1)")
    assert room.execute(f"{name}__eu_sync").success
    assert last_of(room.instance, naming.member_name(name, "eu"), "sync").state == "succeeded"
    run_sql(mariadb, f"INSERT INTO {us}.orders VALUES (10, 'mug', NULL)")
    assert room.execute(f"{name}__us_sync").success
    assert orders(room)[-1] == ("us", 10, "mug")
    key = naming.table_key(name, ORDERS)
    assert latest_check(room, key, "dirty_rows_us").passed
    waiting = latest_check(room, key, "dirty_rows_eu")
    assert not waiting.passed
    assert waiting.target_materialization_data is not None
    newest = newest_of(room, dg.AssetKey(key))
    assert waiting.target_materialization_data.storage_id == newest, "what another did is no answer"


def test_a_target_chosen_alone_takes_what_is_pending_of_every_server(
    room: Room, servers: Servers, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cdc_assets.engine.run import capture_through
    from cdc_assets.open import opened
    from cdc_assets.settings import load_pipelines

    write(room, name, sources_of(servers))
    assert room.execute(f"{name}_snapshot").success
    for number, (server, database) in enumerate(servers.values()):
        item = "'ink'" if number == 0 else "'ink', NULL"
        run_sql(server, f"INSERT INTO {database}.orders VALUES (7, {item})")
    (file,) = load_pipelines(room.pipelines)
    for member in file.members():
        with opened(member, "captures only") as pipeline:
            capture_through(pipeline, pipeline.source.current_position())
    key = dg.AssetKey(naming.table_key(name, ORDERS))
    defs = room.load()
    day = defs.resolve_asset_graph().get(key).partitions_def.get_last_partition_key()
    result = dg.materialize(
        [a for a in defs.assets or [] if isinstance(a, dg.AssetsDefinition)],
        selection=[key],
        partition_key=day,
        instance=room.instance,
    )
    assert result.success
    assert [row for row in orders(room) if row[1] == 7] == [("eu", 7, "ink"), ("us", 7, "ink")]
    sources = [metadata(event).get("source") for event in room.events(list(key.path))[:2]]
    assert set(sources) == {"eu", "us"}, "what each server brought is an event of its own"
    for source_name in servers:
        found = latest_check(room, list(key.path), f"dirty_rows_{source_name}")
        assert found.passed
        assert found.target_materialization_data is not None
        assert found.target_materialization_data.storage_id == newest_of(room, key)


def newest_of(room: Room, key: dg.AssetKey) -> int:
    """Return the storage id of an asset's newest materialization: older verdicts do not count."""
    (record,) = room.instance.fetch_materializations(key, limit=1).records
    return record.storage_id


def test_sources_of_different_kinds_meet_in_one_target_and_have_their_own_sensors(
    room: Room, mysql: FamilyServer, mysql_db: str, name: str
) -> None:
    run_sql(
        mysql,
        f"CREATE TABLE {mysql_db}.orders (id INT PRIMARY KEY, item VARCHAR(40))",
        f"INSERT INTO {mysql_db}.orders VALUES (1, 'pen')",
    )
    path = room.home / "web.db"
    with sqlite3.connect(path) as web:
        web.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, item TEXT)")
        web.execute("INSERT INTO orders (item) VALUES ('bag')")
    polled = {"type": "sql", "url": f"sqlite:///{path}", "tables": ["main.orders"]}
    logged = source("mysql", mysql.host, mysql.port, mysql_db)
    write(room, name, {"eu": logged, "web": polled})
    assert room.execute(f"{name}_snapshot").success
    assert orders(room) == [("eu", 1, "pen")], "a polled source has no snapshot"
    assert room.execute(f"{name}_sync").success
    assert orders(room) == [("eu", 1, "pen"), ("web", 1, "bag")]
    asked = [tick(room, kind).run_requests or [] for kind in ("binlog", "auto_increment")]
    assert [[r.job_name for r in requests] for requests in asked] == [
        [f"{name}__eu_sync"],
        [f"{name}__web_sync"],
    ]
    put_run(room, f"{name}_sync", dg.DagsterRunStatus.FAILURE)
    assert last_of(room.instance, naming.member_name(name, "eu"), "sync").state == "none"
    put_run(room, f"{name}_sync", dg.DagsterRunStatus.STARTED)
    skipped = tick(room, "binlog")
    assert not skipped.run_requests
    assert f"{name}__eu: a run is queued or started" in reason(skipped)
