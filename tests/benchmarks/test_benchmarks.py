"""Every benchmark still runs and says what it promises; how fast anything is, no test asks."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.__main__ import ALL
from benchmarks.sinks import BARE, by_dlt, compare, measure
from benchmarks.sinks_kafka import BareKafka

if TYPE_CHECKING:
    from benchmarks.figures import Figure
    from tests.servers.kafka import KafkaServer

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "benchmarks.md"
READERS = ("limit", "ours", "mysql-replication", "ours_cpu")
WIRE = {
    *(f"binlog.{w}.{r}" for w in ("bulk", "tx", "wide", "unwanted") for r in READERS),
    *(f"resultset.{r}" for r in ("limit", "ours", "ours_cpu", "pymysql", "connectorx")),
    "binlog.huge.ours",
    "binlog.huge.peak_mb",
    "first_decode.seconds",
}
PIPELINE = {
    *(f"pipeline.snapshot.{r}" for r in ("ours", "ours_cpu", "dlt")),
    *(f"pipeline.changes.{r}" for r in ("ours", "ours_cpu", "dagster")),
}
TRANSFORM = {
    *(f"transform.{rule}" for rule in ("none", "projection", "computed")),
    *(f"transform.{rule}_cpu" for rule in ("none", "projection", "computed")),
    *(f"transform.{rule}_ratio" for rule in ("projection", "computed")),
}

SINKS = {
    *(
        f"{sink}.{what}.{who}{cpu}"
        for sink in BARE
        for what in ("load", "merge")
        for who in ("ours", "limit")
        for cpu in ("", "_cpu")
    ),
    *(
        f"{sink}.{what}.{who}"
        for sink in BARE
        for what in ("growth", "growth_newest")
        for who in ("ours", "limit")
    ),
}
PEERS = {
    f"{sink}.{what}.peer{cpu}"
    for sink in ("duckdb", "delta", "iceberg")
    for what in ("load", "merge")
    for cpu in ("", "_cpu")
}
SIZES = (1000, 2000)


def of_sink(name: str) -> set[str]:
    """The figures of one sink, of two sizes."""
    known = {n for n in SINKS if n.startswith(f"{name}.")}
    whole = {n for n in known if ".growth" in n}
    parted = (n.split(".") for n in known - whole)
    return whole | {f"{s}.{what}_{size}.{who}" for s, what, who in parted for size in SIZES}


def figures(*arguments: str) -> dict[str, float]:
    """The figures of one benchmark in a process of its own; each line is one JSON object."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments, "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(set(line) == {"name", "value", "unit"} and line["unit"] for line in lines)
    return {line["name"]: line["value"] for line in lines}


@pytest.mark.server
def test_wire_measures_every_reader_on_every_workload() -> None:
    found = figures("benchmarks.wire", "--scale", "0.0005", "--rounds", "1")
    assert set(found) == WIRE
    assert min(found.values()) > 0


@pytest.mark.server
def test_pipeline_measures_loads_and_changes_and_ends_equal() -> None:
    found = figures("benchmarks.pipeline", "--rows", "2000", "--rounds", "1")
    assert set(found) == PIPELINE
    assert min(found.values()) > 0


def test_transform_measures_every_rule() -> None:
    found = figures("benchmarks.transform", "--batches", "1", "--rounds", "1")
    assert set(found) == TRANSFORM
    assert min(found.values()) > 0


def test_sinks_prints_the_figures_of_the_sinks_asked_for() -> None:
    sizes = map(str, SIZES)
    found = figures("benchmarks.sinks", "--only", "clickhouse", "--rounds", "1", "--rows", *sizes)
    assert set(found) == of_sink("clickhouse")


@pytest.mark.parametrize("name", ["duckdb", "delta", "iceberg", "parquet", "paimon"])
def test_sinks_measures_what_runs_in_this_process(name: str) -> None:
    require_figures(name, measure(name, SIZES, 1, peers=False))


@pytest.mark.server
@pytest.mark.parametrize("name", ["postgres", "mysql"])
def test_sinks_measures_servers_of_its_own(name: str) -> None:
    require_figures(name, measure(name, SIZES, 1, peers=False))


def test_sinks_measures_kafka(kafka: KafkaServer, tmp_path: Path) -> None:
    require_figures("kafka", compare("kafka", BareKafka(tmp_path, kafka), SIZES, 1))


def require_figures(name: str, found: Iterable[Figure]) -> None:
    values = {figure.name: figure.value for figure in found}
    assert set(values) == of_sink(name)
    assert min(value for n, value in values.items() if not n.endswith("_cpu")) > 0


NIGHTLY = pytest.mark.nightly


@pytest.mark.parametrize(
    "name", ["iceberg", pytest.param("duckdb", marks=NIGHTLY), pytest.param("delta", marks=NIGHTLY)]
)
def test_a_peer_loads_and_merges_in_a_process_of_its_own(name: str, tmp_path: Path) -> None:
    loaded, merged = by_dlt(name, 1000, 1, str(tmp_path))
    assert min(loaded.seconds, merged.seconds) > 0


@pytest.mark.parametrize("name", ALL)
def test_every_benchmark_takes_the_options_that_all_are_run_with(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", "--json", "--quick", "--no-such-option"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    # The parser names all it does not know: the two options are not among them.
    assert done.stderr.endswith("unrecognized arguments: --no-such-option\n")


def test_the_page_explains_every_figure() -> None:
    page = PAGE.read_text(encoding="utf-8")
    missing = {
        name for name in WIRE | PIPELINE | TRANSFORM | SINKS | PEERS if f"`{name}`" not in page
    }
    # Readers of one workload stand in one line: `binlog.bulk.{limit,ours}`.
    assert {n for n in missing if f"`{n.rpartition('.')[0]}.{{" not in page} == set()
