"""A big table's snapshot: speed, peak memory, and what two kills cost.

Run as `python -m benchmarks.snapshot_memory [--json] [--quick]`.

The run is a real `dagster job execute`, killed twice with -9. Peak memory is the highest resident
size of any of the three run processes (VmHWM). How many rows the server sent is the server's own
count, so that chunks read twice show.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figure, arguments, rate, show
from tests import oracle
from tests.servers import CDC_PASSWORD, CDC_USER, Server, start_server

CHUNK = 50_000
PARALLEL = 4
PIPELINE = f"""
name: big
source:
  type: mysql
  host: {{host}}
  port: {{port}}
  user: {CDC_USER}
  password: ${{{{env:BIG_PASSWORD}}}}
  tls: {{{{mode: "off"}}}}
  tables: ["big.rows"]
  snapshot: {{{{chunk_rows: {CHUNK}, parallel: {PARALLEL}}}}}
sink:
  type: duckdb
  path: {{lake}}
"""
TABLE = """
CREATE TABLE big.`rows` (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, name VARCHAR(40),
  amount DECIMAL(18,4), ratio DOUBLE, at DATETIME(6), note VARCHAR(120))
"""
GROW = """
INSERT INTO big.`rows` (name, amount, ratio, at, note)
SELECT CONCAT('name ', id), id / 7, id / 3, '2020-01-01' + INTERVAL id SECOND,
  REPEAT('x', MOD(id, 100))
FROM big.`rows` WHERE id <= %s ORDER BY id LIMIT %s
"""
SENT = """
SELECT COALESCE(SUM(sum_rows_sent), 0) FROM performance_schema.events_statements_summary_by_digest
WHERE digest_text LIKE '%%SELECT%%FROM `big` . `rows`%%'
"""


@dataclass
class Attempt:
    """One run process."""

    seconds: float
    peak_kb: int
    finished: bool


def main() -> int:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, help="3,000,000, or a tenth with --quick")
    chosen = parser.parse_args()
    rows: int = chosen.rows or (300_000 if chosen.quick else 3_000_000)
    with start_server("mysql") as server, tempfile.TemporaryDirectory() as folder:
        _fill(server, rows)
        home = Path(folder)
        chunks = max(3, rows // CHUNK)
        attempts = [
            _attempt(server, home, chunks // 4),
            _attempt(server, home, chunks // 2),
            _attempt(server, home, None),
        ]
        ((sent,),) = server.execute(SENT)
        difference = oracle.compare(
            "big.rows",
            oracle.mysql_rows(server.connect(), "big", "rows"),
            oracle.duckdb_rows(str(home / "lake.duckdb"), "big", "rows"),
        )
    seconds = sum(a.seconds for a in attempts)
    figures = [
        Figure("snapshot.seconds", round(seconds, 1), "s"),
        Figure("snapshot.rows_per_second", rate(rows, seconds), "1/s"),
        Figure("snapshot.peak_mb", round(max(a.peak_kb for a in attempts) / 1024), "MB"),
        Figure("snapshot.rows_sent_ratio", round(int(sent) / rows, 4), "rows sent / rows"),
        Figure("snapshot.equal", int(not difference), "1 = equal"),
    ]
    show(figures, chosen.json)
    return 1 if difference or not attempts[-1].finished else 0


def _fill(server: Server, rows: int) -> None:
    server.execute("CREATE DATABASE big", TABLE, "INSERT INTO big.`rows` (name) VALUES ('first')")
    connection = server.connect()
    with connection.cursor() as cursor:
        count = 1
        while count < rows:
            cursor.execute(GROW, (10 * rows, min(count, rows - count)))
            count += cursor.rowcount
        cursor.execute("ANALYZE TABLE big.`rows`")
    connection.close()


def _attempt(server: Server, home: Path, kill_after_chunks: int | None) -> Attempt:
    pipelines = home / "pipelines"
    pipelines.mkdir(exist_ok=True)
    (home / "dagster").mkdir(exist_ok=True)
    text = PIPELINE.format(host=server.host, port=server.port, lake=home / "lake.duckdb")
    (pipelines / "big.yaml").write_text(text)
    env = {
        **os.environ,
        "BIG_PASSWORD": CDC_PASSWORD,
        "CDC_PIPELINES": str(pipelines),
        "CDC_HOME": str(home),
        "DAGSTER_HOME": str(home / "dagster"),
    }
    command = [sys.executable, "-m", "dagster", "job", "execute"]
    command += ["-m", "cdc_assets.definitions", "-j", "big_snapshot"]
    began = time.monotonic()
    log = home / f"run{kill_after_chunks}.log"
    with log.open("ab") as out:
        process = subprocess.Popen(command, env=env, stdout=out, stderr=out, start_new_session=True)
    return _watch(process, log, began, kill_after_chunks)


def _watch(
    process: subprocess.Popen[bytes], log: Path, began: float, kill_after: int | None
) -> Attempt:
    """Follow a run's memory; kill it once it says that it has copied enough chunks."""
    peak = 0
    while process.poll() is None:
        peak = max(peak, _high_water(process.pid))
        if kill_after is not None and _chunks_said(log) >= kill_after:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return Attempt(time.monotonic() - began, peak, False)
        time.sleep(0.1)
    if process.returncode != 0:
        raise SystemExit(log.read_text()[-3000:])
    return Attempt(time.monotonic() - began, peak, True)


def _chunks_said(log: Path) -> int:
    return max((int(n) for n in re.findall(r": (\d+) chunks, ", log.read_text())), default=0)


def _high_water(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    for line in status.splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
