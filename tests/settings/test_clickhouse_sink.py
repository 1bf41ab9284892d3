"""The ClickHouse sink in a pipeline file."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc_assets.connect import engine_options, sink_opener
from cdc_assets.open import build_resources
from resources.errors import ConfigError
from resources.sinks.clickhouse import ClickHouseSink
from tests.settings.test_connect import settings_of

SOURCE = {"type": "sql", "url": "sqlite:///x.db", "tables": ["main.*"]}


def test_a_clickhouse_server_opens(tmp_path: Path) -> None:
    sink = {"type": "clickhouse", "host": "h", "user": "u", "password": "${env:PW}"}
    settings = settings_of(tmp_path, SOURCE, {**sink, "ca": "ca.pem", "max_connections": 2})
    assert "p@ss" not in repr(build_resources(settings)["a_sink"].options)
    resolved = settings.resolve({"PW": "p@ss"})
    assert engine_options(resolved).writers == 2
    with sink_opener(resolved)() as opened:
        assert isinstance(opened, ClickHouseSink)
        place = opened._server.place
        assert (place.host, place.port, place.path) == ("h", 8443, "")
        assert place.options["password"] == "p@ss"
        assert place.options["secure"] is place.options["verify"] is True
        assert place.options["ca_cert"] == str(Path("ca.pem").resolve())
        assert "p@ss" not in repr(place)
        assert opened.capabilities.parallel_writers
        assert not opened.capabilities.transactions


def test_the_engine_in_the_process_opens(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, SOURCE, {"type": "clickhouse", "path": "lake"})
    assert engine_options(settings).writers == 1
    with sink_opener(settings)() as opened:
        assert isinstance(opened, ClickHouseSink)
        assert opened._server.place.path == str(Path("lake").resolve())
        assert opened.capabilities.max_connections == 1


@pytest.mark.parametrize(
    ("sink", "said"),
    [
        ({}, "exactly one of `host` and `path`"),
        ({"host": "h", "path": "p"}, "exactly one of `host` and `path`"),
        ({"path": "p", "user": "u", "secure": False}, "`path` has no `user`, `secure`"),
        ({"path": "p", "final_view": "final"}, "needs `{table}`"),
    ],
)
def test_places_of_a_clickhouse_sink(tmp_path: Path, sink: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        settings_of(tmp_path, SOURCE, {"type": "clickhouse", **sink})
