"""The shape of each feed: what a source table's rows looked like when they were last applied.

In: shapes after transforms, once their changes are in the target. Out: what the next schema change
is compared with.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from sqlalchemy import ColumnElement, Row, and_, delete, select, update

from resources.model.table import TableId, TableSchema, schema_from_json
from resources.stores.database import StateDatabase
from resources.stores.fills import fills_from_text, fills_to_text
from resources.stores.identity import digest
from resources.stores.tables import feeds


@dataclass(frozen=True)
class KeptFill:
    """What rows that were there before a column have in it.

    Args:
        column: The target's column.
        seq: The `_cdc_seq` from which on rows have values of their own.
        value: The value, not NULL.
    """

    column: str
    seq: int
    value: pa.Scalar


@dataclass(frozen=True)
class FeedShape:
    """A feed's shape as last applied.

    Args:
        table: The source table.
        target: The target table in words.
        schema: What its rows had, after its transform.
        seq: The `_cdc_seq` from which on they had it.
        kept: Columns of the target that the source no longer has.
        ignored: Columns of the rows left out of the target by decision.
        failed: Columns of the rows the sink refused.
        config: What the pipeline file said of the feed when it was applied, as its writer likes.
        fills: What rows set aside earlier have in columns that they lack.
    """

    table: TableId
    target: str
    schema: TableSchema
    seq: int
    kept: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()
    failed: frozenset[str] = frozenset()
    config: str = ""
    fills: tuple[KeptFill, ...] = ()


class FeedStore:
    """The feeds of one pipeline.

    Args:
        db: The state database.
        pipeline: The pipeline's name.
    """

    def __init__(self, db: StateDatabase, pipeline: str) -> None:
        self._db = db
        self._pipeline = pipeline

    def load(self, table: TableId, target: str) -> FeedShape | None:
        """Return a feed's shape, None if nothing of it was applied yet."""
        with self._db.read() as conn:
            row = conn.execute(select(feeds).where(self._of(table, target))).one_or_none()
        return None if row is None else _shape(row)

    def save(self, shape: FeedShape) -> None:
        """Keep a feed's shape in place of the one before."""
        sets: dict[str, Any] = {
            "kept": sorted(shape.kept),
            "ignored": sorted(shape.ignored),
            "failed": sorted(shape.failed),
            "fills": fills_to_text(tuple((f.column, f.value) for f in shape.fills)),
            "fill_seqs": [fill.seq for fill in shape.fills],
        }
        with self._db.begin() as conn:
            told = {
                "seq": shape.seq,
                "table_schema": json.dumps(shape.schema.to_json()),
                "column_sets": json.dumps(sets),
                "config": shape.config,
                "saved_us": self._db.now_us(conn),
            }
            row = {
                "pipeline": self._pipeline,
                "identity": _identity(shape.table, shape.target),
                "database_name": shape.table.database,
                "table_name": shape.table.table,
                "target": shape.target,
            }
            self._db.insert_missing(conn, feeds, [row | told])
            conn.execute(update(feeds).where(self._of(shape.table, shape.target)).values(told))

    def forget(self, table: TableId, target: str) -> None:
        """Remove a feed: its target is made anew, or it feeds it no longer."""
        with self._db.begin() as conn:
            conn.execute(delete(feeds).where(self._of(table, target)))

    def all(self) -> Iterator[FeedShape]:
        """Yield every feed, by target and table."""
        f = feeds.c
        query = select(feeds).where(f.pipeline == self._pipeline)
        with self._db.read() as conn:
            rows = conn.execute(query.order_by(f.target, f.database_name, f.table_name)).all()
        return (_shape(row) for row in rows)

    def configs(self) -> dict[tuple[TableId, str], str]:
        """Return what the pipeline file said of each feed, by table and target."""
        f = feeds.c
        query = select(f.database_name, f.table_name, f.target, f.config)
        with self._db.read() as conn:
            rows = conn.execute(query.where(f.pipeline == self._pipeline)).all()
        return {(TableId(database, name), target): text for database, name, target, text in rows}

    def _of(self, table: TableId, target: str) -> ColumnElement[bool]:
        f = feeds.c
        return and_(f.pipeline == self._pipeline, f.identity == _identity(table, target))


def _identity(table: TableId, target: str) -> str:
    return digest(table.database, table.table, target)


def _shape(row: Row[Any]) -> FeedShape:
    sets = json.loads(row.column_sets)
    fills = zip(fills_from_text(sets.get("fills", "")), sets.get("fill_seqs", ()), strict=True)
    return FeedShape(
        table=TableId(row.database_name, row.table_name),
        target=row.target,
        schema=schema_from_json(json.loads(row.table_schema)),
        seq=row.seq,
        kept=frozenset(sets["kept"]),
        ignored=frozenset(sets["ignored"]),
        failed=frozenset(sets["failed"]),
        config=row.config,
        fills=tuple(KeptFill(name, seq, value) for (name, value), seq in fills),
    )
