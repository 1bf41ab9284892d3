"""The rows of the change log: which segments exist, in one unbroken sequence per pipeline.

In: segments whose files are in place. Out: the numbered sequence; a segment exists when its row is
committed, and it is committed only if it continues the one before and the lease still holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from resources.errors import ContinuityBroken
from resources.model.change import ShapeRecord
from resources.model.position import Position
from resources.model.table import TableSchema
from resources.stores.database import StateDatabase
from resources.stores.dirty_rows import DirtyRow, DirtyRowStore
from resources.stores.leases import Lease, LeaseStore
from resources.stores.segment_queries import SegmentQueries
from resources.stores.segment_rows import (
    Floor,
    Segment,
    TableStats,
    empty_segment,
    position_from_text,
    position_to_text,
    row_of_segment,
    rows_of_stats,
    segment_from_row,
)
from resources.stores.tables import origins, segment_tables, segments, table_floors

__all__ = ["Floor", "Segment", "SegmentStore", "TableStats"]


class SegmentStore(SegmentQueries):
    """The segment rows of one pipeline.

    Args:
        db: The state database.
        pipeline: The pipeline's name.
    """

    def __init__(self, db: StateDatabase, pipeline: str) -> None:
        super().__init__(db, pipeline)
        self._leases = LeaseStore(db)

    def ensure_origin(self, position: Position) -> Position:
        """Set where the log begins unless it is set; returns what holds (the first caller's)."""
        with self._db.begin() as conn:
            text = position_to_text(position)
            self._db.insert_missing(
                conn,
                origins,
                [
                    {
                        "pipeline": self.pipeline,
                        "position": text,
                        "created_us": self._db.now_us(conn),
                        "floor_number": 0,
                        "floor_position": text,
                        "applied_number": 0,
                    }
                ],
            )
            row = self._origin(conn)
        assert row is not None
        return position_from_text(row.position)

    def commit(
        self,
        segment: Segment,
        lease: Lease,
        schemas: Sequence[TableSchema] = (),
        dirty: Sequence[DirtyRow] = (),
        shapes: Sequence[ShapeRecord] = (),
    ) -> Segment:
        """Commit a segment's row, and all that comes with it, in one transaction.

        Args:
            segment: The next segment; its file is in place. `committed_us` is set here.
            lease: The capture lease.
            schemas: Schema versions of its rows.
            dirty: Rows of it that could not be decoded, set aside in the same transaction for
                the pipeline that each names.
            shapes: What the source wants to be told again where the segment ends.

        Returns:
            The segment as committed.

        Raises:
            FencedOut: The lease was taken over.
            ContinuityBroken: The segment does not continue the last one.
        """
        try:
            with self._db.begin() as conn:
                self._leases.verify(conn, lease)
                self._require_next(conn, segment)
                self._schemas.save(conn, schemas)
                segment = replace(segment, committed_us=self._db.now_us(conn))
                conn.execute(insert(segments), row_of_segment(segment))
                if segment.tables:
                    conn.execute(insert(segment_tables), rows_of_stats(segment))
                for pipeline, rows in _by_pipeline(dirty).items():
                    DirtyRowStore(self._db, pipeline).add_within(conn, rows)
                self._shapes.save(conn, shapes)
        except IntegrityError:
            raise ContinuityBroken(
                f"segment {segment.number} was committed by another process meanwhile",
                where=self.pipeline,
                remedy="start the run again, it goes on after that segment",
            ) from None
        return segment

    def extend_empty(
        self,
        end: Position,
        lease: Lease,
        run_id: str = "",
        capture_filter: str = "",
        shapes: Sequence[ShapeRecord] = (),
    ) -> Segment:
        """Record that the log was read up to `end` and held nothing wanted.

        The last segment gets the new end if it is empty and was captured with the same filter,
        otherwise an empty one is added.

        Args:
            end: The position reached.
            lease: The capture lease.
            run_id: The run, for a segment that is added.
            capture_filter: What was captured.
            shapes: What the source wants to be told again at `end`.

        Returns:
            The last segment.

        Raises:
            FencedOut: The lease was taken over.
            ContinuityBroken: There is no origin to go on from.
        """
        with self._db.begin() as conn:
            self._leases.verify(conn, lease)
            number, start = self._tail(conn)
            if start is None:
                raise self._no_origin()
            self._shapes.save(conn, shapes)
            now = self._db.now_us(conn)
            last = conn.execute(self._query().where(segments.c.number == number)).one_or_none()
            if last is not None and not last.file and last.capture_filter == capture_filter:
                conn.execute(
                    update(segments)
                    .where(segments.c.pipeline == self.pipeline, segments.c.number == number)
                    .values(end_position=position_to_text(end), committed_us=now, token=lease.token)
                )
                return replace(
                    segment_from_row(last, {}), end=end, committed_us=now, token=lease.token
                )
            empty = empty_segment(self.pipeline, number + 1, start, end, lease.token, now)
            empty = replace(empty, run_id=run_id, capture_filter=capture_filter)
            conn.execute(insert(segments), row_of_segment(empty))
            return empty

    def check_continuity(self, check_file: Callable[[Segment], str | None]) -> list[str]:
        """Return every hole, overlap and damaged file of the sequence, each with its range.

        Args:
            check_file: Says what is wrong with a segment's file, None if nothing is; asked for
                segments that should have one.
        """
        floor = self.floor()
        sequence = self.list_bare()
        if floor is None:
            return ["there are segments but no origin"] if sequence else []
        problems: list[str] = []
        number, position = floor.number, floor.position
        for segment in sequence:
            if segment.number != number + 1:
                missing = f"{number + 1} to {segment.number - 1}"
                problems.append(f"segments {missing} are missing: {position} to {segment.start}")
            elif segment.start != position:
                problems.append(
                    f"segment {segment.number} starts at {segment.start}, the log before it ends "
                    f"at {position}: a hole or an overlap between them"
                )
            if segment.file and not segment.purged:
                fault = check_file(segment)
                if fault:
                    problems.append(f"{segment}: {fault}")
            number, position = segment.number, segment.end
        return problems

    def forget(self, upto: int) -> Floor:
        """Remove the rows of old segments for good and record how far, for retention.

        The last segment always stays: capture goes on from it.

        Args:
            upto: Greatest number to remove.

        Returns:
            The new floor.

        Raises:
            ContinuityBroken: There is no origin.
        """
        with self._db.begin() as conn:
            row = conn.execute(
                select(origins).where(origins.c.pipeline == self.pipeline).with_for_update()
            ).one_or_none()
            if row is None:
                raise self._no_origin()
            last_number, _ = self._tail(conn)
            upto = min(upto, last_number - 1)
            if upto <= row.floor_number:
                return Floor(row.floor_number, position_from_text(row.floor_position))
            end = conn.execute(
                select(segments.c.end_position).where(
                    segments.c.pipeline == self.pipeline, segments.c.number == upto
                )
            ).scalar_one()
            self._raise_table_floors(conn, upto)
            for table in (segments, segment_tables):
                conn.execute(
                    delete(table).where(table.c.pipeline == self.pipeline, table.c.number <= upto)
                )
            conn.execute(
                update(origins)
                .where(origins.c.pipeline == self.pipeline)
                .values(floor_number=upto, floor_position=end)
            )
        return Floor(upto, position_from_text(end))

    def save_schemas(self, schemas: Sequence[TableSchema]) -> None:
        """Keep schema versions that are not kept yet."""
        with self._db.begin() as conn:
            self._schemas.save(conn, schemas)

    def set_applied(self, number: int) -> None:
        """Record that every table was merged up to a segment; it never goes back.

        Targets keep their own watermarks: this only saves asking all of them.
        """
        o = origins.c
        with self._db.begin() as conn:
            conn.execute(
                update(origins)
                .where(o.pipeline == self.pipeline, o.applied_number < number)
                .values(applied_number=number)
            )

    def _require_next(self, conn: Connection, segment: Segment) -> None:
        number, position = self._tail(conn)
        if position is None:
            raise self._no_origin()
        if segment.number != number + 1 or segment.start != position:
            raise ContinuityBroken(
                f"segment {segment.number} starting at {segment.start} does not continue the log, "
                f"which ends with segment {number} at {position}; it was not committed",
                where=self.pipeline,
                remedy="start the run again, it goes on from there",
            )

    def _raise_table_floors(self, conn: Connection, upto: int) -> None:
        t, f = segment_tables.c, table_floors.c
        query = (
            select(t.database_name, t.table_name, func.max(t.number).label("number"))
            .where(t.pipeline == self.pipeline, t.number <= upto)
            .group_by(t.database_name, t.table_name)
        )
        for row in conn.execute(query).mappings().all():
            floor = {"pipeline": self.pipeline, **row}
            if not self._db.insert_missing(conn, table_floors, [floor]):
                conn.execute(
                    update(table_floors)
                    .where(
                        f.pipeline == self.pipeline,
                        f.database_name == row["database_name"],
                        f.table_name == row["table_name"],
                    )
                    .values(number=row["number"])
                )


def _by_pipeline(rows: Sequence[DirtyRow]) -> dict[str, list[DirtyRow]]:
    found: dict[str, list[DirtyRow]] = {}
    for row in rows:
        found.setdefault(row.pipeline, []).append(row)
    return found
