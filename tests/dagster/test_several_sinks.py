"""One pipeline file with two sinks: assets, jobs and sensors of each, one change log for both."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
import yaml

from cdc_assets import failures, naming, retention
from cdc_assets.members import chosen_members
from cdc_assets.open import opened
from cdc_assets.settings import PipelineSettings, load_pipeline
from resources.errors import ConfigError
from resources.sinks.contract import TargetId
from resources.sinks.parquet import ParquetSink
from tests.dagster.room import PASSWORD_VARIABLE, Room, rows_of, run_sql
from tests.dagster.test_language import decide, output
from tests.dagster.test_runs import failure, latest_check
from tests.servers.base import CDC_USER
from tests.sinks.kafka_room import read_topic

if TYPE_CHECKING:
    from tests.servers.family import FamilyServer
    from tests.servers.kafka import KafkaServer


def write(room: Room, server: Any, database: str, name: str, **more: Any) -> str:
    """Write a file that fills a DuckDB file and Parquet tables."""
    source = {
        "type": server.kind,
        "host": server.host,
        "port": server.port,
        "user": CDC_USER,
        "password": f"${{env:{PASSWORD_VARIABLE}}}",
        "tables": [f"{database}.orders", f"{database}.users"],
        "tls": {"mode": "off"},
    }
    sinks = {
        "lake": {"type": "duckdb", "path": str(room.lake)},
        "files": {"type": "parquet", "location": str(room.home / "files")},
    }
    return room.write({"name": name, "source": source, "sinks": sinks} | more)


def files_rows(room: Room, database: str, table: str) -> list[tuple[Any, ...]]:
    """Return the rows of a Parquet table."""
    with ParquetSink(str(room.home / "files")) as sink:
        found = sink.read_table(TargetId(database, table))
    return sorted(tuple(row.values()) for row in found.to_pylist())


def member(room: Room, name: str, sink: str) -> PipelineSettings:
    (found,) = chosen_members(load_pipeline(room.pipelines / f"{name}.yaml"), sink=sink)
    return found


@contextmanager
def broken(room: Room) -> Iterator[None]:
    """Put something in the place of the DuckDB file, so that it cannot be opened."""
    away = room.home / "away.duckdb"
    room.lake.rename(away)
    room.lake.mkdir()
    try:
        yield
    finally:
        room.lake.rmdir()
        away.rename(room.lake)


class Elsewhere:
    """A server by its address alone, for graphs."""

    kind, host, port = "mysql", "db.example.org", 3306


def test_a_file_with_two_sinks_is_one_log_and_each_sinks_own_tables(room: Room) -> None:
    write(room, Elsewhere, "store", "shop")
    definitions = room.load()
    repository = definitions.get_repository_def()
    graph = repository.asset_graph
    parents = {
        key.to_user_string(): {parent.to_user_string() for parent in graph.get(key).parent_keys}
        for key in graph.get_all_asset_keys()
    }
    tables = {
        f"shop/{sink}/store/{table}": {"shop/changes", f"shop/{sink}/snapshot"}
        for sink in ("lake", "files")
        for table in ("orders", "users")
    }
    lone = {"shop/changes": set(), "shop/lake/snapshot": set(), "shop/files/snapshot": set()}
    assert parents == tables | lone
    groups = {key.to_user_string(): graph.get(key).group_name for key in graph.get_all_asset_keys()}
    assert groups["shop/changes"] == "shop"
    assert groups["shop/lake/store/orders"] == groups["shop/lake/snapshot"] == "shop__lake"
    assert groups["shop/files/store/users"] == "shop__files"
    jobs = {job.name for job in repository.get_all_jobs()} - {"__ASSET_JOB"}
    whole = ("sync", "snapshot", "replay", "compact", "decide", "plan", "refold", "maintain")
    assert jobs == {f"shop_{job}" for job in whole} | {
        f"shop__{sink}_{job}" for sink in ("lake", "files") for job in ("sync", "snapshot")
    }
    executor = repository.get_job("shop_sync").executor_def
    assert executor is dg.multiprocess_executor, "a slow sink keeps no other waiting"
    checks = {f"{k.asset_key.to_user_string()}:{k.name}" for k in graph.asset_check_keys}
    assert checks == {f"{key}:dirty_rows" for key in tables} | {
        "shop/changes:continuity",
        "shop/changes:sinks",
    }
    tags = {repository.get_job(f"shop__{s}_sync").tags["cdc/source"] for s in ("lake", "files")}
    assert len(tags) == 2, "one sync per server and sink at a time"
    assert len(repository.sensor_defs) == 4  # the log and new tables, for each sink


def test_sources_and_sinks_together_draw_every_pair(room: Room) -> None:
    write(room, Elsewhere, "store", "shop")
    path = room.pipelines / "shop.yaml"
    content = yaml.safe_load(path.read_text())
    source = content.pop("source")
    content["sources"] = {"eu": source, "us": deepcopy(source) | {"host": "us.example.org"}}
    content["pipeline"] = {"target": "{source}.{table}"}
    room.write(content)
    graph = room.load().get_repository_def().asset_graph
    keys = {key.to_user_string() for key in graph.get_all_asset_keys()}
    assert keys == {"shop/changes_eu", "shop/changes_us"} | {
        f"shop/{sink}/{what}_{source}" if what == "snapshot" else f"shop/{sink}/{source}/{what}"
        for sink in ("lake", "files")
        for what in ("snapshot", "orders", "users")
        for source in ("eu", "us")
    }


def test_two_sinks_are_filled_from_one_log_and_a_broken_one_holds_up_nobody(
    room: Room, mysql: FamilyServer, shop: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "RETRIES", 0)
    monkeypatch.setattr("cdc_assets.engine.pending.SINK_RETRIES", ())
    write(room, mysql, shop, name)
    planned = output(room.execute(f"{name}_plan"))
    assert planned["lake: new"] == planned["files: new"] == 2
    assert room.execute(f"{name}_snapshot").success
    run_sql(mysql, f"INSERT INTO {shop}.orders VALUES (4,'cup',1.00)")
    for sink in ("lake", "files"):
        assert room.execute(f"{name}__{sink}_sync").success
    expected = rows_of(mysql, f"{shop}.orders")
    assert room.target(shop, "orders") == files_rows(room, shop, "orders") == expected
    assert len(room.events(naming.changes_key(name))) == 1, "the log was read once"
    for sink in ("lake", "files"):
        assert room.events([name, sink, shop, "orders"])
        assert latest_check(room, [name, sink, shop, "orders"], "dirty_rows").passed
    assert latest_check(room, naming.changes_key(name), "sinks").passed

    with broken(room):
        run_sql(mysql, f"UPDATE {shop}.orders SET item = 'mug' WHERE id = 4")
        assert not room.execute(f"{name}__lake_sync").success
        assert room.execute(f"{name}__files_sync").success
        assert files_rows(room, shop, "orders") == rows_of(mysql, f"{shop}.orders")
        compacted = room.execute(f"{name}_compact")
        assert compacted.success, failure(compacted)
    assert room.execute(f"{name}__lake_sync").success
    assert room.target(shop, "orders") == rows_of(mysql, f"{shop}.orders")


def test_decisions_and_replays_are_of_every_sink_or_of_one(
    room: Room, mysql: FamilyServer, shop: str, name: str
) -> None:
    write(room, mysql, shop, name, pipeline={"schema_changes": "hold"})
    assert room.execute(f"{name}_snapshot").success
    run_sql(
        mysql,
        f"ALTER TABLE {shop}.users ADD COLUMN age INT",
        f"INSERT INTO {shop}.users VALUES (3, 'eve', 30)",
    )
    for sink in ("lake", "files"):
        assert room.execute(f"{name}__{sink}_sync").success
    listed = output(room.execute(f"{name}_decide"))
    assert (listed["lake: held"], listed["files: held"]) == (1, 1)
    done = decide(room, name, sink="lake", table=f"{shop}.*", decision="apply", why="agreed")
    assert output(done)["lake: still held"] == "nothing"
    assert room.target(shop, "users")[-1] == (3, "eve", 30)
    assert len(files_rows(room, shop, "users")) == 2
    unknown = decide(room, name, sink="pond", table="*.*", decision="skip", why="x")
    assert "`pond` is not one of the sinks" in failure(unknown)
    assert decide(room, name, table=f"{shop}.*", decision="apply", why="agreed").success
    assert files_rows(room, shop, "users")[-1] == (3, "eve", 30)
    for job in ("replay", "refold", "maintain"):
        result = room.execute(f"{name}_{job}")
        assert result.success, failure(result)


def test_a_target_and_the_log_chosen_alone_are_brought_up_to_date(
    room: Room, mysql: FamilyServer, shop: str, name: str
) -> None:
    write(room, mysql, shop, name)
    assert room.execute(f"{name}_snapshot").success
    run_sql(mysql, f"DELETE FROM {shop}.orders WHERE id = 1")
    window = naming.window_partition(int(time.time() * 1e6), "day")

    def materialize(*key: str) -> None:
        selection = dg.AssetKey(key)
        assets = [a for a in room.load().assets or [] if isinstance(a, dg.AssetsDefinition)]
        (definition,) = (a for a in assets if selection in a.keys)
        done = dg.materialize(
            [definition], selection=[selection], partition_key=window, instance=room.instance
        )
        assert done.success

    materialize(name, "changes")
    assert len(room.target(shop, "orders")) == 3, "nothing is merged"
    materialize(name, "files", shop, "orders")
    assert files_rows(room, shop, "orders") == rows_of(mysql, f"{shop}.orders")
    assert len(room.target(shop, "orders")) == 3


def test_an_only_sink_that_gets_company_goes_on_and_the_plan_says_so(
    room: Room, mysql: FamilyServer, shop: str, name: str
) -> None:
    room.write_mysql(mysql, shop, name)
    assert room.execute(f"{name}_snapshot").success
    write(room, mysql, shop, name)
    run_sql(mysql, f"INSERT INTO {shop}.users VALUES (9, 'zoe')")
    planned = output(room.execute(f"{name}_plan"))
    assert (planned["lake: new"], planned["files: new"]) == (0, 2)
    assert f"goes on with the state of {name}" in planned["lake: plan"]
    with opened(member(room, name, "lake"), "looks", joins=False) as pipeline:
        assert pipeline.tables.all() == {}, "a plan changes nothing"
    assert room.execute(f"{name}__lake_sync").success
    assert room.target(shop, "users") == rows_of(mysql, f"{shop}.users")
    assert room.execute(f"{name}__files_snapshot").success
    assert files_rows(room, shop, "users") == rows_of(mysql, f"{shop}.users")
    room.write_mysql(mysql, shop, name)
    run_sql(mysql, f"INSERT INTO {shop}.users VALUES (10, 'amy')")
    assert output(room.execute(f"{name}_plan"))["new"] == 0
    assert room.execute(f"{name}_sync").success
    assert room.target(shop, "users") == rows_of(mysql, f"{shop}.users")


def test_an_unknown_sink_is_named(room: Room, tmp_path: Path) -> None:
    write(room, Elsewhere, "store", "shop")
    with pytest.raises(ConfigError, match="`pond` is not one of the sinks of shop"):
        member(room, "shop", "pond")


@pytest.mark.parametrize("asked", [True, False])
def test_what_a_sink_lacks_is_kept_for_a_time_and_then_loaded_again(
    room: Room,
    mysql: FamilyServer,
    shop: str,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    asked: bool,
) -> None:
    monkeypatch.setattr(failures, "RETRIES", 0)
    write(room, mysql, shop, name, pipeline={"retention": {"change_log": "1d", "lagging": "3d"}})
    assert room.execute(f"{name}_snapshot").success
    for n in range(2):
        run_sql(mysql, f"INSERT INTO {shop}.orders VALUES ({10 + n},'cup',1.00)")
        assert room.execute(f"{name}__files_sync").success
    lake, files = (member(room, name, sink) for sink in ("lake", "files"))
    day, now = 86_400.0, time.time()
    with (
        nullcontext() if asked else broken(room),
        opened(lake, "a", joins=False) as one,
        opened(files, "b", joins=False) as two,
    ):
        before = [s.number for s in one.log.segments.list_bare() if s.window]
        retention.compact_log(lake, [one, two], now + 2 * day)
        assert [s.number for s in one.log.segments.list_bare() if s.window] == before
        retention.compact_log(lake, [one, two], now + 9 * day)
        assert [s.number for s in one.log.segments.list_bare()] == before[-1:]
        states = {t.table: s.status for t, s in one.tables.all().items()}
        assert states["orders"] == "needs_snapshot"
        assert {s.status for s in two.tables.all().values()} == {"live"}
    assert room.execute(f"{name}__lake_snapshot").success
    run_sql(mysql, f"INSERT INTO {shop}.orders VALUES (30,'tea',1.00)")
    for sink in ("lake", "files"):
        assert room.execute(f"{name}__{sink}_sync").success
    assert files_rows(room, shop, "orders") == rows_of(mysql, f"{shop}.orders")
    assert room.target(shop, "orders") == rows_of(mysql, f"{shop}.orders")


@pytest.mark.nightly
def test_topics_beside_a_file_have_rows_as_they_were_though_the_files_run_captured(
    room: Room, mysql: FamilyServer, kafka: KafkaServer, shop: str, name: str
) -> None:
    write(room, mysql, shop, name)
    path = room.pipelines / f"{name}.yaml"
    content = yaml.safe_load(path.read_text())
    topics = {"topic": f"{name}.{{table}}", "state_topic": f"{name}.state"}
    address = {"type": "kafka", "bootstrap_servers": kafka.url, "security": "plaintext"}
    content["sinks"]["files"] = address | topics
    room.write(content)
    assert room.execute(f"{name}_snapshot").success
    run_sql(mysql, f"UPDATE {shop}.users SET name = 'old' WHERE id = 1")
    for sink in ("lake", "files"):
        assert room.execute(f"{name}__{sink}_sync").success
    assert room.target(shop, "users") == rows_of(mysql, f"{shop}.users")
    (update,) = [m.value for m in read_topic(kafka.url, f"{name}.users") if m.value["op"] == "u"]
    assert (update["before"], update["after"]) == (
        {"id": 1, "name": "ann"},
        {"id": 1, "name": "old"},
    )
