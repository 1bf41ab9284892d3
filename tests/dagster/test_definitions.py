"""What a folder of pipeline files brings: names, links, and nothing that was not asked for."""

from __future__ import annotations

import json
import time

import dagster as dg
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cdc_assets import naming
from cdc_assets.inventory import inventory_path
from cdc_assets.specs import source_tag
from resources.errors import ConfigError
from tests.dagster.room import CHECKOUT, Room

SHOP = {
    "name": "shop",
    "owners": ["team:data"],
    "source": {
        "type": "mysql",
        "host": "db.example.org",
        "user": "cdc",
        "password": "${env:CDC_NEVER_SET}",
        "tables": ["shop.orders", "shop.customer_*", "eu-1.ord.ers"],
        "exclude": ["shop.customer_tmp"],
    },
    "sink": {"type": "duckdb", "path": "lake.duckdb"},
}
CLICKS = {
    "name": "clicks",
    "source": {"type": "sql", "url": "sqlite:////tmp/clicks.db", "tables": ["main.clicks"]},
    "sink": {"type": "duckdb", "path": "clicks.duckdb"},
    "pipeline": {"window": "hour"},
}
LATEST = {
    "name": "latest",
    "source": SHOP["source"] | {"startup": "latest"},  # type: ignore[operator]
    "sink": {"type": "memory"},
}

ASSETS = {
    "clicks/changes": set(),
    "clicks/main/clicks": {"clicks/changes"},
    "latest/changes": set(),
    "latest/eu_x2D_1/ord_x2E_ers": {"latest/changes"},
    "latest/shop/orders": {"latest/changes"},
    "shop/changes": set(),
    "shop/eu_x2D_1/ord_x2E_ers": {"shop/changes", "shop/snapshot"},
    "shop/shop/customer_1": {"shop/changes", "shop/snapshot"},
    "shop/shop/orders": {"shop/changes", "shop/snapshot"},
    "shop/snapshot": set(),
}
JOBS = {
    *(
        f"{name}_{job}"
        for name in ("clicks", "latest", "shop")
        for job in ("sync", "replay", "compact", "decide", "plan", "refold")
    ),
    "shop_snapshot",
}
CHECKS = {f"{k}:dirty_rows" for k in ASSETS if k.count("/") == 2} | {
    f"{name}/changes:continuity" for name in ("clicks", "latest", "shop")
}


@pytest.fixture
def sample(room: Room) -> Room:
    """Three pipelines, one with an inventory."""
    for content in (SHOP, CLICKS, LATEST):
        room.write(content)
    path = inventory_path("shop")
    path.parent.mkdir(parents=True)
    tables = [["shop", "customer_1"], ["shop", "customer_tmp"], ["other", "gone"]]
    path.write_text(json.dumps({"tables": tables, "first_window": "2026-03-17"}))
    return room


def test_the_names_of_everything(sample: Room) -> None:
    repository = sample.load().get_repository_def()
    graph = repository.asset_graph
    found = {
        key.to_user_string(): {parent.to_user_string() for parent in graph.get(key).parent_keys}
        for key in graph.get_all_asset_keys()
    }
    assert found == ASSETS
    jobs = {j.name for j in repository.get_all_jobs()} - {"__ASSET_JOB"}
    assert jobs == JOBS
    checks = {f"{k.asset_key.to_user_string()}:{k.name}" for k in graph.asset_check_keys}
    assert checks == CHECKS
    sensors = sorted(s.name for s in repository.sensor_defs)
    kinds = [name.rpartition("_")[2] for name in sensors]
    assert sorted(kinds) == ["binlog", "discovery", "discovery", "discovery", "increment"]
    assert {s.name for s in repository.schedule_defs} == {
        f"{name}_compact_daily" for name in ("clicks", "latest", "shop")
    }
    assert set(repository.get_top_level_resources()) == {
        f"{name}_{what}" for name in ("clicks", "latest", "shop") for what in ("sink", "dirty_rows")
    }


def test_nothing_runs_before_somebody_starts_it(sample: Room) -> None:
    repository = sample.load().get_repository_def()
    for sensor in repository.sensor_defs:
        assert sensor.default_status == dg.DefaultSensorStatus.STOPPED
    for schedule in repository.schedule_defs:
        assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED


def test_every_job_runs_in_its_own_process(sample: Room) -> None:
    for job in sample.load().get_repository_def().get_all_jobs():
        if job.name != "__ASSET_JOB":
            assert job.executor_def is dg.in_process_executor


def test_windows_begin_with_the_first_one_and_a_new_pipelines_with_the_current(
    sample: Room,
) -> None:
    now = time.time_ns() // 1000
    graph = sample.load().resolve_asset_graph()
    partitions = graph.get(dg.AssetKey(["shop", "changes"])).partitions_def
    assert partitions.get_first_partition_key() == "2026-03-17"
    for name, window in (("latest", "day"), ("clicks", "hour")):
        keys = graph.get(dg.AssetKey([name, "changes"])).partitions_def.get_partition_keys()
        assert naming.window_partition(now, window) in keys  # type: ignore[arg-type]
        assert len(keys) <= 2  # 2 if the clock moved on since the load
    tables = graph.get(dg.AssetKey(["shop", "snapshot"])).partitions_def
    assert tables == dg.DynamicPartitionsDefinition(name="shop_tables")


def test_runs_of_a_server_share_a_tag_and_snapshots_do_not_have_it(sample: Room) -> None:
    jobs = {j.name: j for j in sample.load().get_repository_def().get_all_jobs()}
    assert jobs["shop_sync"].tags["cdc/source"] == jobs["latest_sync"].tags["cdc/source"]
    assert jobs["shop_sync"].tags["cdc/source"] != jobs["clicks_sync"].tags["cdc/source"]
    assert jobs["shop_sync"].tags["cdc/source"] == "db.example.org:3306"
    assert "cdc/source" not in jobs["shop_snapshot"].tags


@given(st.text(min_size=1, max_size=200), st.text(min_size=1, max_size=200))
def test_the_tag_of_a_server_is_short_and_its_own(one: str, other: str) -> None:
    assert len(source_tag(one)) <= 63
    assert (source_tag(one) == source_tag(other)) == (one == other)


def test_the_sample_instance_sends_nothing_and_asks_for_nothing() -> None:
    sample = yaml.safe_load((CHECKOUT / "dagster.yaml.sample").read_text())
    assert sample["telemetry"] == sample["nux"] == {"enabled": False}


def test_a_broken_inventory_says_what_to_do(sample: Room) -> None:
    inventory_path("shop").write_text("{")
    with pytest.raises(ConfigError, match="delete the file"):
        sample.load()


def test_an_empty_folder_is_a_code_location_too(room: Room) -> None:
    assert room.load().get_repository_def().get_all_jobs() == []
