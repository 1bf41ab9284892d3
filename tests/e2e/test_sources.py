"""One pipeline file with two servers under random changes: one right table each, an outage amid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from cdc_assets.engine.run import run_snapshot, run_sync
from cdc_assets.open import opened
from cdc_assets.settings import PipelineFile, PipelineSettings, load_pipeline
from resources.errors import TransientError
from resources.model.table import TableId
from tests import oracle
from tests.e2e.random_dml import TABLES, RandomDml
from tests.servers.base import CDC_PASSWORD, CDC_USER
from tests.servers.proxy import FaultProxy


class Servers:
    """A MySQL and, behind a proxy, a MariaDB; the file that names both; their target."""

    def __init__(self, home: Path, servers: dict[str, tuple[Any, str]], proxy: FaultProxy) -> None:
        self.home, self.servers = home, servers
        ports = {"eu": servers["eu"][0].port, "us": proxy.port}
        sources = {
            name: {
                "type": server.kind,
                "host": server.host,
                "port": ports[name],
                "user": CDC_USER,
                "password": "${env:SOURCES_PASSWORD}",
                "tables": [f"{database}.*"],
                "tls": {"mode": "off"},
                "connect_timeout": "2s",
            }
            for name, (server, database) in servers.items()
        }
        route = {
            "source": r"/.*\.(plain|paired|dated)/",
            "target": "dw.{1}",
            "shard": {"columns": {"region": "{source}"}, "in_key": True},
        }
        content = {
            "name": "shop",
            "sources": sources,
            "sink": {"type": "duckdb", "path": str(home / "lake.duckdb")},
            "route": [route],
        }
        (home / "shop.yaml").write_text(yaml.safe_dump(content))

    @property
    def file(self) -> PipelineFile:
        return load_pipeline(self.home / "shop.yaml")

    def load(self, member: PipelineSettings, source: str) -> None:
        with opened(member, "load") as pipeline:
            for table in TABLES:
                run_snapshot(pipeline, TableId(self.servers[source][1], table))

    def sync(self, source: str) -> None:
        (member,) = (m for m in self.file.members() if m.name == f"shop__{source}")
        with opened(member, "sync") as pipeline:
            report = run_sync(pipeline)
            assert {r.outcome for r in report.tables.values()} <= {"applied", "current"}

    def differences(self, source: str) -> list[str]:
        """Return how the rows of one server in the targets differ from it, in words."""
        server, database = self.servers[source]
        found = []
        with server.connect() as connection:
            for table in TABLES:
                target = oracle.duckdb_rows(str(self.home / "lake.duckdb"), "dw", table)
                mine = [row[:-2] for row in target if row[-2] == source]
                assert {row[-1] for row in target if row[-2] == source} <= {
                    f"shop__{source}/{database}.{table}"
                }
                rows = oracle.mysql_rows(connection, database, table)
                if difference := oracle.compare(table, rows, mine):
                    found.append(str(difference))
        return found


def test_two_servers_end_in_one_right_table_while_one_of_them_goes_away_and_comes_back(
    mysql: Any,
    mariadb: Any,
    mysql_db: str,
    mariadb_db: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CDC_HOME", str(tmp_path))
    monkeypatch.setenv("SOURCES_PASSWORD", CDC_PASSWORD)
    servers = {"eu": (mysql, mysql_db), "us": (mariadb, mariadb_db)}
    writers = {name: RandomDml(s.connect, db, 7, 2) for name, (s, db) in servers.items()}
    with FaultProxy(mariadb.host, mariadb.port) as proxy:
        room = Servers(tmp_path, servers, proxy)
        for writer in writers.values():
            writer.create(30)
            writer.start()
        try:
            for member, source in zip(room.file.members(), servers, strict=True):
                room.load(member, source)
            for source in ("us", "eu", "us"):
                room.sync(source)
            proxy.refuse()
            proxy.drop()
            writers["eu"].stop()
            with pytest.raises(TransientError):
                room.sync("us")
            room.sync("eu")
            assert room.differences("eu") == []
        finally:
            for writer in writers.values():
                writer.stop()
        assert room.differences("us"), "the outage hid nothing"
        proxy.refuse(False)
        room.sync("us")
        assert room.differences("us") == []
        assert room.differences("eu") == []
    assert min(w.transactions for w in writers.values()) > 10
