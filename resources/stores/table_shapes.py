"""Shape records: what a source wants to be told again when its log is read on.

In: the records of a segment, in the transaction that commits it. Out: the newest of each table, so
that they are always those of the log's end.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, bindparam, delete, insert, select

from resources.model.change import ShapeRecord
from resources.model.table import TableId
from resources.stores.tables import table_shapes


class TableShapes:
    """The shape records of one pipeline.

    Args:
        pipeline: The pipeline's name.
    """

    def __init__(self, pipeline: str) -> None:
        self._pipeline = pipeline

    def save(self, conn: Connection, records: Iterable[ShapeRecord]) -> None:
        """Keep, in the caller's transaction, records in place of older ones of their tables.

        Args:
            conn: The transaction.
            records: In order; the last one of a table counts, an empty text removes it.
        """
        newest = {record.table: record.text for record in records}
        if not newest:
            return
        t = table_shapes.c
        older = delete(table_shapes).where(
            t.pipeline == self._pipeline,
            t.database_name == bindparam("database"),
            t.table_name == bindparam("name"),
        )
        conn.execute(older, [{"database": i.database, "name": i.table} for i in newest])
        rows = [
            {
                "pipeline": self._pipeline,
                "database_name": table.database,
                "table_name": table.table,
                "shape": text,
            }
            for table, text in newest.items()
            if text
        ]
        if rows:
            conn.execute(insert(table_shapes), rows)

    def load(self, conn: Connection) -> dict[TableId, str]:
        """Return the text of every record."""
        t = table_shapes.c
        query = select(t.database_name, t.table_name, t.shape).where(t.pipeline == self._pipeline)
        return {TableId(db, name): text for db, name, text in conn.execute(query)}
