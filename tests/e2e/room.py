"""One pipeline from a database of a real server to its target, and how tests of this folder use it.

In: a server, and where the pipeline finds everything. Out: `Line`. Its runs are this process's own,
but for those that are killed: each of these is a process, which SIGKILL ends at a named point.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from cdc_assets.engine.pipeline import Pipeline
from cdc_assets.engine.report import SyncReport
from cdc_assets.engine.run import run_snapshot, run_sync
from resources.model.table import TableId
from resources.mysql.binlog.options import ZeroDates
from resources.mysql.source import MySQLSource
from resources.sinks.contract import Sink, TargetId
from tests import oracle
from tests.e2e import child
from tests.mysql.room import read_table
from tests.servers.family import FamilyServer

NIGHTLY = pytest.mark.nightly


class Line:
    """A pipeline over one database.

    Args:
        server: The database's server.
        setup: The pipeline's own.
        zero_dates: What it does with the date 0000-00-00.
    """

    def __init__(
        self, server: FamilyServer, setup: child.Setup, zero_dates: ZeroDates = "null"
    ) -> None:
        self.server, self.setup, self.zero_dates = server, setup, zero_dates

    def configure(self, **options: Any) -> None:
        """Give the pipeline other engine options, as an edit of its file would."""
        self.setup = replace(self.setup, options={**self.setup.options, **options})

    @property
    def database(self) -> str:
        return self.setup.database

    def table(self, name: str) -> TableId:
        return TableId(self.database, name)

    def execute(self, *statements: str) -> None:
        """Run statements in the source database, each committed by itself."""
        connection = self.server.connect(database=self.database)
        with connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def select(self, query: str) -> list[dict[str, Any]]:
        """Rows of the source database."""
        connection = self.server.connect(database=self.database)
        with connection, connection.cursor() as cursor:
            cursor.execute(query)
            names = [d[0] for d in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    @contextlib.contextmanager
    def pipeline(self) -> Iterator[Pipeline]:
        """Open it as a run would."""
        with contextlib.closing(child.open_pipeline(self.setup, self.zero_dates)) as pipeline:
            yield pipeline

    def sync(self) -> SyncReport:
        with self.pipeline() as pipeline:
            return run_sync(pipeline)

    def followed(self) -> dict[str, str]:
        """Sync; status by table."""
        self.sync()
        return self.states()

    def outcomes(self) -> dict[str, tuple[str, str]]:
        """Sync; outcome and reason by table."""
        return {t.table: (r.outcome, r.reason) for t, r in self.sync().tables.items()}

    def load(self, *tables: str) -> None:
        with self.pipeline() as pipeline:
            for table in tables:
                run_snapshot(pipeline, self.table(table))

    def is_killed(self, point: str, count: int = 1) -> bool:
        """Sync in a process that is killed when it reaches a point for the `count`-th time.

        Returns:
            Whether it reached it; else it ended well.
        """
        return not child.run(self.setup, "sync", f"{point}:kill:{count}")

    def die_at(self, points: Iterable[str]) -> None:
        """Sync and be killed at each point in turn, every process going on where the last died."""
        for point in points:
            assert self.is_killed(point), f"no run came to {point}"

    def states(self) -> dict[str, str]:
        """Status by table."""
        with self.pipeline() as pipeline:
            return {t.table: s.status for t, s in pipeline.tables.all().items()}

    @contextlib.contextmanager
    def sink(self) -> Iterator[Sink]:
        with contextlib.closing(child.open_sink(self.setup)) as sink:
            yield sink

    def require_equal(self, *tables: str) -> None:
        """Tables in the DuckDB file are what the judge of all tests reads at the source."""
        connection = self.server.connect()
        for table in tables:
            there = oracle.mysql_rows(connection, self.database, table)
            here = oracle.duckdb_rows(str(self.setup.lake), self.database, table)
            assert not (difference := oracle.compare(table, there, here)), difference
        connection.close()

    def target(self, name: str) -> pa.Table:
        """All rows of a target, `namespace.table` or a table of the database's own name."""
        with self.sink() as sink:
            return sink.read_table(self._target(name))

    def has(self, name: str) -> bool:
        """Whether there is a target of that name, spelled as in `target`."""
        with self.sink() as sink:
            return sink.read_schema(self._target(name)) is not None

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Rows of a target by their `id`."""
        return sorted(self.target(name).to_pylist(), key=_id)

    def loadable(self, name: str) -> list[dict[str, Any]]:
        """Rows of a source table by their `id`, as a load would have them."""
        table = self.table(name)
        with self.pipeline() as pipeline:
            source = pipeline.source
            schema = source.read_schemas([table])[table]
            assert isinstance(source, MySQLSource)
            return sorted(read_table(source, schema).to_pylist(), key=_id)

    def _target(self, name: str) -> TargetId:
        namespace, _, table = name.rpartition(".")
        return TargetId(namespace or self.database, table)


def _id(row: dict[str, Any]) -> int:
    return int(row["id"])
