"""`dagster dev` for real: its daemon ticks, its runs load and merge, a restart doubles nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from tests.dagster.room import BIN, CHECKOUT, Room, rows_of, run_sql
from tests.servers.process import free_port

if TYPE_CHECKING:
    from tests.servers.family import FamilyServer

T = TypeVar("T")
PATIENCE = 180.0
LOCATION = {"repositoryLocationName": "cdc", "repositoryName": "__repository__"}

RUNS = "{ runsOrError { ... on Runs { results { jobName status runId } } } }"
START = """mutation ($selector: SensorSelector!) {
  startSensor(sensorSelector: $selector) { __typename } }"""
SENSORS = """query ($selector: RepositorySelector!) {
  sensorsOrError(repositorySelector: $selector) { ... on Sensors { results { name } } } }"""
ASSET = """query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
  partitionKeys dependencyKeys { path }
  assetMaterializations(limit: 5) { partition metadataEntries { label } } } } }"""
LAUNCH = """mutation ($params: ExecutionParams!) {
  launchRun(executionParams: $params) { __typename } }"""


@contextmanager
def dagster_dev(room: Room, port: int) -> Iterator[Callable[..., Any]]:
    """Run `dagster dev`; gives a function that asks its GraphQL endpoint."""
    home = room.home / "dagster"
    home.mkdir(exist_ok=True)
    sample = (CHECKOUT / "dagster.yaml.sample").read_text()
    (home / "dagster.yaml").write_text(sample)
    env = {**os.environ, **room.env, "DAGSTER_HOME": str(home)}
    log = (room.home / "dev.log").open("a")
    process = subprocess.Popen(
        [str(BIN / "dagster"), "dev", "-p", str(port)],
        cwd=CHECKOUT,
        env=env,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )

    def ask(query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/graphql", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            content = json.load(answer)
        assert "errors" not in content, content["errors"]
        return content["data"]

    try:
        wait_for(lambda: _is_up(ask))
        yield ask
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.close()


def _is_up(ask: Callable[..., Any]) -> bool:
    try:
        found = ask(SENSORS, selector=LOCATION)["sensorsOrError"]
    except (urllib.error.URLError, OSError):
        return False
    return bool(found.get("results"))


def wait_for(look: Callable[[], T]) -> T:
    """Return what `look` returns once it is true."""
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(1)
    return found


def finished(ask: Callable[..., Any], job: str) -> int:
    """Return how many runs of a job succeeded, once none is under way."""
    runs = [r for r in ask(RUNS)["runsOrError"]["results"] if r["jobName"] == job]
    assert all(r["status"] != "FAILURE" for r in runs)
    return len(runs) if all(r["status"] == "SUCCESS" for r in runs) else 0


def start_sensors(ask: Callable[..., Any]) -> None:
    for sensor in ask(SENSORS, selector=LOCATION)["sensorsOrError"]["results"]:
        selector = {**LOCATION, "sensorName": sensor["name"]}
        assert ask(START, selector=selector)["startSensor"]["__typename"] == "Sensor"


@pytest.mark.nightly
def test_sensors_load_and_sync_and_a_restart_doubles_nothing(
    room: Room, mysql: FamilyServer, shop: str
) -> None:
    room.write_mysql(mysql, shop, pipeline={"sensor_interval": "5s"})
    assert room.command("dagster", "instance", "migrate", DAGSTER_HOME=str(room.home))
    port = free_port()
    with dagster_dev(room, port) as ask:
        start_sensors(ask)
        wait_for(lambda: finished(ask, "shop_snapshot") == 2)
        wait_for(lambda: finished(ask, "shop_sync"))
        assert room.target(shop, "orders") == rows_of(mysql, f"{shop}.orders")
        synced = finished(ask, "shop_sync")
        run_sql(mysql, f"INSERT INTO {shop}.users VALUES (3, 'cat')")
        wait_for(lambda: finished(ask, "shop_sync") > synced)
        assert room.target(shop, "users") == rows_of(mysql, f"{shop}.users")
        node = ask(ASSET, key={"path": ["shop", "snapshot"]})["assetNodeOrError"]
        assert sorted(node["partitionKeys"]) == [f"{shop}.orders", f"{shop}.users"]
        node = ask(ASSET, key={"path": ["shop", "changes"]})["assetNodeOrError"]
        labels = {e["label"] for e in node["assetMaterializations"][0]["metadataEntries"]}
        assert {"position to", "lag (s)", "lag (bytes)", "inserts"} <= labels
        synced = finished(ask, "shop_sync")
    with dagster_dev(room, port) as ask:
        node = ask(ASSET, key={"path": ["shop", shop, "users"]})["assetNodeOrError"]
        parents = {"/".join(k["path"]) for k in node["dependencyKeys"]}
        assert parents == {"shop/changes", "shop/snapshot"}
        time.sleep(20)
        assert finished(ask, "shop_snapshot") == 2
        assert finished(ask, "shop_sync") == synced
        params = {"selector": {**LOCATION, "pipelineName": "shop_sync"}, "mode": "default"}
        launched = ask(LAUNCH, params=params)["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess"
        wait_for(lambda: finished(ask, "shop_sync") > synced)
