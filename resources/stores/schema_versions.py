"""Schema versions: every shape a table had in the log, kept as long as the log.

In: schemas of captured rows. Out: the schema of a block, by its fingerprint.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import Connection, select

from resources.errors import ContinuityBroken
from resources.model.table import TableId, TableSchema, schema_from_json
from resources.stores.database import StateDatabase
from resources.stores.tables import schema_versions


class SchemaVersions:
    """The schema versions of one pipeline.

    Args:
        db: The state database.
        pipeline: The pipeline's name.
    """

    def __init__(self, db: StateDatabase, pipeline: str) -> None:
        self._db = db
        self._pipeline = pipeline
        self._known: dict[tuple[TableId, str], TableSchema] = {}

    def save(self, conn: Connection, schemas: Sequence[TableSchema]) -> None:
        """Keep, in the caller's transaction, the versions that are not kept yet."""
        now = self._db.now_us(conn)
        rows = [
            {
                "pipeline": self._pipeline,
                "database_name": schema.table.database,
                "table_name": schema.table.table,
                "fingerprint": schema.fingerprint(),
                "table_schema": json.dumps(schema.to_json()),
                "first_seen_us": now,
            }
            for schema in schemas
        ]
        self._db.insert_missing(conn, schema_versions, rows)

    def load(self, fingerprint: str, table: TableId) -> TableSchema:
        """Return a version.

        Raises:
            ContinuityBroken: It was never kept.
        """
        known = self._known.get((table, fingerprint))
        if known is not None:
            return known
        v = schema_versions.c
        query = select(v.table_schema).where(
            v.pipeline == self._pipeline,
            v.database_name == table.database,
            v.table_name == table.table,
            v.fingerprint == fingerprint,
        )
        with self._db.read() as conn:
            text = conn.scalar(query)
        if text is None:
            raise ContinuityBroken(
                f"the state store has no schema version {fingerprint} of {table}",
                where=self._pipeline,
                remedy="put back the state database that belongs to this change log",
            )
        schema = schema_from_json(json.loads(text))
        self._known[table, fingerprint] = schema
        return schema

    def list_versions(self, table: TableId) -> list[TableSchema]:
        """Return every version of a table, the one seen last first."""
        v = schema_versions.c
        query = (
            select(v.table_schema)
            .where(
                v.pipeline == self._pipeline,
                v.database_name == table.database,
                v.table_name == table.table,
            )
            .order_by(v.first_seen_us.desc(), v.fingerprint)
        )
        with self._db.read() as conn:
            return [schema_from_json(json.loads(text)) for text in conn.scalars(query)]
