"""A folder with pipeline files and everything a code location keeps, in one place per test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import duckdb
import yaml

from cdc_assets import naming
from cdc_assets.definitions import definitions
from tests.servers.base import CDC_PASSWORD, CDC_USER

if TYPE_CHECKING:
    from tests.servers.family import FamilyServer

CHECKOUT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PASSWORD_VARIABLE = "CDC_TEST_PASSWORD"


@dataclass
class Room:
    """One code location: a folder of pipeline files, its state and its targets.

    Attributes:
        home: Everything lies below it.
        instance: The Dagster instance of runs in this process.
    """

    home: Path
    instance: dg.DagsterInstance
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def pipelines(self) -> Path:
        return self.home / "pipelines"

    @property
    def lake(self) -> Path:
        return self.home / "lake.duckdb"

    @property
    def env(self) -> dict[str, str]:
        return {
            "CDC_PIPELINES": str(self.pipelines),
            "CDC_HOME": str(self.home),
            PASSWORD_VARIABLE: CDC_PASSWORD,
            **self.variables,
        }

    def write(self, content: Mapping[str, Any]) -> str:
        """Write a pipeline file and return the pipeline's name."""
        name = str(content["name"])
        (self.pipelines / f"{name}.yaml").write_text(yaml.safe_dump(dict(content)))
        return name

    def write_mysql(
        self, server: FamilyServer, database: str, name: str = "shop", **sections: Any
    ) -> str:
        """Write a pipeline from a database of a MySQL-family server into the lake."""
        source = {
            "type": server.kind,
            "host": server.host,
            "port": server.port,
            "user": CDC_USER,
            "password": f"${{env:{PASSWORD_VARIABLE}}}",
            "tables": [f"{database}.*"],
            "tls": {"mode": "off"},
        } | sections.pop("source", {})
        return self.write(
            {
                "name": name,
                "source": source,
                "sink": {"type": "duckdb", "path": str(self.lake)},
                **sections,
            }
        )

    def load(self) -> dg.Definitions:
        """Load the code location as Dagster does."""
        return definitions()

    def execute(
        self, job: str, *, partition: str | None = None, config: dict[str, Any] | None = None
    ) -> dg.ExecuteInProcessResult:
        """Run a job in this process; a failed one is returned, not raised."""
        return (
            self.load()
            .resolve_job_def(job)
            .execute_in_process(
                instance=self.instance,
                run_config=config,
                partition_key=partition,
                raise_on_error=False,
            )
        )

    def command(self, *argv: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run one of the virtual environment's commands in the checkout."""
        return subprocess.run(
            [str(BIN / argv[0]), *argv[1:]],
            cwd=CHECKOUT,
            env={**os.environ, **self.env, "PATH": f"{BIN}:{os.environ['PATH']}", **more},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def target(self, database: str, table: str, order: str = "id") -> list[tuple[Any, ...]]:
        """Return a target table's rows."""
        with duckdb.connect(str(self.lake), read_only=True) as lake:
            return lake.sql(f'SELECT * FROM "{database}"."{table}" ORDER BY {order}').fetchall()

    def events(self, key: list[str]) -> list[dg.EventLogEntry]:
        """Return the materializations of an asset, newest first."""
        result = self.instance.fetch_materializations(dg.AssetKey(key), limit=100)
        return [record.event_log_entry for record in result.records]


def rows_of(server: FamilyServer, table: str, order: str = "id") -> list[tuple[Any, ...]]:
    """Return a source table's rows."""
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table} ORDER BY {order}")
        return [tuple(row) for row in cursor.fetchall()]


def run_sql(server: FamilyServer, *statements: str) -> None:
    """Run statements, each its own transaction."""
    with server.connect() as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def partitions(instance: dg.DagsterInstance, pipeline: str) -> list[str]:
    """Return the partitions of a pipeline's snapshot."""
    return list(instance.get_dynamic_partitions(naming.table_partitions_name(pipeline)))
