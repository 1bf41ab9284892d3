"""A real MySQL into a DuckDB file, end to end: snapshot and changes, by the engine as it is.

Run as `python -m benchmarks.pipeline [--json] [--rows 1000000] [--rounds 3]`.

`ours` is `cdc_assets.engine.run` with every setting of the pipeline file left at its default: the
functions the Dagster jobs call, without Dagster. `dagster` is the same changes by the sync job. dlt
loads the same table in turn with our snapshot, in a process and a directory of its own. A first
load and sync of a small table, outside of the timing, compiles the kernels and opens the files.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

from benchmarks.figures import QUIET_JOB, Figure, Timing, alternate, arguments, rate, say, show
from benchmarks.pipeline_stages import Stages
from benchmarks.pipeline_tables import NAMESPACE, Tables
from benchmarks.wire_log import SERVER_OPTIONS
from tests.servers import CDC_PASSWORD, CDC_USER, start_server
from tests.servers.family import FamilyServer

if TYPE_CHECKING:
    from cdc_assets.settings import PipelineSettings

PIPELINE = """
name: bench
source:
  type: mysql
  host: {host}
  port: {port}
  user: {user}
  password: ${{env:BENCH_PASSWORD}}
  tls: {{mode: "off"}}
  tables: [{namespace}.rows, {namespace}.warm]
sink: {{type: duckdb, path: lake.duckdb}}
"""


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, help="rows of the table, and changes of a round")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, the best counts")
    chosen = parser.parse_args()
    rows = chosen.rows or (100_000 if chosen.quick else 1_000_000)
    with (
        start_server("mysql", options=SERVER_OPTIONS) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        bench = _Bench(cast(FamilyServer, server), Path(folder), rows, chosen.rounds)
        show(bench.figures(), chosen.json)


class _Bench:
    """A filled server, and a pipeline file that reads it."""

    def __init__(self, server: FamilyServer, folder: Path, rows: int, rounds: int) -> None:
        self.server = server
        self.folder = folder
        self.rounds = rounds
        say(f"# writing {rows:,} rows")
        self.tables = Tables(server, rows)
        self.settings = self._settings()
        self.runs = 0

    def _settings(self) -> PipelineSettings:
        from cdc_assets.settings import load_pipelines

        pipelines = self.folder / "pipelines"
        pipelines.mkdir()
        text = PIPELINE.format(
            host=self.server.host, port=self.server.port, user=CDC_USER, namespace=NAMESPACE
        )
        (pipelines / "bench.yaml").write_text(text)
        os.environ |= {
            "BENCH_PASSWORD": CDC_PASSWORD,
            "CDC_PIPELINES": str(pipelines),
            "CDC_HOME": str(self.folder),
            "DAGSTER_DISABLE_TELEMETRY": "true",
        }
        (settings,) = load_pipelines(pipelines)
        return settings

    def figures(self) -> Iterator[Figure]:
        """Yield every figure as it is measured."""
        self.tables.warm_up()
        self.load("warm")
        self.tables.warm_up()
        self.sync()
        yield from self._loads()
        yield from self._changes()
        self.tables.require_equal(self.folder / "lake.duckdb")

    def _loads(self) -> Iterator[Figure]:
        rows, ours, dlt = self.tables.rows, [], []
        for _ in range(self.rounds):
            ours.append(alternate(1, {"load": lambda: self.load("rows")})["load"])
            dlt.append(self.load_by_dlt())
        speed, theirs = rate(rows, min(t.seconds for t in ours)), rate(rows, min(dlt))
        yield Figure("pipeline.snapshot.ours", speed, "rows/s", f"{speed / theirs:.1f} x dlt")
        yield _cpu("snapshot", min(t.cpu for t in ours), rows)
        yield Figure("pipeline.snapshot.dlt", theirs, "rows/s", "pyarrow backend")

    def _changes(self) -> Iterator[Figure]:
        runs: list[tuple[Timing, Stages]] = []
        for _ in range(self.rounds):
            changes = self.tables.change()
            with Stages() as stages:
                runs.append((alternate(1, {"sync": self.sync})["sync"], stages))
        best, stages = min(runs, key=lambda run: run[0].seconds)
        say(f"# stages of a sync of {changes:,} changes in {best.seconds:.2f} s")
        for line in stages.lines():
            say(f"#   {line}")
        yield Figure("pipeline.changes.ours", rate(changes, best.seconds), "changes/s")
        yield _cpu("changes", min(timing.cpu for timing, _ in runs), changes)
        changes = self.tables.change()
        speed = rate(changes, self.sync_by_dagster())
        yield Figure("pipeline.changes.dagster", speed, "changes/s", "the job, in this process")

    def load(self, table: str) -> None:
        """Load a table anew."""
        from cdc_assets.engine.run import run_snapshot
        from cdc_assets.open import opened
        from resources.model.table import TableId

        self.runs += 1
        with opened(self.settings, f"bench {self.runs}") as pipeline:
            _, (merged,) = run_snapshot(pipeline, TableId(NAMESPACE, table))
        if merged.outcome not in ("applied", "current"):
            raise SystemExit(f"{table}: {merged.outcome}: {merged.reason}")

    def sync(self) -> None:
        """Capture and merge all there is."""
        from cdc_assets.engine.run import run_sync
        from cdc_assets.open import opened

        self.runs += 1
        with opened(self.settings, f"bench {self.runs}") as pipeline:
            report = run_sync(pipeline)
        for merged in report.tables.values():
            if merged.outcome not in ("applied", "current", "waiting"):
                raise SystemExit(f"{merged.table}: {merged.outcome}: {merged.reason}")

    def sync_by_dagster(self) -> float:
        """Return the seconds of the sync job on an instance of its own."""
        import dagster as dg

        from cdc_assets.definitions import definitions

        home = self.folder / "dagster"
        home.mkdir()
        with dg.DagsterInstance.local_temp(str(home)) as instance:
            job = definitions().resolve_job_def("bench_sync")
            began = time.perf_counter()
            job.execute_in_process(instance=instance, run_config=QUIET_JOB)
            return time.perf_counter() - began

    def load_by_dlt(self) -> float:
        """Return the seconds dlt takes for the same table."""
        with tempfile.TemporaryDirectory(dir=self.folder) as home:
            command = [sys.executable, "-m", "benchmarks.pipeline_dlt", self.server.cdc_url, home]
            env = {**os.environ, "HOME": home, "DLT_DATA_DIR": home}
            env["RUNTIME__DLTHUB_TELEMETRY"] = "false"
            done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr[-3000:])
        answer = json.loads(done.stdout.splitlines()[-1])
        if answer["rows"] != self.tables.rows:
            raise SystemExit(f"dlt loaded {answer['rows']:,} rows of {self.tables.rows:,}")
        return float(answer["seconds"])


def _cpu(what: str, seconds: float, rows: int) -> Figure:
    value = round(seconds / rows * 1e6, 3)
    return Figure(
        f"pipeline.{what}.ours_cpu", value, "CPU s/M rows", "of this process, all threads"
    )


if __name__ == "__main__":
    main()
