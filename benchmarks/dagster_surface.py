"""What Dagster itself costs at a thousand tables: loading them, and a sync that touches a few.

Run as `python -m benchmarks.dagster_surface [--json] [--quick]`.

The sync works on a scripted source and a memory sink, and the engine's own time is taken off:
what is left is the run's start and end, its events and its check results on a SQLite instance.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

from benchmarks.figures import QUIET_JOB, Figure, arguments, show

if TYPE_CHECKING:
    from cdc_assets.engine.report import SyncReport
    from cdc_assets.engine.run import SyncOptions
    from cdc_assets.settings import PipelineSettings

ROUNDS = 3
LOAD = """
import time
import dagster
began = time.perf_counter()
from cdc_assets.definitions import definitions
definitions().get_repository_def().load_all_definitions()
print(time.perf_counter() - began)
"""


def write_pipeline(folder: Path, tables: int) -> None:
    """Write a pipeline file that declares its tables by name."""
    names = ", ".join(f"db.t{i:04}" for i in range(tables))
    (folder / "wide.yaml").write_text(
        "name: wide\n"
        f"source: {{type: mysql, host: db.example.org, user: cdc, tables: [{names}]}}\n"
        "sink: {type: memory}\n"
    )


def load_seconds() -> float:
    """Return the median time to load the code location after `import dagster`."""
    runs = [
        subprocess.run([sys.executable, "-c", LOAD], capture_output=True, text=True, check=True)
        for _ in range(ROUNDS)
    ]
    return statistics.median(float(run.stdout) for run in runs)


def sync_seconds(folder: Path, tables: int, touched: int) -> tuple[float, float]:
    """Return the median time of a sync without and with the engine's share."""
    import dagster as dg

    from cdc_assets import open as opening
    from cdc_assets.connect import engine_options
    from cdc_assets.definitions import definitions
    from cdc_assets.engine import run
    from cdc_assets.engine.pipeline import Pipeline
    from resources.sinks.memory import MemorySink
    from resources.stores.change_log import ChangeLog
    from resources.stores.database import StateDatabase
    from tests.scripted import ScriptedSource

    source = ScriptedSource(slice_transactions=100)
    ids = [source.create(f"t{i:04}") for i in range(tables)]
    engine: list[float] = []

    def open_pipeline(
        settings: PipelineSettings, run_id: str, say: Callable[[str], None]
    ) -> Pipeline:
        db = StateDatabase(f"sqlite:///{folder}/state.db")
        log = ChangeLog(db, settings.name, str(folder / "log"))
        options = engine_options(settings)
        return Pipeline("wide", options, source, lambda: MemorySink("wide"), db, log, run_id, say)

    def timed_sync(pipeline: Pipeline, options: SyncOptions) -> SyncReport:
        began = time.perf_counter()
        try:
            return real_sync(pipeline, options)
        finally:
            engine.append(time.perf_counter() - began)

    real_sync = run.run_sync
    totals: list[float] = []
    with (
        dg.DagsterInstance.local_temp(str(folder)) as instance,
        patch.object(opening, "open_pipeline", open_pipeline),
        patch.object(run, "run_sync", timed_sync),
    ):
        job = definitions().resolve_job_def("wide_sync")
        pipeline = open_pipeline(definitions_settings(), "loads", lambda _line: None)
        for table in ids[:touched]:
            run.run_snapshot(pipeline, table)
        pipeline.close()
        for turn in range(ROUNDS + 1):
            for table in ids[:touched]:
                source.commit((table, turn, (turn, "x")))
            began = time.perf_counter()
            job.execute_in_process(instance=instance, run_config=QUIET_JOB)
            totals.append(time.perf_counter() - began)
    outside = [total - inside for total, inside in zip(totals, engine, strict=True)]
    return statistics.median(outside[1:]), statistics.median(totals[1:])


def definitions_settings() -> PipelineSettings:
    """Return the settings of the one pipeline."""
    from cdc_assets.settings import load_pipelines, pipelines_folder

    (settings,) = load_pipelines(pipelines_folder())
    return settings


def main() -> None:
    """Print both numbers, as text or as JSON lines."""
    parser = arguments(__doc__)
    parser.add_argument("--tables", type=int, help="1000, or 100 with --quick")
    parser.add_argument("--touched", type=int, default=20)
    chosen = parser.parse_args()
    tables: int = chosen.tables or (100 if chosen.quick else 1000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pipelines = folder / "pipelines"
        pipelines.mkdir()
        write_pipeline(pipelines, tables)
        os.environ |= {"CDC_PIPELINES": str(pipelines), "CDC_HOME": str(folder)}
        loading = load_seconds()
        outside, total = sync_seconds(folder, tables, chosen.touched)
    results = [
        (f"load {tables} tables beyond import dagster", loading),
        (f"Dagster time of a sync of {chosen.touched} in {tables} tables", outside),
        (f"whole sync of {chosen.touched} in {tables} tables", total),
    ]
    show((Figure(label, round(seconds, 3), "s") for label, seconds in results), chosen.json)


if __name__ == "__main__":
    main()
