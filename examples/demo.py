"""`make demo`: a live database becomes DuckDB tables, is killed twice on the way, and ends equal.

Starts the best server this machine can have, fills a small shop, keeps writing to it, runs the
same `dagster job execute` commands a user would, kills them with -9, resumes, and compares every
table with `SELECT` on the source. Polls an OceanBase table; loads a recorded archive of log files
without any server, once in full and once up to a mistake. Ends with
`demo: equal, <n> tables, <m> rows`, or exits 1.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from examples import record_archive, shop_data
from tests import oracle
from tests.servers import Server, available, start_server

ROWS = 30_000
SHOP = """
name: shop
source:
  type: {kind}
  host: {host}
  port: {port}
  user: cdc
  password: ${{env:SHOP_PASSWORD}}
  tls: {{mode: require}}
  tables: ["shop.*"]
  snapshot: {{chunk_rows: 4000, parallel: 2}}
sink:
  type: duckdb
  path: {lake}
pipeline: {{commit_interval: 2s}}
"""
EVENTS = """
name: events
source:
  type: sql
  url: {url}
  tables: ["{database}.events"]
  grace: 1s
sink:
  type: duckdb
  path: {lake}
"""


ARCHIVE = """
name: {name}
source:
  type: binlog_files
  path: {folder}
  tables: ["shop.*"]
  {stop}
sink:
  type: duckdb
  path: {lake}
"""


def main() -> int:
    """Run the demo; returns the exit code."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cdc-demo-") as folder:
        home = Path(folder)
        differences: list[oracle.Difference] = []
        with start_server(_best_server()) as server:
            _headline(f"{server.name} is up on {server.host}:{server.port}")
            differences += _shop(server, home)
        with start_server("oceanbase") as server:
            _headline(f"{server.name} is up on a unix socket")
            differences += _events(server, home)
        differences += _archive(home)
    bad = [d for d in differences if d]
    for difference in bad:
        print(f"demo: NOT EQUAL: {difference}")
    rows = sum(d.rows for d in differences)
    print(f"\ntook {time.monotonic() - began:.0f} s")
    if not bad:
        print(f"demo: equal, {len(differences)} tables, {rows} rows")
    return 1 if bad else 0


def _best_server() -> str:
    """Choose MySQL if it can be had here, else MariaDB."""
    kinds = {entry.kind for entry in available(("mysql",)) if entry}
    return "mysql" if "mysql" in kinds else "mariadb"


def _shop(server: Server, home: Path) -> list[oracle.Difference]:
    lake = home / "lake.duckdb"
    shop_data.create(server.connect(), "shop", ROWS)
    text = SHOP.format(kind=server.kind, host=server.host, port=server.port, lake=lake)
    run = _Runner(home, "shop", text, {"SHOP_PASSWORD": "cdc-secret-pw"})
    writer = shop_data.Writer(server.connect, "shop")
    writer.start()
    _headline("first snapshot, killed with -9 in the middle, while the shop is being written to")
    run.killed("shop_snapshot", "chunks", after=2)
    _headline("the same command again: finished chunks are not read twice")
    run.finished("shop_snapshot")
    _headline("sync, killed with -9 after its first segment")
    run.killed("shop_sync", "segment", after=1)
    _headline("the same command again")
    run.finished("shop_sync")
    writer.stop()
    _headline(f"the writer stops after {writer.transactions} transactions; one more sync")
    run.finished("shop_sync")
    tables = ("customers", "products", "orders", "order_lines")
    connection = server.connect()
    return [_compare(f"shop.{t}", oracle.mysql_rows(connection, "shop", t), lake) for t in tables]


def _events(server: Server, home: Path) -> list[oracle.Difference]:
    lake = home / "oceanbase.duckdb"
    database = "demo"
    connection = server.connect()
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE IF NOT EXISTS {database}")
        cursor.execute(f"USE {database}")
        cursor.execute(
            "CREATE TABLE events (id BIGINT AUTO_INCREMENT PRIMARY KEY, kind VARCHAR(20),"
            " amount DECIMAL(12,3), happened DATETIME(6))"
        )
        _insert_events(cursor, 5000)
    run = _Runner(home, "events", EVENTS.format(url=server.url, database=database, lake=lake), {})
    _headline("history and increments of an insert-only table by its auto-increment column")
    run.finished("events_sync")
    with connection.cursor() as cursor:
        _insert_events(cursor, 1234)
    run.finished("events_sync")
    return [_compare(f"{database}.events", oracle.mysql_rows(connection, database, "events"), lake)]


def _archive(home: Path) -> list[oracle.Difference]:
    folder, found = record_archive.FOLDER, []
    _headline("recorded log files without a server: all of them, then up to a mistaken DELETE")
    moment = record_archive.mistake_after()
    for name, stop, recorded in (
        ("archived", "", "after"),
        ("rescued", f"stop_at: {{timestamp: {moment}}}", "before"),
    ):
        lake = home / f"{name}.duckdb"
        run = _Runner(
            home, name, ARCHIVE.format(name=name, folder=folder, stop=stop, lake=lake), {}
        )
        run.finished(f"{name}_sync")
        for table, rows in record_archive.expected_rows(recorded).items():
            sink = record_archive.as_recorded(oracle.duckdb_rows(str(lake), "shop", table))
            found.append(_shown(f"{name}: shop.{table}", rows, sink))
    return found


def _insert_events(cursor: Any, count: int) -> None:
    rows = [(f"kind{i % 7}", i / 8, f"2026-01-01 00:00:00.{i:06d}") for i in range(count)]
    cursor.executemany("INSERT INTO events (kind, amount, happened) VALUES (%s, %s, %s)", rows)


def _compare(name: str, source: list[Any], lake: Path) -> oracle.Difference:
    namespace, _, table = name.partition(".")
    return _shown(name, source, oracle.duckdb_rows(str(lake), namespace, table))


def _shown(name: str, source: list[Any], sink: list[Any]) -> oracle.Difference:
    difference = oracle.compare(name, source, sink)
    word = "DIFFERENT" if difference else "equal"
    print(f"  {name:26} source {len(source):>8,} rows   sink {len(sink):>8,} rows   {word}")
    return difference


class _Runner:
    """Runs a pipeline's jobs as a user would, in processes of their own."""

    def __init__(self, home: Path, name: str, text: str, env: dict[str, str]) -> None:
        pipelines = home / name
        pipelines.mkdir()
        (pipelines / f"{name}.yaml").write_text(text)
        dagster_home = home / "dagster"
        dagster_home.mkdir(exist_ok=True)
        self._env = {
            **os.environ,
            **env,
            "CDC_PIPELINES": str(pipelines),
            "CDC_HOME": str(home),
            "CDC_STATE": f"sqlite:///{home}/state.db",
            "DAGSTER_HOME": str(dagster_home),
            "PYTHONWARNINGS": "ignore",
        }

    def finished(self, job: str) -> None:
        """Run a job to its end.

        Raises:
            SystemExit: It failed.
        """
        process = self._start(job)
        for line in self._lines(process):
            _show(line)
        if process.wait() != 0:
            raise SystemExit(f"demo: {job} failed with exit code {process.returncode}")

    def killed(self, job: str, word: str, after: int) -> None:
        """Run a job and kill -9 it once `word` came up `after` times in its progress lines.

        Raises:
            SystemExit: It ended before.
        """
        process = self._start(job)
        seen = 0
        for line in self._lines(process):
            if _show(line) and word in line:
                seen += 1
            if seen >= after:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                print(f"  kill -9 {process.pid} ({job})")
                return
        raise SystemExit(f"demo: {job} ended before it could be killed")

    def _start(self, job: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "dagster", "job", "execute"]
        command += ["-m", "cdc_assets.definitions", "-j", job]
        print(f"  $ dagster {' '.join(command[3:])}")
        return subprocess.Popen(
            command,
            env=self._env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def _lines(self, process: subprocess.Popen[str]) -> Any:
        timer = threading.Timer(300, process.kill)
        timer.start()
        try:
            if process.stdout is None:
                return
            yield from process.stdout
        finally:
            timer.cancel()


def _show(line: str) -> bool:
    """Print a progress line of ours, a warning or an error; returns whether it was progress."""
    _, mark, rest = line.partition(" - INFO - ")
    message = rest.split(" - ", 3)[-1].strip() if mark else ""
    progress = any(word in message for word in (" chunks, ", " rows in ", "segment "))
    if progress or message.startswith("warning"):
        print(f"    {message}", flush=True)
    elif any(word in line for word in ("Error", "FAILURE", "to mend")):
        print(f"    {line.rstrip()}", flush=True)
    return progress


def _headline(text: str) -> None:
    print(f"\n== {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
