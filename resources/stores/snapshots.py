"""Snapshots: which loads of which tables are under way, with their chunk plans.

In: the steps of a load as it passes them. Out: what a later run needs to go on where it broke.
Which chunks are in the target is the target's word, not kept here.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Row, Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from resources.errors import FencedOut, TransientError
from resources.model.chunk import Chunk, chunk_from_json
from resources.model.position import Position
from resources.model.table import TableId, TableSchema, schema_from_json
from resources.stores.database import StateDatabase, clean_text
from resources.stores.segment_rows import position_from_text, position_to_text
from resources.stores.tables import chunks, snapshot_rules, snapshots

SnapshotState = Literal["planning", "copying", "copied", "done", "abandoned"]
_OPEN: tuple[SnapshotState, ...] = ("planning", "copying", "copied")


@dataclass(frozen=True)
class Snapshot:
    """One load of one table.

    Args:
        load_id: Its id, in the state store and in the target.
        pipeline: Whose.
        table: The source table.
        schema: Its schema when the load began.
        base_seq: Changes up to this `_cdc_seq` are in what the chunks read.
        low: Position before the first chunk was read.
        high: Position after the last one was read, None before that.
        state: `planning`, `copying`, `copied` (all chunks in), `done` (live), `abandoned`.
        planned: Whether the chunk plan is complete.
        rows_estimated: The server's estimate.
        rows_copied: Rows in the target's load, set when it is copied.
        started_us: When it began, microseconds since the epoch.
        finished_us: When it was done or abandoned.
        reason: Why it was abandoned.
    """

    load_id: str
    pipeline: str
    table: TableId
    schema: TableSchema
    base_seq: int
    low: Position
    high: Position | None
    state: SnapshotState
    planned: bool
    rows_estimated: int
    rows_copied: int
    started_us: int
    finished_us: int | None
    reason: str = ""


class SnapshotStore:
    """The snapshots of one pipeline.

    Args:
        db: The state database.
        pipeline: The pipeline's name.
    """

    def __init__(self, db: StateDatabase, pipeline: str) -> None:
        self._db = db
        self._pipeline = pipeline

    def open_snapshot(self, table: TableId) -> Snapshot | None:
        """Return the table's snapshot that is neither done nor abandoned."""
        return self._first(self._of_table(table).where(snapshots.c.open_mark == 1))

    def last_done(self, table: TableId) -> Snapshot | None:
        """Return the table's snapshot that was finished last."""
        s = snapshots.c
        query = self._of_table(table).where(s.state == "done")
        return self._first(query.order_by(s.finished_us.desc(), s.started_us.desc()))

    def start(
        self,
        table: TableId,
        schema: TableSchema,
        base_seq: int,
        low: Position,
        rows_estimated: int,
        rules: str = "",
    ) -> Snapshot:
        """Begin a snapshot.

        Args:
            table: The source table.
            schema: Its schema now.
            base_seq: Changes up to this `_cdc_seq` will be in what the chunks read.
            low: The source's position now.
            rows_estimated: The server's estimate.
            rules: What the pipeline file says of the table; see `rules`.

        Raises:
            TransientError: The table has an open snapshot, begun by another run meanwhile.
        """
        row = {
            "load_id": uuid.uuid4().hex,
            "pipeline": self._pipeline,
            "database_name": table.database,
            "table_name": table.table,
            "table_schema": json.dumps(schema.to_json()),
            "base_seq": base_seq,
            "low_position": position_to_text(low),
            "high_position": None,
            "state": "planning",
            "open_mark": 1,
            "planned": False,
            "rows_estimated": rows_estimated,
            "rows_copied": 0,
            "finished_us": None,
            "reason": "",
        }
        try:
            with self._db.begin() as conn:
                conn.execute(insert(snapshots), row | {"started_us": self._db.now_us(conn)})
                conn.execute(insert(snapshot_rules), {"load_id": row["load_id"], "rules": rules})
        except IntegrityError:
            raise TransientError(
                "another run has begun a snapshot of this table",
                where=f"{self._pipeline}: {table}",
                remedy="let it end; a repeated run goes on with that snapshot",
            ) from None
        return self._load(str(row["load_id"]))

    def rules(self, load_id: str) -> str:
        """Return what the pipeline file said when a snapshot began, empty if it is not known."""
        r = snapshot_rules.c
        with self._db.read() as conn:
            return conn.scalar(select(r.rules).where(r.load_id == load_id)) or ""

    def add_chunks(self, load_id: str, planned: Iterable[Chunk]) -> None:
        """Add chunks to an open snapshot's plan; those there already stay as they are.

        Raises:
            FencedOut: The snapshot is no longer open.
        """
        rows = [
            {"load_id": load_id, "number": chunk.number, "chunk": json.dumps(chunk.to_json())}
            for chunk in planned
        ]
        with self._db.begin() as conn:
            query = select(snapshots.c.open_mark).where(snapshots.c.load_id == load_id)
            if conn.scalar(query.with_for_update()) is None:
                raise self._closed(load_id)
            self._db.insert_missing(conn, chunks, rows)

    def chunks(self, load_id: str) -> list[Chunk]:
        """Return an open snapshot's plan as far as it is made, in key order."""
        query = select(chunks.c.chunk).where(chunks.c.load_id == load_id)
        with self._db.read() as conn:
            texts = conn.scalars(query.order_by(chunks.c.number)).all()
        return [chunk_from_json(json.loads(text)) for text in texts]

    def finish_plan(self, load_id: str) -> None:
        """Record that the plan is complete. Raises as `add_chunks`."""
        self._change(load_id, ("planning", "copying"), {"planned": True, "state": "copying"})

    def set_copied(self, load_id: str, high: Position, rows: int) -> None:
        """Record that every chunk is in the target.

        Args:
            load_id: The snapshot.
            high: The source's position after the last chunk was read.
            rows: Rows of the load.

        Raises:
            FencedOut: The snapshot is no longer open.
        """
        copied = {"state": "copied", "high_position": position_to_text(high), "rows_copied": rows}
        self._change(load_id, _OPEN, copied)

    def set_done(self, load_id: str) -> None:
        """Record that the load is live in the target, and forget its plan; repeatable.

        Raises:
            FencedOut: The snapshot was abandoned.
        """
        if self._load(load_id).state != "done":
            self._change(load_id, _OPEN, {"state": "done", "open_mark": None})

    def abandon(self, load_id: str, reason: str) -> None:
        """Give a snapshot up, and forget its plan; repeating it changes nothing.

        Raises:
            FencedOut: The snapshot is done.
        """
        if self._load(load_id).state != "abandoned":
            closed = {"state": "abandoned", "open_mark": None, "reason": clean_text(reason)}
            self._change(load_id, _OPEN, closed)

    def abandon_open(self, table: TableId, reason: str) -> None:
        """Give a table's open snapshot up, if it has one."""
        snapshot = self.open_snapshot(table)
        if snapshot is not None:
            self.abandon(snapshot.load_id, reason)

    def list_snapshots(self, state: SnapshotState | None = None) -> list[Snapshot]:
        """Return the pipeline's snapshots, oldest first.

        Args:
            state: Only those in this state.
        """
        query = select(snapshots).where(snapshots.c.pipeline == self._pipeline)
        if state is not None:
            query = query.where(snapshots.c.state == state)
        query = query.order_by(snapshots.c.started_us, snapshots.c.load_id)
        with self._db.read() as conn:
            return [_snapshot(row) for row in conn.execute(query)]

    def _change(
        self, load_id: str, expected: Sequence[SnapshotState], values: Mapping[str, object]
    ) -> None:
        s = snapshots.c
        with self._db.begin() as conn:
            if "open_mark" in values:
                values = {**values, "finished_us": self._db.now_us(conn)}
            changed = conn.execute(
                update(snapshots).where(s.load_id == load_id, s.state.in_(expected)).values(values)
            )
            if changed.rowcount == 0:
                raise self._closed(load_id)
            if "open_mark" in values:  # nobody goes on with it; its bounds are values of the key
                conn.execute(delete(chunks).where(chunks.c.load_id == load_id))

    def _closed(self, load_id: str) -> FencedOut:
        return FencedOut(
            f"snapshot {load_id} is no longer open: it was done or abandoned by another run",
            where=self._pipeline,
            remedy="start the run again",
        )

    def _of_table(self, table: TableId) -> Select[Any]:
        s = snapshots.c
        return select(snapshots).where(
            s.pipeline == self._pipeline,
            s.database_name == table.database,
            s.table_name == table.table,
        )

    def _first(self, query: Select[Any]) -> Snapshot | None:
        with self._db.read() as conn:
            row = conn.execute(query.limit(1)).one_or_none()
        return None if row is None else _snapshot(row)

    def _load(self, load_id: str) -> Snapshot:
        found = self._first(select(snapshots).where(snapshots.c.load_id == load_id))
        if found is None:
            raise self._closed(load_id)
        return found


def _snapshot(row: Row[Any]) -> Snapshot:
    high = row.high_position
    return Snapshot(
        load_id=row.load_id,
        pipeline=row.pipeline,
        table=TableId(row.database_name, row.table_name),
        schema=schema_from_json(json.loads(row.table_schema)),
        base_seq=row.base_seq,
        low=position_from_text(row.low_position),
        high=None if high is None else position_from_text(high),
        state=row.state,
        planned=row.planned,
        rows_estimated=row.rows_estimated,
        rows_copied=row.rows_copied,
        started_us=row.started_us,
        finished_us=row.finished_us,
        reason=row.reason,
    )
