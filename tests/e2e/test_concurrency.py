"""Several runs at once, a full disk, a table altered by hand: nothing lost, nothing twice."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest

from cdc_assets.engine import pending
from cdc_assets.engine.run import (
    SyncOptions,
    capture_through,
    run_snapshot,
    run_sync,
    run_tables,
)
from resources.errors import LeaseHeld
from resources.model.table import TableId
from tests import oracle
from tests.e2e import child
from tests.e2e.room import Line
from tests.mysql.room import tcp_settings
from tests.processes import CONTEXT


@pytest.fixture
def setup(mysql: Any, mysql_db: str, tmp_path: Path) -> child.Setup:
    mysql.execute(f"CREATE TABLE {mysql_db}.t (id INT PRIMARY KEY, n INT)")
    return child.Setup(tcp_settings(mysql), mysql_db, tmp_path)


def _insert(mysql: Any, setup: child.Setup, low: int, high: int) -> None:
    values = ",".join(f"({i},{i})" for i in range(low, high))
    mysql.execute(f"INSERT INTO {setup.database}.t VALUES {values}")


def _together(setup: child.Setup, job: str, start: Any, rounds: int) -> None:
    """Start a job again and again, each round with the other process (in a child)."""
    sys.stderr = (setup.home / "stderr.log").open("a", buffering=1)
    for _ in range(rounds):
        pipeline = child.open_pipeline(setup)
        start.wait(60)
        try:
            if job == "sync":
                run_sync(pipeline)
            else:
                run_tables(pipeline, [TableId(setup.database, "t")])
        except LeaseHeld:
            pass
        finally:
            pipeline.close()
        start.wait(60)


@pytest.mark.parametrize(("job", "rounds"), [("sync", 6), ("tables", 12)])
def test_two_runs_started_together_apply_every_change_once(
    mysql: Any, setup: child.Setup, job: str, rounds: int
) -> None:
    """The target is append-only, so a change applied twice would be there twice."""
    setup = child.Setup(
        setup.settings,
        setup.database,
        setup.home,
        {"append": (f"{setup.database}.t",), "history": "none", "sink_hold": 0.0},
    )
    assert child.run(setup, "sync")
    start = CONTEXT.Barrier(3)
    runs = [
        CONTEXT.Process(target=_together, args=(setup, job, start, rounds), daemon=True)
        for _ in range(2)
    ]
    for run in runs:
        run.start()
    for number in range(rounds):
        _insert(mysql, setup, number * 10, number * 10 + 10)
        if job == "tables":
            _capture_only(setup)
        start.wait(60)
        start.wait(60)
    for run in runs:
        run.join(60)
        assert run.exitcode == 0, child.tail(setup)
    assert child.run(setup, "sync")
    rows = oracle.duckdb_rows(str(setup.lake), setup.database, "t")
    assert sorted(row[0] for row in rows) == list(range(rounds * 10))


def _capture_only(setup: child.Setup) -> None:
    """Leave a segment in the log that nobody has merged."""
    assert not child.run(setup, "sync", "apply.before_append:exit")


def test_a_snapshot_beside_a_following_sync_is_followed_on(mysql: Any, setup: child.Setup) -> None:
    _insert(mysql, setup, 0, 500)
    follower = CONTEXT.Process(target=_follow, args=(setup, 12.0), daemon=True)
    follower.start()
    try:
        table = TableId(setup.database, "t")
        pipeline = child.open_pipeline(setup)
        _, (after,) = run_snapshot(pipeline, table)
        assert after.outcome in ("applied", "current"), after
        pipeline.close()
        _insert(mysql, setup, 500, 700)
        mysql.execute(f"UPDATE {setup.database}.t SET n = -n WHERE id < 300")
        follower.join(90)
        assert follower.exitcode == 0, child.tail(setup)
    finally:
        if follower.is_alive():
            os.kill(follower.pid or 0, signal.SIGKILL)
    Line(mysql, setup).require_equal("t")


def _follow(setup: child.Setup, seconds: float) -> None:
    sys.stderr = (setup.home / "stderr.log").open("a", buffering=1)
    setup = child.Setup(
        setup.settings, setup.database, setup.home, {"commit_interval": 0.5, "sink_hold": 0.0}
    )
    pipeline = child.open_pipeline(setup)
    while True:
        try:
            run_sync(pipeline, SyncOptions(follow_for=seconds))
            break
        except LeaseHeld:  # the snapshot captures first; a sensor would ask again as well
            time.sleep(0.05)
    pipeline.close()


def test_a_full_disk_under_the_sink_loses_nothing(mysql: Any, setup: child.Setup) -> None:
    mysql.execute(f"CREATE TABLE {setup.database}.wide (id INT PRIMARY KEY, s LONGBLOB)")
    _insert(mysql, setup, 0, 10)
    assert child.run(setup, "t")
    assert child.run(setup, "wide")
    connection = mysql.connect()
    with connection.cursor() as cursor:
        rows = [(i, os.urandom(60_000)) for i in range(200)]
        cursor.executemany(f"INSERT INTO {setup.database}.wide VALUES (%s, %s)", rows)
    process = CONTEXT.Process(target=_cramped, args=(setup,), daemon=True)
    process.start()
    process.join(90)
    assert process.exitcode == 1, "the limit did not bite"
    assert "resources.errors.SinkUnavailable" in child.tail(setup)
    assert oracle.duckdb_rows(str(setup.lake), setup.database, "wide") == []
    _insert(mysql, setup, 10, 20)
    assert child.run(setup, "sync")
    Line(mysql, setup).require_equal("t")
    assert len(oracle.duckdb_rows(str(setup.lake), setup.database, "wide")) == 200


def _cramped(setup: child.Setup) -> None:
    """Merge in a process whose files may not grow far: a full disk as seen from inside."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    sys.stderr = (setup.home / "stderr.log").open("a", buffering=1)
    pending.SINK_RETRIES = (0.1,)
    pipeline = child.open_pipeline(setup)
    capture_through(pipeline, pipeline.source.current_position())
    limit = setup.lake.stat().st_size + (1 << 20)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    (report,) = run_tables(pipeline, [TableId(setup.database, "wide")])
    raise AssertionError(f"nothing was refused: {report.outcome} {report.reason}")


def test_a_table_altered_by_hand_stops_alone_and_says_how(mysql: Any, setup: child.Setup) -> None:
    mysql.execute(f"CREATE TABLE {setup.database}.other (id INT PRIMARY KEY)")
    _insert(mysql, setup, 0, 5)
    assert child.run(setup, "t")
    assert child.run(setup, "other")
    with duckdb.connect(str(setup.lake)) as connection:
        connection.execute(f"ALTER TABLE {setup.database}.t DROP COLUMN n")
    _insert(mysql, setup, 5, 9)
    mysql.execute(f"INSERT INTO {setup.database}.other VALUES (1)")
    pipeline = child.open_pipeline(setup)
    report = run_sync(pipeline)
    stopped = report.tables[TableId(setup.database, "t")]
    assert stopped.outcome == "stopped"
    shapes = "(id int32), on the source (id int (int32), n int (int32))"
    assert shapes in stopped.reason
    assert "materialize the table's snapshot partition" in stopped.reason
    assert report.tables[TableId(setup.database, "other")].outcome == "applied"
    run_snapshot(pipeline, TableId(setup.database, "t"))
    pipeline.close()
    Line(mysql, setup).require_equal("t")
