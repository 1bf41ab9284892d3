"""The sinks that read one change log: how far each has got, and where it is.

In: what the runs of each sink did. Out: one row per sink, so that none counts for another; and
the state of a sink handed on when its name in the pipeline file changes.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, select, update

from resources.stores.database import StateDatabase
from resources.stores.tables import (
    dirty_rows,
    feeds,
    log_readers,
    origins,
    schema_changes,
    snapshots,
    table_states,
)

_STATE = (dirty_rows, feeds, schema_changes, snapshots, table_states)
"""Tables of the state store that hold what is known of one sink, by the name of its pipeline."""


@dataclass(frozen=True)
class LogReader:
    """One sink of a change log.

    Args:
        pipeline: The name of its pipeline, which its state is kept under.
        place: Where the sink is, in words that are equal for the same place; no secret.
        capture_filter: What its last run selected of the log; empty if it had none yet.
        applied: Every table was merged up to this segment, but for those whose state says why not.
        offered: No watermark of the sink lies past this segment, as far as this state store knows.
        since_us: When it first read the log, microseconds since the epoch.
    """

    pipeline: str
    place: str
    capture_filter: str
    applied: int
    offered: int
    since_us: int


class LogReaders:
    """The sinks of one change log.

    Args:
        db: The state database.
        log: The change log's name.
    """

    def __init__(self, db: StateDatabase, log: str) -> None:
        self._db = db
        self._log = log

    def all(self) -> dict[str, LogReader]:
        """Return every sink that ever read the log, by the name of its pipeline."""
        r = log_readers.c
        query = select(log_readers).where(r.log == self._log).order_by(r.pipeline)
        with self._db.read() as conn:
            found = conn.execute(query).all()
        return {
            row.pipeline: LogReader(
                row.pipeline,
                row.place,
                row.capture_filter,
                row.applied_number,
                row.offered_number,
                row.since_us,
            )
            for row in found
        }

    def add(self, pipeline: str, place: str) -> None:
        """Make a sink known that has read nothing yet; one that is known stays as it is."""
        with self._db.begin() as conn:
            row = {
                "log": self._log,
                "pipeline": pipeline,
                "place": place,
                "capture_filter": "",
                "applied_number": 0,
                "offered_number": 0,
                "since_us": self._db.now_us(conn),
            }
            self._db.insert_missing(conn, log_readers, [row])

    def keep(
        self, pipeline: str, *, place: str | None = None, capture_filter: str | None = None
    ) -> None:
        """Keep where a known sink is now, or what it selects."""
        r = log_readers.c
        told = {"place": place, "capture_filter": capture_filter}
        with self._db.begin() as conn:
            conn.execute(
                update(log_readers)
                .where(r.log == self._log, r.pipeline == pipeline)
                .values({key: value for key, value in told.items() if value is not None})
            )

    def advance(self, pipeline: str, *, applied: int = 0, offered: int = 0) -> None:
        """Record how far a sink has got; neither number ever goes back."""
        r = log_readers.c
        mine = (r.log == self._log, r.pipeline == pipeline)
        with self._db.begin() as conn:
            for column, number in ((r.applied_number, applied), (r.offered_number, offered)):
                if number:
                    later = update(log_readers).where(*mine, column < number)
                    conn.execute(later.values({column: number}))

    def take_over(self, old: str, new: str, place: str, last: int) -> bool:
        """Give a sink everything that is known under another name.

        Args:
            old: The name until now: of another sink of the log, or the log's own, under which
                the state of an only sink is kept.
            new: The name from now on; nothing may be known under it.
            place: Where the sink is.
            last: The log's last segment; no watermark of an only sink lies past it.

        Returns:
            Whether this call did it; another run may have been faster.
        """
        r, o = log_readers.c, origins.c
        with self._db.begin() as conn:
            known = conn.execute(
                select(log_readers).where(r.log == self._log, r.pipeline == old).with_for_update()
            ).one_or_none()
            alone = conn.execute(select(origins).where(o.pipeline == self._log)).one_or_none()
            # What an only sink still needed was kept, whatever it had noted.
            applied = max(alone.applied_number, alone.floor_number) if alone else 0
            row = {
                "log": self._log,
                "pipeline": new,
                "place": place,
                "capture_filter": known.capture_filter if known else "",
                "applied_number": known.applied_number if known else applied,
                "offered_number": known.offered_number if known else last,
                "since_us": known.since_us if known else self._db.now_us(conn),
            }
            if new == self._log:
                only = update(origins).where(o.pipeline == self._log)
                conn.execute(only.values(applied_number=row["applied_number"]))
            elif not self._db.insert_missing(conn, log_readers, [row]):
                return False
            for table in _STATE:
                conn.execute(update(table).where(table.c.pipeline == old).values(pipeline=new))
            conn.execute(delete(log_readers).where(r.log == self._log, r.pipeline == old))
            return True
