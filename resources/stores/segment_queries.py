"""Questions to the rows of the change log, none of which changes anything.

In: the segment rows of one pipeline. Out: segments, positions, counts, schema versions.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, Select, func, select

from resources.errors import ContinuityBroken
from resources.model.position import Position
from resources.model.table import TableId, TableSchema
from resources.stores.database import StateDatabase
from resources.stores.schema_versions import SchemaVersions
from resources.stores.segment_rows import (
    Floor,
    Segment,
    TableStats,
    position_from_text,
    segment_from_row,
    stats_columns,
    stats_from_row,
    table_key,
)
from resources.stores.table_shapes import TableShapes
from resources.stores.tables import origins, segment_tables, segments, table_floors


class SegmentQueries:
    """The reading half of `SegmentStore`.

    Args:
        db: The state database.
        pipeline: The pipeline's name.
    """

    def __init__(self, db: StateDatabase, pipeline: str) -> None:
        self._db = db
        self.pipeline = pipeline
        self._schemas = SchemaVersions(db, pipeline)
        self._shapes = TableShapes(pipeline)

    def origin(self) -> Position | None:
        """Return where the log began, None before `ensure_origin`."""
        with self._db.read() as conn:
            row = self._origin(conn)
        return None if row is None else position_from_text(row.position)

    def floor(self) -> Floor | None:
        """Return how far retention has removed segments, None before `ensure_origin`."""
        with self._db.read() as conn:
            row = self._origin(conn)
        return (
            None if row is None else Floor(row.floor_number, position_from_text(row.floor_position))
        )

    def resume_position(self) -> Position | None:
        """Return where capture goes on: the last segment's end, else the origin, else None."""
        with self._db.read() as conn:
            return self._tail(conn)[1]

    def next(self) -> tuple[int, Position]:
        """Return the number and the start of the segment that would continue the log.

        Raises:
            ContinuityBroken: There is no origin to start from.
        """
        with self._db.read() as conn:
            number, position = self._tail(conn)
        if position is None:
            raise self._no_origin()
        return number + 1, position

    def last(self) -> Segment | None:
        """Return the last segment."""
        query = self._query().order_by(segments.c.number.desc()).limit(1)
        found = self._load(query)
        return found[0] if found else None

    def list_segments(
        self, after: int = 0, upto: int | None = None, window: str | None = None
    ) -> list[Segment]:
        """Return segments in order.

        Args:
            after: Only numbers greater than this.
            upto: Only numbers up to this, inclusive.
            window: Only those of this window.
        """
        query = self._query().where(segments.c.number > after)
        if upto is not None:
            query = query.where(segments.c.number <= upto)
        if window is not None:
            query = query.where(segments.c.commit_window == window)
        return self._load(query.order_by(segments.c.number))

    def list_bare(self) -> list[Segment]:
        """Return all segments in order, without what they hold per table (`tables` is empty)."""
        with self._db.read() as conn:
            rows = conn.execute(self._query().order_by(segments.c.number)).all()
        return [segment_from_row(row, {}) for row in rows]

    def list_of_table(self, table: TableId, after: int, upto: int | None = None) -> list[Segment]:
        """Return the segments that hold rows or notices of one table, in order.

        Their `tables` hold that table alone.

        Args:
            table: The table.
            after: Only numbers greater than this.
            upto: Only numbers up to this, inclusive.
        """
        s, t = segments.c, segment_tables.c
        query = (
            select(segments, *stats_columns())
            .join(segment_tables, (t.pipeline == s.pipeline) & (t.number == s.number))
            .where(
                t.pipeline == self.pipeline,
                t.database_name == table.database,
                t.table_name == table.table,
                t.number > after,
            )
            .order_by(t.number)
        )
        if upto is not None:
            query = query.where(t.number <= upto)
        with self._db.read() as conn:
            rows = conn.execute(query).all()
        return [segment_from_row(row, {table_key(table): stats_from_row(row)}) for row in rows]

    def table_floor(self, table: TableId) -> int:
        """Return the last segment with anything of a table that retention removed, 0 if none."""
        f = table_floors.c
        query = select(f.number).where(
            f.pipeline == self.pipeline,
            f.database_name == table.database,
            f.table_name == table.table,
        )
        with self._db.read() as conn:
            return conn.scalar(query) or 0

    def count_rows(self, after: int) -> dict[TableId, int]:
        """Return the rows of every table in segments with greater numbers (0: only notices)."""
        t = segment_tables.c
        query = (
            select(t.database_name, t.table_name, func.sum(t.row_count))
            .where(t.pipeline == self.pipeline, t.number > after)
            .group_by(t.database_name, t.table_name)
        )
        with self._db.read() as conn:
            return {TableId(db, name): int(rows) for db, name, rows in conn.execute(query)}

    def load_schema(self, fingerprint: str, table: TableId) -> TableSchema:
        """Return a schema version.

        Raises:
            ContinuityBroken: It was never kept.
        """
        return self._schemas.load(fingerprint, table)

    def list_schemas(self, table: TableId) -> list[TableSchema]:
        """Return every schema version the log has of a table, the one seen last first."""
        return self._schemas.list_versions(table)

    def shapes(self) -> dict[TableId, str]:
        """Return what the source wants to be told again where capture goes on, by table."""
        with self._db.read() as conn:
            return self._shapes.load(conn)

    def filters(self, after: int, upto: int) -> set[str]:
        """Return the `capture_filter` of every segment with a number in `(after, upto]`."""
        s = segments.c
        query = select(s.capture_filter).where(
            s.pipeline == self.pipeline, s.number > after, s.number <= upto
        )
        with self._db.read() as conn:
            return set(conn.scalars(query.distinct()))

    def applied(self) -> int:
        """Return the segment that every table was merged up to, as `set_applied` left it."""
        with self._db.read() as conn:
            row = self._origin(conn)
        return 0 if row is None else int(row.applied_number)

    def _origin(self, conn: Connection) -> Row[Any] | None:
        return conn.execute(
            select(origins).where(origins.c.pipeline == self.pipeline)
        ).one_or_none()

    def _tail(self, conn: Connection) -> tuple[int, Position | None]:
        """Return the last number (the floor's if there is no segment) and the position after it."""
        row = conn.execute(
            select(segments.c.number, segments.c.end_position)
            .where(segments.c.pipeline == self.pipeline)
            .order_by(segments.c.number.desc())
            .limit(1)
        ).one_or_none()
        if row is not None:
            return row.number, position_from_text(row.end_position)
        origin = self._origin(conn)
        return (
            (0, None)
            if origin is None
            else (
                origin.floor_number,
                position_from_text(origin.floor_position),
            )
        )

    def _no_origin(self) -> ContinuityBroken:
        return ContinuityBroken(
            "the change log has no origin, so nothing can continue it",
            where=self.pipeline,
            remedy="call ensure_origin with the source's position first",
        )

    def _query(self) -> Select[Any]:
        return select(segments).where(segments.c.pipeline == self.pipeline)

    def _load(self, query: Select[Any]) -> list[Segment]:
        t = segment_tables.c
        with self._db.read() as conn:
            rows = conn.execute(query).all()
            tables: dict[int, dict[str, TableStats]] = {row.number: {} for row in rows}
            if rows:
                numbers = (min(tables), max(tables))
                stats = select(t.number, *stats_columns()).where(
                    t.pipeline == self.pipeline, t.number.between(*numbers)
                )
                for row in conn.execute(stats.order_by(t.database_name, t.table_name)):
                    if row.number in tables:
                        found = stats_from_row(row)
                        tables[row.number][table_key(found.table)] = found
        return [segment_from_row(row, tables[row.number]) for row in rows]
