"""What each source table of a pipeline is doing: new, live, waiting for a snapshot, or stopped.

In: decisions of the engine. Out: the state of one table or of all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Row, Select, case, select, update

from resources.model.table import TableId
from resources.stores.database import StateDatabase, clean_text
from resources.stores.tables import table_states

TableStatus = Literal["new", "live", "behind", "dropped", "held", "needs_snapshot", "stopped"]


@dataclass(frozen=True)
class TableState:
    """The state of one source table.

    Args:
        table: The table.
        status: `new` was registered and never loaded; `live` follows the log;
            `behind` could not be merged and is tried again; `dropped` is gone from the source;
            `held` waits for the decision on a schema change; `needs_snapshot` has to be read
            again; `stopped` waits for a person.
        reason: Why, without row values.
        since_us: When it got this status, microseconds since the epoch.
        seq: The `_cdc_seq` the status is about, 0 if none.
    """

    table: TableId
    status: TableStatus
    reason: str
    since_us: int
    seq: int


class TableStateStore:
    """The table states of one pipeline.

    Args:
        db: The state database.
        pipeline: The pipeline's name.
    """

    def __init__(self, db: StateDatabase, pipeline: str) -> None:
        self._db = db
        self._pipeline = pipeline

    def get(self, table: TableId) -> TableState | None:
        """Return a table's state, None if it was never registered."""
        with self._db.read() as conn:
            row = conn.execute(self._of(table)).one_or_none()
        return None if row is None else _state(row)

    def all(self) -> dict[TableId, TableState]:
        """Return the state of every registered table, sorted by name."""
        t = table_states.c
        query = (
            select(table_states)
            .where(t.pipeline == self._pipeline)
            .order_by(t.database_name, t.table_name)
        )
        with self._db.read() as conn:
            states = [_state(row) for row in conn.execute(query)]
        return {state.table: state for state in states}

    def register(self, tables: Iterable[TableId]) -> list[TableId]:
        """Add tables as `new` and return those that were not there, each to one caller only."""
        known = self.all()
        unknown = sorted(set(tables) - set(known))
        if not unknown:
            return []
        with self._db.begin() as conn:
            now = self._db.now_us(conn)
            return [
                table
                for table in unknown
                if self._db.insert_missing(conn, table_states, [self._row(table, now)])
            ]

    def set(
        self, table: TableId, status: TableStatus, reason: str = "", seq: int = 0
    ) -> TableState:
        """Set a table's state, registered or not; `since_us` moves only with the status."""
        t = table_states.c
        with self._db.begin() as conn:
            now = self._db.now_us(conn)
            self._db.insert_missing(conn, table_states, [self._row(table, now)])
            conn.execute(
                update(table_states)
                .where(
                    t.pipeline == self._pipeline,
                    t.database_name == table.database,
                    t.table_name == table.table,
                )
                .ordered_values(
                    # MySQL assigns in order, so the old status must be read first
                    (t.since_us, case((t.status == status, t.since_us), else_=now)),
                    (t.status, status),
                    (t.reason, clean_text(reason)),
                    (t.seq, seq),
                )
            )
            return _state(conn.execute(self._of(table)).one())

    def _of(self, table: TableId) -> Select[Any]:
        t = table_states.c
        return select(table_states).where(
            t.pipeline == self._pipeline,
            t.database_name == table.database,
            t.table_name == table.table,
        )

    def _row(self, table: TableId, now: int) -> dict[str, Any]:
        return {
            "pipeline": self._pipeline,
            "database_name": table.database,
            "table_name": table.table,
            "status": "new",
            "reason": "",
            "since_us": now,
            "seq": 0,
        }


def _state(row: Row[Any]) -> TableState:
    table = TableId(row.database_name, row.table_name)
    return TableState(table, row.status, row.reason, row.since_us, row.seq)
