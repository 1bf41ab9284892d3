"""The documented commands as real subprocesses on a real MySQL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from tests.dagster.room import BIN, CHECKOUT, Room, rows_of, run_sql

if TYPE_CHECKING:
    from tests.servers.family import FamilyServer

LOCATION = ("-m", "cdc_assets.definitions")


def test_job_execute_runs_bare_and_with_one_partition(
    room: Room, mysql: FamilyServer, shop: str
) -> None:
    room.write_mysql(mysql, shop)
    home = room.home / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    execute = ("dagster", "job", "execute", *LOCATION, "-j")
    done = room.command(*execute, "shop_snapshot", DAGSTER_HOME=str(home))
    assert done.returncode == 0, done.stderr[-3000:]
    run_sql(
        mysql,
        f"UPDATE {shop}.orders SET price = NULL WHERE id = 3",
        f"DELETE FROM {shop}.users WHERE id = 1",
    )
    assert room.execute("shop_sync").success
    for table in ("orders", "users"):
        assert room.target(shop, table) == rows_of(mysql, f"{shop}.{table}")
    tags = json.dumps({"dagster/partition": f"{shop}.users"})
    done = room.command(*execute, "shop_snapshot", "--tags", tags, DAGSTER_HOME=str(home))
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"{shop}.users: loading (1 of 1)" in done.stderr + done.stdout
    assert room.target(shop, "users") == rows_of(mysql, f"{shop}.users")


def test_a_failed_run_exits_1_and_says_how_to_mend_it(
    room: Room, mysql: FamilyServer, shop: str
) -> None:
    room.write_mysql(mysql, shop, source={"password": "${env:CDC_NOT_SET}"})
    done = room.command("dagster", "job", "execute", *LOCATION, "-j", "shop_sync")
    assert done.returncode == 1
    assert "CDC_NOT_SET=" in done.stderr + done.stdout


def test_validate_and_dg_see_the_code_location(room: Room, mysql: FamilyServer, shop: str) -> None:
    room.write_mysql(mysql, shop, source={"password": "${env:CDC_NOT_SET}"})
    done = room.command("dagster", "definitions", "validate", "-w", "workspace.yaml")
    assert done.returncode == 0, done.stderr[-3000:]
    done = room.command("dg", "check", "defs")
    assert done.returncode == 0, done.stderr[-3000:]
    done = room.command("dg", "list", "defs", "--json")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "shop_sync" in done.stdout


def test_wrong_files_fail_the_load_with_every_problem_of_every_file(room: Room) -> None:
    (room.pipelines / "a.yaml").write_text("name: a\nsorce: {}\n")
    (room.pipelines / "b.yaml").write_text("name: B!\n")
    done = room.command("dagster", "definitions", "validate", "-w", "workspace.yaml")
    assert done.returncode == 1
    text = done.stderr + done.stdout
    assert "a.yaml:2:1" in text
    assert "b.yaml:1:" in text


def test_a_cancelled_follower_ends_at_a_boundary_and_the_next_run_goes_on(
    room: Room, mysql: FamilyServer, shop: str
) -> None:
    room.write_mysql(mysql, shop, pipeline={"follow_for": "5m", "commit_interval": "200ms"})
    assert room.execute("shop_snapshot").success
    log = room.home / "follower.log"
    with log.open("w") as file:
        follower = subprocess.Popen(
            [str(BIN / "dagster"), "job", "execute", *LOCATION, "-j", "shop_sync"],
            cwd=CHECKOUT,
            env={**os.environ, **room.env},
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    deadline = time.monotonic() + 60
    row = 10
    while "segment" not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        row += 1
        run_sql(mysql, f"INSERT INTO {shop}.users VALUES ({row}, 'x')")
        time.sleep(0.3)
    follower.send_signal(signal.SIGTERM)
    assert follower.wait(timeout=30) != 0
    assert "STEP_UP_FOR_RETRY" not in log.read_text()
    config = {"ops": {"shop__sync": {"config": {"follow_for": 0.0}}}}
    assert room.execute("shop_sync", config=config).success
    assert room.target(shop, "users") == rows_of(mysql, f"{shop}.users")
