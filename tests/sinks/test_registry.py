"""Opening sinks by name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from resources.errors import ConfigError, NotBuiltYet
from resources.sinks.contract import Sink
from resources.sinks.registry import open_sink


def test_known_sinks(tmp_path: object) -> None:
    for name, options in (
        ("memory", {"name": "registry"}),
        ("duckdb", {"path": f"{tmp_path}/a"}),
        ("delta", {"location": f"{tmp_path}/b"}),
        ("iceberg", {"location": f"{tmp_path}/i"}),
        ("parquet", {"location": f"{tmp_path}/p"}),
        ("postgres", {"url": "postgresql://localhost/lake"}),
        ("clickhouse", {"path": f"{tmp_path}/c"}),
        ("mysql", {"host": "localhost", "user": "cdc"}),
    ):
        assert isinstance(open_sink(name, options), Sink)


@pytest.mark.parametrize("name", ["paimon"])
def test_sinks_of_later_are_refused_by_name(name: str) -> None:
    with pytest.raises(NotBuiltYet, match=name):
        open_sink(name, {})


def test_unknown_sinks_and_options() -> None:
    with pytest.raises(ConfigError, match=r"use one of .*duckdb, .*memory"):
        open_sink("oracle", {})
    with pytest.raises(ConfigError, match=r"unknown: file; missing: path"):
        open_sink("duckdb", {"file": "x"})


def test_modules_are_loaded_when_used() -> None:
    code = (
        "import sys, resources.sinks.registry; "
        "sys.exit('duckdb' in sys.modules or 'psycopg' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
