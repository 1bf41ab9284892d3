"""A pipeline over one database of a server, for tests of what a run makes of single statements."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from cdc_assets.engine.pipeline import Pipeline
from cdc_assets.engine.run import run_snapshot, run_sync
from resources.model.table import TableId
from resources.sinks.contract import TargetId
from tests.e2e import child
from tests.mysql.room import tcp_settings


class Line:
    """A pipeline over one database, its tables never read again by the run itself."""

    def __init__(self, server: Any, database: str, home: Path, postgres: str) -> None:
        self.server, self.database = server, database
        options = {"reread": False}
        self.setup = child.Setup(tcp_settings(server), database, home, options, postgres=postgres)

    def configure(self, **options: Any) -> None:
        self.setup = replace(self.setup, options={**self.setup.options, **options})

    def execute(self, *statements: str) -> None:
        connection = self.server.connect(database=self.database)
        with connection, connection.cursor() as cursor:
            cursor.execute("SET sql_mode = ''")  # rows may leave out what has no default
            for statement in statements:
                cursor.execute(statement)

    @contextmanager
    def pipeline(self) -> Iterator[Pipeline]:
        with closing(child.open_pipeline(self.setup)) as pipeline:
            yield pipeline

    def load(self, *tables: str) -> None:
        for table in tables:
            with self.pipeline() as pipeline:
                run_snapshot(pipeline, TableId(self.database, table))

    def sync(self) -> dict[str, str]:
        with self.pipeline() as pipeline:
            run_sync(pipeline)
            return {t.table: s.status for t, s in pipeline.tables.all().items()}

    def source(self, table: str) -> list[dict[str, Any]]:
        """The rows as a fresh load has them."""
        with self.pipeline() as pipeline:
            name = TableId(self.database, table)
            schema = pipeline.source.read_schemas([name])[name]
            from tests.mysql.room import WHOLE

            parts = pipeline.source.read_chunk(schema, WHOLE)  # type: ignore[attr-defined]
            return sorted((r for p in parts for r in p.rows.to_pylist()), key=lambda r: r["id"])

    def target(self, table: str, namespace: str = "") -> list[dict[str, Any]]:
        with closing(child.open_sink(self.setup)) as sink:
            rows = sink.read_table(TargetId(namespace or self.database, table)).to_pylist()
            return sorted(rows, key=lambda row: row["id"])

    def has(self, table: str) -> bool:
        """Whether the sink has a table of that name."""
        with closing(child.open_sink(self.setup)) as sink:
            return sink.read_schema(TargetId(self.database, table)) is not None
