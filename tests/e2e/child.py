"""One run of a pipeline in a process of its own, so that a test can kill it for real."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from cdc_assets.engine.pipeline import EngineOptions, Pipeline
from cdc_assets.engine.run import run_snapshot, run_sync
from cdc_assets.engine.sharing import join_log
from resources.model.source import Source
from resources.model.table import TableId
from resources.mysql.binlog.options import ZeroDates
from resources.mysql.connection import MySQLSettings
from resources.mysql.source import MySQLSource
from resources.sinks.contract import Sink
from resources.sinks.delta import DeltaSink
from resources.sinks.duckdb import DuckDBSink
from resources.sinks.mysql import MySQLSink
from resources.sinks.parquet import ParquetSink
from resources.sinks.postgres import PostgresSink
from resources.sql.source import SqlPollingSource
from resources.stores.change_log import ChangeLog
from resources.stores.database import StateDatabase
from tests.processes import CONTEXT

KILLED = -signal.SIGKILL
CRASHED = 137


@dataclass(frozen=True)
class Setup:
    """Where a pipeline's run finds everything.

    Args:
        settings: How to reach the source.
        database: The source database.
        home: Folder for state, change log and the DuckDB file.
        options: Engine options over the test's own defaults.
        tables: Pattern of the tables.
        postgres: URL of the PostgreSQL database that takes the tables; the DuckDB file if empty.
        mysql: Options of the MySQL sink that takes them, if any.
        clickhouse: Folder of the ClickHouse engine that takes the tables, likewise.
        delta: Place of the Delta tables that take the rows, in place of the DuckDB file.
        kafka: Options of the Kafka sink that takes the changes, if any.
        iceberg: Place of the Iceberg tables that take them, likewise.
        paimon: Place of the Paimon tables that take them, likewise.
        parquet: Place of the Parquet tables that take them, likewise.
        name: The pipeline's name.
        stops: Whether a run may leave tables stopped and still end well.
        polled: URL of the source if its tables are polled; `settings` are not looked at then.
        log: The change log's name, if other sinks share it.
        siblings: Names of their pipelines.
    """

    settings: MySQLSettings
    database: str
    home: Path
    options: dict[str, Any] = field(default_factory=dict)
    tables: str = "*"
    postgres: str = ""
    mysql: tuple[tuple[str, Any], ...] = ()
    clickhouse: str = ""
    delta: str = ""
    kafka: tuple[tuple[str, Any], ...] = ()
    iceberg: str = ""
    paimon: str = ""
    parquet: str = ""
    name: str = "p"
    stops: bool = False
    polled: str = ""
    log: str = ""
    siblings: tuple[str, ...] = ()

    @property
    def lake(self) -> Path:
        return self.home / "lake.duckdb"


def open_pipeline(setup: Setup, zero_dates: ZeroDates = "null") -> Pipeline:
    """Open the pipeline as a run would."""
    patterns = [f"{setup.database}.{setup.tables}"]
    defaults: dict[str, Any] = {
        "chunk_rows": 40,
        "parallel": 2,
        "segment_rows": 300,
        "apply_rows": 200,
        "sink_hold": 0.3,
        "wait_for_capture": 30.0,
    }
    selected = json.dumps({"include": patterns, "exclude": []})
    options = EngineOptions(selected, **{**defaults, **setup.options})
    name = f"{setup.database}_{setup.log or setup.name}"
    source: Source
    if setup.polled:
        source = SqlPollingSource(
            setup.polled, pipeline=name, include=patterns, connect_args={"tls": "off"}
        )
    else:
        source = MySQLSource(
            setup.settings,
            pipeline=name,
            include=patterns,
            watched=options.watched,
            zero_dates=zero_dates,
        )
    db = StateDatabase(f"sqlite:///{setup.home}/state.db")
    shared = setup.log or setup.name
    log = ChangeLog(db, shared, str(setup.home / f"log-{shared}"))
    run_id = f"run {os.getpid()}"
    pipeline = Pipeline(
        setup.name,
        options,
        source,
        lambda: open_sink(setup),
        db,
        log,
        run_id,
        place=setup.name,
        siblings=setup.siblings,
    )
    join_log(pipeline)
    return pipeline


def open_sink(setup: Setup) -> Sink:
    """Open the sink of a pipeline."""
    if setup.clickhouse:
        from resources.sinks.clickhouse import ClickHouseSink  # its engine is large

        return ClickHouseSink(setup.clickhouse)
    if setup.delta:
        return DeltaSink(setup.delta, types={"decimal_overflow": "text"})
    if setup.parquet:
        return ParquetSink(setup.parquet, types={"decimal_overflow": "text"})
    if setup.paimon:
        from resources.sinks.paimon import PaimonSink  # pypaimon takes a second to import

        return PaimonSink(setup.paimon, types={"decimal_overflow": "text"}, buckets=2)
    if setup.iceberg:
        from resources.sinks.iceberg import IcebergSink  # pyiceberg takes a second to import

        return IcebergSink(setup.iceberg, types={"decimal_overflow": "text"})
    if setup.kafka:
        from resources.sinks.kafka import KafkaSink  # its library starts threads

        return KafkaSink(**dict(setup.kafka))
    if setup.mysql:
        return MySQLSink(**dict(setup.mysql))
    return PostgresSink(setup.postgres) if setup.postgres else DuckDBSink(str(setup.lake))


def _main(setup: Setup, job: str, failpoint: str | None) -> None:
    if failpoint is not None:
        os.environ["CDC_FAILPOINT"] = failpoint
    sys.stderr = (setup.home / "stderr.log").open("a", buffering=1)
    pipeline = open_pipeline(setup)
    try:
        if job == "sync":
            report = run_sync(pipeline)
            bad = [t for t in report.tables.values() if t.outcome in ("stopped", "behind")]
            if bad and not setup.stops:
                raise SystemExit(f"tables stopped: {[(str(t.table), t.reason) for t in bad]}")
        else:
            run_snapshot(pipeline, TableId(setup.database, job))
    finally:
        pipeline.close()


def start(setup: Setup, job: str, failpoint: str | None = None) -> BaseProcess:
    """Start `sync`, or the snapshot of the table `job` names."""
    process = CONTEXT.Process(target=_main, args=(setup, job, failpoint), daemon=True)
    process.start()
    return process


def run(
    setup: Setup, job: str, failpoint: str | None = None, kill_after: float | None = None
) -> bool:
    """Run a job, perhaps to its violent end.

    Returns:
        Whether it ended well; False if it was killed.

    Raises:
        AssertionError: It failed by itself.
    """
    process = start(setup, job, failpoint)
    if kill_after is not None:
        time.sleep(kill_after)
        process.kill()
    process.join(120)
    if process.exitcode is None:
        process.kill()
        raise AssertionError(f"{job} did not end in 120 s\n{tail(setup)}")
    if process.exitcode in (KILLED, CRASHED):
        return False
    assert process.exitcode == 0, f"{job} ended with {process.exitcode}\n{tail(setup)}"
    return True


def tail(setup: Setup) -> str:
    log = setup.home / "stderr.log"
    return log.read_text()[-4000:] if log.exists() else ""
