"""The dirty-data store: rows that could not be decoded, converted or written.

In: rows with the reason they were refused for. Out: what is open, for limits, reports and replay.
A row is known by pipeline, stage, table, target, `_cdc_seq` and key, so a repeated run never
doubles it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Literal, TypeVar

from sqlalchemy import Connection, Row, Select, case, delete, func, select, update

from resources.model.change import RowKind
from resources.model.table import TableId
from resources.stores.database import StateDatabase, clean_text
from resources.stores.tables import dirty_rows

Stage = Literal["capture", "copy", "transform", "apply"]
DirtyState = Literal["open", "replayed", "superseded", "waived"]
MAX_IMAGE_BYTES = 1 << 20
T = TypeVar("T")
_STEP = 500  # parameters of one statement are limited


@dataclass(frozen=True)
class DirtyRow:
    """One row that was set aside.

    Args:
        id: Its id in the store, None before it is there.
        pipeline: Whose.
        stage: Where it was refused.
        table: The source table.
        target: The target table in words, empty if none is known.
        seq: Its `_cdc_seq`; in a snapshot that of the snapshot's base.
        op: Its row kind.
        key: The key's values as JSON, empty if they could not be decoded.
        position: Where in the log or which chunk, in words.
        field: The column at fault, empty if the whole row is.
        error: The error's class name.
        message: What is wrong, without the value.
        image: The row as a one-row Arrow IPC stream, empty if there is none.
        raw: The row's bytes as the source sent them, empty if there are none.
        ts_us: Commit time, microseconds since the epoch.
        first_seen_us: When it was first set aside; set by the store.
        last_seen_us: When it was last set aside; set by the store.
        attempts: How often it was set aside; set by the store.
        state: `open`; `replayed` is in the target; `superseded` by a newer row of its key;
            `waived` by a person.
        reason: Why it is no longer open.
    """

    id: int | None
    pipeline: str
    stage: Stage
    table: TableId
    target: str
    seq: int
    op: RowKind
    key: str
    position: str
    field: str
    error: str
    message: str
    image: bytes = b""
    raw: bytes = b""
    ts_us: int = 0
    first_seen_us: int = 0
    last_seen_us: int = 0
    attempts: int = 1
    state: DirtyState = "open"
    reason: str = ""


@dataclass(frozen=True)
class DirtyStats:
    """Dirty rows of one table, stage, error class and column.

    Args:
        table: The source table.
        stage: Where they were refused.
        error: The error's class name.
        field: The column at fault.
        open: Rows that are open.
        total: Rows in any state.
        oldest_us: When the oldest one was first set aside, microseconds since the epoch.
    """

    table: TableId
    stage: Stage
    error: str
    field: str
    open: int
    total: int
    oldest_us: int


class DirtyRowStore:
    """The dirty rows of one pipeline.

    Args:
        db: The state database.
        pipeline: The pipeline's name.
        max_image_bytes: Greatest image or raw bytes kept of a row.
    """

    def __init__(
        self, db: StateDatabase, pipeline: str, max_image_bytes: int = MAX_IMAGE_BYTES
    ) -> None:
        self._db = db
        self._pipeline = pipeline
        self._max_image_bytes = max_image_bytes

    def add(self, rows: Iterable[DirtyRow]) -> int:
        """Set rows aside; those known already get another attempt instead.

        A known row that is superseded or waived stays so; one that was replayed is open again.

        Returns:
            Rows that were not known.
        """
        with self._db.begin() as conn:
            return self.add_within(conn, rows)

    def add_within(self, conn: Connection, rows: Iterable[DirtyRow]) -> int:
        """Do `add` in the caller's transaction."""
        wanted = {_identity(row): row for row in rows}
        if not wanted:
            return 0
        added = 0
        now = self._db.now_us(conn)
        d = dirty_rows.c
        for identities in _steps(list(wanted)):
            query = select(d.identity).where(
                d.pipeline == self._pipeline, d.identity.in_(identities)
            )
            known = set(conn.scalars(query.with_for_update()))
            if known:
                conn.execute(
                    update(dirty_rows)
                    .where(d.pipeline == self._pipeline, d.identity.in_(known))
                    .values(
                        last_seen_us=now,
                        attempts=d.attempts + 1,
                        state=case((d.state == "replayed", "open"), else_=d.state),
                    )
                )
            fresh = [i for i in identities if i not in known]
            self._db.insert_missing(conn, dirty_rows, [self._row(i, wanted[i], now) for i in fresh])
            added += len(fresh)
        return added

    def take_captured(self, others: Iterable[str]) -> int:
        """Set aside the rows that could not be decoded when the log was written, as others have it.

        Of such a row the log has nothing, so a pipeline that begins to read it finds it here.
        They are open again, for what another pipeline did about one was done in its own target.

        Args:
            others: Names of pipelines that read the same log.

        Returns:
            Rows that were not known.
        """
        d = dirty_rows.c
        query = select(dirty_rows).where(d.pipeline.in_(list(others)), d.stage == "capture")
        with self._db.begin() as conn:
            found = [_dirty_row(row) for row in conn.execute(query.order_by(d.seq, d.id))]
            mine = [replace(row, pipeline=self._pipeline, state="open", reason="") for row in found]
            return self.add_within(conn, mine)

    def open_rows(self, table: TableId | None = None, target: str | None = None) -> list[DirtyRow]:
        """Return open rows in log order.

        Args:
            table: Only those of this source table.
            target: Only those of this target.
        """
        query = self._open(select(dirty_rows), table, target)
        with self._db.read() as conn:
            rows = conn.execute(query.order_by(dirty_rows.c.seq, dirty_rows.c.id)).all()
        return [_dirty_row(row) for row in rows]

    def count_open(self, table: TableId | None = None, target: str | None = None) -> int:
        """Return the number of open rows; arguments as `open_rows`."""
        query = self._open(select(func.count()).select_from(dirty_rows), table, target)
        with self._db.read() as conn:
            return conn.scalar(query) or 0

    def stats(self) -> list[DirtyStats]:
        """Return counts per table, stage, error class and column, most open rows first."""
        d = dirty_rows.c
        is_open = func.sum(case((d.state == "open", 1), else_=0))
        group = (d.database_name, d.table_name, d.stage, d.error, d.field)
        query = (
            select(*group, is_open, func.count(), func.min(d.first_seen_us))
            .where(d.pipeline == self._pipeline)
            .group_by(*group)
            .order_by(is_open.desc(), *group)
        )
        with self._db.read() as conn:
            return [
                DirtyStats(TableId(db, name), stage, error, column, int(opened), total, oldest)
                for db, name, stage, error, column, opened, total, oldest in conn.execute(query)
            ]

    def supersede(
        self, target: str, reached: Mapping[str, int], table: TableId | None = None
    ) -> int:
        """Close open rows whose key a newer change has reached.

        Args:
            target: The target table.
            reached: The `_cdc_seq` of the last change of each key, as in `DirtyRow.key`; rows
                with a smaller one are closed.
            table: Only rows of this source table.

        Returns:
            Rows closed.
        """
        d = dirty_rows.c
        query = self._open(select(d.id, d.row_key, d.seq), table, target)
        with self._db.read() as conn:
            rows = conn.execute(query).all()
        ids = [row.id for row in rows if row.row_key and row.seq < reached.get(row.row_key, 0)]
        return self.mark(ids, "superseded", "a newer change reached its key")

    def mark(self, ids: Sequence[int], state: DirtyState, reason: str) -> int:
        """Set the state of rows that are open, or open again rows that are not.

        Args:
            ids: Row ids.
            state: The new state.
            reason: Why, in words.

        Returns:
            Rows changed.
        """
        d = dirty_rows.c
        is_open = d.state != "open" if state == "open" else d.state == "open"
        changed = 0
        with self._db.begin() as conn:
            for some in _steps(ids):
                changed += conn.execute(
                    update(dirty_rows)
                    .where(d.pipeline == self._pipeline, d.id.in_(some), is_open)
                    .values(state=state, reason=clean_text(reason))
                ).rowcount
        return changed

    def purge(self, older_than_us: int) -> dict[DirtyState, int]:
        """Delete rows last set aside longer ago than an age, in any state.

        Args:
            older_than_us: The age in microseconds.

        Returns:
            Rows deleted by state; open ones among them were never put right.
        """
        d = dirty_rows.c
        with self._db.begin() as conn:
            limit = self._db.now_us(conn) - older_than_us
            old = (d.pipeline == self._pipeline) & (d.last_seen_us < limit)
            counts = conn.execute(select(d.state, func.count()).where(old).group_by(d.state)).all()
            conn.execute(delete(dirty_rows).where(old))
        return {row.state: row[1] for row in counts}

    def _open(self, query: Select[Any], table: TableId | None, target: str | None) -> Select[Any]:
        d = dirty_rows.c
        query = query.where(d.pipeline == self._pipeline, d.state == "open")
        if table is not None:
            query = query.where(d.database_name == table.database, d.table_name == table.table)
        if target is not None:
            query = query.where(d.target == target)
        return query

    def _row(self, identity: str, row: DirtyRow, now: int) -> dict[str, Any]:
        row = self._capped(row)
        return {
            "pipeline": self._pipeline,
            "identity": identity,
            "stage": row.stage,
            "database_name": row.table.database,
            "table_name": row.table.table,
            "target": row.target,
            "seq": row.seq,
            "op": int(row.op),
            "row_key": clean_text(row.key),
            "log_position": clean_text(row.position),
            "field": clean_text(row.field),
            "error": row.error,
            "message": clean_text(row.message),
            "image": row.image,
            "raw": row.raw,
            "ts_us": row.ts_us,
            "first_seen_us": now,
            "last_seen_us": now,
            "attempts": 1,
            "state": row.state,
            "reason": clean_text(row.reason),
        }

    def _capped(self, row: DirtyRow) -> DirtyRow:
        limit, message = self._max_image_bytes, row.message
        if len(row.image) > limit:  # a cut Arrow stream could not be read
            message += f" (the image of {len(row.image)} bytes was not kept, the limit is {limit})"
            row = replace(row, image=b"")
        if len(row.raw) > limit:
            message += f" (the first {limit} of {len(row.raw)} raw bytes were kept)"
            row = replace(row, raw=row.raw[:limit])
        return replace(row, message=message)


def _steps(values: Sequence[T]) -> Iterator[Sequence[T]]:
    return (values[n : n + _STEP] for n in range(0, len(values), _STEP))


def _identity(row: DirtyRow) -> str:
    """Return a digest that two rows share if they are the same row refused twice."""
    parts = [row.stage, row.table.database, row.table.table, row.target, str(row.seq)]
    digest = blake2b(digest_size=16)
    for part in [*parts, row.key] if row.key else [*parts, "", row.position]:
        digest.update(part.encode("utf-8", "surrogatepass") + b"\0")
    if not row.key:  # without a key, rows of one place differ by their bytes alone
        digest.update(row.raw or row.image)
    return digest.hexdigest()


def _dirty_row(row: Row[Any]) -> DirtyRow:
    return DirtyRow(
        id=row.id,
        pipeline=row.pipeline,
        stage=row.stage,
        table=TableId(row.database_name, row.table_name),
        target=row.target,
        seq=row.seq,
        op=RowKind(row.op),
        key=row.row_key,
        position=row.log_position,
        field=row.field,
        error=row.error,
        message=row.message,
        image=row.image,
        raw=row.raw,
        ts_us=row.ts_us,
        first_seen_us=row.first_seen_us,
        last_seen_us=row.last_seen_us,
        attempts=row.attempts,
        state=row.state,
        reason=row.reason,
    )
