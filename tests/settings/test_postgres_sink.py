"""The PostgreSQL sink in a pipeline file."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc_assets.connect import sink_opener
from cdc_assets.open import build_resources
from resources.errors import ConfigError
from resources.sinks.postgres import PostgresSink
from tests.settings.test_connect import settings_of

SOURCE = {"type": "sql", "url": "sqlite:///x.db", "tables": ["main.*"]}


def test_a_postgres_sink_opens(tmp_path: Path) -> None:
    plain = {"type": "postgres", "host": "h", "user": "u", "database": "d"}
    plain |= {"password": "${env:PW}", "max_connections": 2, "sslrootcert": "ca.pem"}
    for sink in (plain, {"type": "postgres", "url": "postgresql+psycopg://u:${env:PW}@h/d"}):
        settings = settings_of(tmp_path, SOURCE, sink)
        options = build_resources(settings)["a_sink"].options
        assert "p@ss" not in repr(options)
        with sink_opener(settings.resolve({"PW": "p@ss"}))() as opened:
            assert isinstance(opened, PostgresSink)
            place = opened._database._place
        names = ("host", "port", "user", "dbname", "password")
        assert [place.parameters.get(k) for k in names] == ["h", "5432", "u", "d", "p@ss"]
        assert place.parameters["sslmode"] == "verify-full"
        assert opened.capabilities.max_connections == sink.get("max_connections", 4)


def test_tls_in_the_url_of_a_postgres_sink_holds(tmp_path: Path) -> None:
    sink = {"type": "postgres", "url": "postgresql://u@h/d?sslmode=disable"}
    with sink_opener(settings_of(tmp_path, SOURCE, sink))() as opened:
        assert isinstance(opened, PostgresSink)
        assert opened._database._place.parameters["sslmode"] == "disable"


@pytest.mark.parametrize(
    ("sink", "said"),
    [
        ({"host": "h", "url": "postgresql://u@h/d"}, "exactly one of `host` and `url`"),
        ({}, "exactly one of `host` and `url`"),
        ({"host": "h", "user": "u"}, "needs `user` and `database`"),
        ({"url": "postgresql://u@h/d", "user": "u"}, "already says `user`"),
    ],
)
def test_addresses_of_a_postgres_sink(tmp_path: Path, sink: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        settings_of(tmp_path, SOURCE, {"type": "postgres", **sink})
