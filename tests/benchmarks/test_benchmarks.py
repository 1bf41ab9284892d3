"""Every benchmark still runs and says what it promises; how fast anything is, no test asks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import ALL
from benchmarks.sinks import BARE

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
    f"{sink}.{what}.{who}"
    for what in ("load", "merge")
    for who, sinks in (
        ("ours", BARE),
        ("limit", BARE),
        ("peer", ("duckdb", "delta")),
    )
    for sink in sinks
}


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


@pytest.mark.server
def test_sinks_measures_loads_and_merges_of_every_sink() -> None:
    found = figures("benchmarks.sinks", "--rows", "5000", "--rounds", "1")
    assert {name.replace("_small", "") for name in found} == SINKS
    assert min(found.values()) > 0


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
    missing = {name for name in WIRE | PIPELINE | TRANSFORM | SINKS if f"`{name}`" not in page}
    # Readers of one workload stand in one line: `binlog.bulk.{limit,ours}`.
    assert {n for n in missing if f"`{n.rpartition('.')[0]}.{{" not in page} == set()
