"""The MySQL sink in a pipeline file."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc_assets.connect import engine_options, sink_opener
from cdc_assets.open import build_resources
from resources.errors import ConfigError
from resources.sinks.mysql import MySQLSink
from tests.settings.test_connect import settings_of

SOURCE = {"type": "sql", "url": "sqlite:///x.db", "tables": ["main.*"]}


def test_a_mysql_sink_opens(tmp_path: Path) -> None:
    tcp = {"host": "h", "tls": {"mode": "require", "ca": "ca.pem"}, "max_connections": 2}
    for place in (tcp, {"socket": "/run/s.sock"}):
        sink = {"type": "mysql", "user": "u", "password": "${env:PW}", **place}
        settings = settings_of(tmp_path, SOURCE, sink)
        assert "p@ss" not in repr(build_resources(settings)["a_sink"].options)
        assert engine_options(settings).writers == place.get("max_connections", 4)
        with sink_opener(settings.resolve({"PW": "p@ss"}))() as opened:
            assert isinstance(opened, MySQLSink)
            found = opened._database._place.settings
        assert (found.user, found.password) == ("u", "p@ss")
        if "host" in place:
            assert (found.host, found.port, found.tls) == ("h", 3306, "require")
        else:
            assert found.socket == "/run/s.sock"


@pytest.mark.parametrize(
    ("sink", "said"),
    [
        ({"host": "h", "socket": "s"}, "exactly one of `host` and `socket`"),
        ({}, "exactly one of `host` and `socket`"),
        ({"socket": "s", "port": 3306}, "`socket` has no `port`"),
    ],
)
def test_addresses_of_a_mysql_sink(tmp_path: Path, sink: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        settings_of(tmp_path, SOURCE, {"type": "mysql", "user": "u", **sink})
