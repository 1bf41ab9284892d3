"""Schema changes of a pipeline's sources: what each came to, and who decided what was held.

In: the steps of plans. Out: what waits for a decision, and the decisions. A change is known by
table, target, `_cdc_seq`, event and column, so planning again after a crash finds its row.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from sqlalchemy import Connection, Row, Select, select, update

from resources.model.table import TableId
from resources.stores.database import StateDatabase, clean_text
from resources.stores.identity import digest
from resources.stores.tables import schema_changes

ChangeState: TypeAlias = Literal[
    "held", "applied", "ignored", "failed", "skipped", "replaced", "refused"
]
Decision: TypeAlias = Literal["applied", "skipped", "replaced"]
_UNDECIDED: tuple[ChangeState, ...] = ("held", "refused", "failed")


@dataclass(frozen=True)
class SchemaChange:
    """One change of a source table's columns, and what became of it in a target.

    Args:
        table: The source table.
        target: The target table in words.
        seq: The `_cdc_seq` before which it happened.
        event: What happened (`add_column`, `alter_key`, …).
        column: The column's name now; empty for the whole table.
        statement: The source's statement with literals cut, empty if none is known.
        position: Where in the log, in words.
        before: The column's type before, in words.
        after: Its type now.
        change_class: `safe`, `widening`, `lossy` or `destructive`.
        policy: The policy that decided.
        target_ddl: What is, or would be, run in the target; statements joined by `;` and newline.
        why: What is done and why, in words.
        state: `applied` was done, by a policy or a decision; `held` waits for a decision;
            `refused` stopped the table; `ignored` left the target as it is; `failed` was refused
            by the sink and passed over; `skipped` and `replaced` by a person.
        replacement: The DDL a person gave in place of `target_ddl`.
        decided_by: Who decided, empty if a policy did.
        reason: The person's reason.
        id: Its id; set by the store.
        first_seen_us: When it was first recorded; set by the store.
        decided_us: When a person decided, None if none has; set by the store.
    """

    table: TableId
    target: str
    seq: int
    event: str
    column: str
    statement: str
    position: str
    before: str
    after: str
    change_class: str
    policy: str
    target_ddl: str
    why: str
    state: ChangeState
    replacement: str = ""
    decided_by: str = ""
    reason: str = ""
    id: int = 0
    first_seen_us: int = 0
    decided_us: int | None = None


class SchemaChangeStore:
    """The schema changes of one pipeline.

    Args:
        db: The state database.
        pipeline: The pipeline's name.
    """

    def __init__(self, db: StateDatabase, pipeline: str) -> None:
        self._db = db
        self._pipeline = pipeline

    def record(self, changes: Iterable[SchemaChange]) -> list[SchemaChange]:
        """Keep changes, and return them as they are kept.

        One that is known gets what the plan says by now, unless a person has decided it: then it
        stays as it is.
        """
        with self._db.begin() as conn:
            return [self._record(conn, change) for change in changes]

    def held(self, table: TableId | None = None) -> list[SchemaChange]:
        """Return what waits for a decision, of one source table or all, in log order."""
        return self.list(table, ("held",))

    def list(
        self, table: TableId | None = None, states: Iterable[ChangeState] = ()
    ) -> list[SchemaChange]:
        """Return changes in log order.

        Args:
            table: Only those of this source table.
            states: Only those in one of these states; empty for all.
        """
        c = schema_changes.c
        query = self._all()
        if table is not None:
            query = query.where(c.database_name == table.database, c.table_name == table.table)
        wanted = tuple(states)
        if wanted:
            query = query.where(c.state.in_(wanted))
        with self._db.read() as conn:
            return [_change(row) for row in conn.execute(query.order_by(c.seq, c.id))]

    def decide(
        self, change_id: int, state: Decision, who: str, why: str, replacement: str = ""
    ) -> bool:
        """Keep a person's decision about a change that is held, refused or failed.

        Args:
            change_id: The change.
            state: What was decided.
            who: The person.
            why: The reason.
            replacement: The DDL to run in place of the target's own; with `replaced` only.

        Returns:
            Whether it was still to be decided.
        """
        c = schema_changes.c
        with self._db.begin() as conn:
            changed = conn.execute(
                update(schema_changes)
                .where(c.pipeline == self._pipeline, c.id == change_id, c.state.in_(_UNDECIDED))
                .values(
                    state=state,
                    decided_by=clean_text(who),
                    reason=clean_text(why),
                    replacement=clean_text(replacement),
                    decided_us=self._db.now_us(conn),
                )
            )
        return changed.rowcount == 1

    def hold_again(self, change_id: int, why: str) -> None:
        """Note that the sink refused a person's statements: the change waits for another decision.

        Args:
            change_id: The change.
            why: What the sink said.
        """
        c = schema_changes.c
        with self._db.begin() as conn:
            conn.execute(
                update(schema_changes)
                .where(c.pipeline == self._pipeline, c.id == change_id, c.state == "replaced")
                .values(
                    state="held",
                    why=clean_text(why),
                    replacement="",
                    decided_by="",
                    decided_us=None,
                )
            )

    def fail(self, change_id: int, why: str) -> bool:
        """Note that the sink refused a change that was to be applied; returns whether it was."""
        c = schema_changes.c
        with self._db.begin() as conn:
            changed = conn.execute(
                update(schema_changes)
                .where(c.pipeline == self._pipeline, c.id == change_id, c.state == "applied")
                .values(state="failed", why=clean_text(why))
            )
        return changed.rowcount == 1

    def decisions(self, table: TableId, target: str, seq: int) -> dict[tuple[str, str], Decision]:
        """Return what persons decided about one statement, by event and column.

        Args:
            table: The source table.
            target: The target table in words.
            seq: The statement's `_cdc_seq`.
        """
        return {
            (change.event, change.column): change.state
            for change in self.list(table, ("applied", "skipped", "replaced"))
            if (change.target, change.seq) == (target, seq) and change.decided_us is not None
            if change.state in ("applied", "skipped", "replaced")
        }

    def _record(self, conn: Connection, change: SchemaChange) -> SchemaChange:
        c = schema_changes.c
        parts = (change.table.database, change.table.table, change.target, str(change.seq))
        identity = digest(*parts, change.event, change.column)
        told = {
            "statement": clean_text(change.statement),
            "log_position": clean_text(change.position),
            "type_before": clean_text(change.before),
            "type_after": clean_text(change.after),
            "change_class": change.change_class,
            "policy": change.policy,
            "target_ddl": clean_text(change.target_ddl),
            "why": clean_text(change.why),
            "state": change.state,
        }
        row = {
            "pipeline": self._pipeline,
            "identity": identity,
            "database_name": change.table.database,
            "table_name": change.table.table,
            "target": change.target,
            "seq": change.seq,
            "event": change.event,
            "column_name": clean_text(change.column),
            "replacement": "",
            "decided_by": "",
            "reason": "",
            "first_seen_us": self._db.now_us(conn),
            "decided_us": None,
        }
        self._db.insert_missing(conn, schema_changes, [row | told])
        mine = (c.pipeline == self._pipeline) & (c.identity == identity)
        conn.execute(update(schema_changes).where(mine, c.decided_us.is_(None)).values(told))
        return _change(conn.execute(select(schema_changes).where(mine)).one())

    def _all(self) -> Select[Any]:
        return select(schema_changes).where(schema_changes.c.pipeline == self._pipeline)


def _change(row: Row[Any]) -> SchemaChange:
    return SchemaChange(
        table=TableId(row.database_name, row.table_name),
        target=row.target,
        seq=row.seq,
        event=row.event,
        column=row.column_name,
        statement=row.statement,
        position=row.log_position,
        before=row.type_before,
        after=row.type_after,
        change_class=row.change_class,
        policy=row.policy,
        target_ddl=row.target_ddl,
        why=row.why,
        state=row.state,
        replacement=row.replacement,
        decided_by=row.decided_by,
        reason=row.reason,
        id=row.id,
        first_seen_us=row.first_seen_us,
        decided_us=row.decided_us,
    )
