"""Opening sinks by name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from resources.errors import ConfigError
from resources.sinks.contract import Sink
from resources.sinks.registry import open_sink


def test_known_sinks(tmp_path: object) -> None:
    for name, options in (
        ("memory", {"name": "registry"}),
        ("duckdb", {"path": f"{tmp_path}/a"}),
        ("delta", {"location": f"{tmp_path}/b"}),
        ("iceberg", {"location": f"{tmp_path}/i"}),
        ("paimon", {"location": f"{tmp_path}/w"}),
        ("parquet", {"location": f"{tmp_path}/p"}),
        ("postgres", {"url": "postgresql://localhost/lake"}),
        ("clickhouse", {"path": f"{tmp_path}/c"}),
        ("mysql", {"host": "localhost", "user": "cdc"}),
    ):
        assert isinstance(open_sink(name, options), Sink)


def test_unknown_sinks_and_options() -> None:
    with pytest.raises(ConfigError, match=r"use one of .*duckdb, .*memory"):
        open_sink("oracle", {})
    with pytest.raises(ConfigError, match=r"unknown: file; missing: path"):
        open_sink("duckdb", {"file": "x"})


def test_a_driver_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.startswith("resources.sinks.paimon")]:
        monkeypatch.delitem(sys.modules, name)
    for name in [n for n in sys.modules if n.partition(".")[0] == "pypaimon"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pypaimon", None)
    with pytest.raises(ConfigError, match=r"(?s)'pypaimon'.*not installed.*docs/paimon\.md"):
        open_sink("paimon", {"location": "x"})


def test_modules_are_loaded_when_used() -> None:
    code = (
        "import sys, resources.sinks.registry; "
        "sys.exit('duckdb' in sys.modules or 'psycopg' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
