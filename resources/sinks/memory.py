"""The memory sink: the whole contract over Arrow tables, for tests and dry runs.

In: what every sink gets. Out: tables that live as long as the process, by store name, so that a
sink object given up in the middle of a call can be opened anew on what it left.

A transaction changes a copy of the store's state and puts it in place at the end; an exception
anywhere before leaves the old state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from resources.errors import ConfigError, DirtyRowError
from resources.failpoints import failpoint
from resources.model.column_change import FILL, ColumnChange
from resources.model.source import Finding
from resources.model.table import TableId
from resources.sinks import memory_tables as tables
from resources.sinks.bisect import Refusal, Rows, bisect_rejected
from resources.sinks.column_plan import ColumnPlan, ColumnRules, plan_changes
from resources.sinks.contract import (
    Capabilities,
    Feed,
    Fence,
    RejectedWrite,
    TargetId,
    TargetTable,
    Watermark,
    Written,
)
from resources.sinks.loading import LoadingSink
from resources.sinks.memory_loads import MemoryLoads
from resources.sinks.memory_state import STORES, Store, fits, fitting, move_watermark
from resources.sinks.shape import (
    check_append,
    check_merge,
    check_rows,
    misfit_finding,
    shape_findings,
    show_schema,
    target_schema,
)

Reject = Callable[[str, Any], bool]


class MemorySink(LoadingSink):
    """A sink in this process's memory.

    Args:
        name: Sinks of the same name share their tables.
        reject: Asked per column name and value of rows to write; True refuses the row. For
            tests of dirty data.
    """

    capabilities = Capabilities(
        decimal_precision=76,
        parallel_writers=True,
        schema_changes=frozenset({"add", "drop", "rename", "retype", FILL}),
    )

    def __init__(self, name: str = "default", *, reject: Reject | None = None) -> None:
        self._store = STORES.setdefault(name, Store())
        self._reject = reject
        self._loads = MemoryLoads(self._store, self._refuse_rejected)

    def check_table(self, target: TargetTable) -> list[Finding]:
        """Return findings about names, key, and a table of that name with other columns."""
        findings = shape_findings(target, fold=str)
        live = self._store.state.tables.get(target.id)
        if live is not None and not findings and not fits(live.schema, target_schema(target)):
            wanted = show_schema(target_schema(target))
            findings.append(misfit_finding(target, show_schema(live.schema), wanted))
        return findings

    def read_schema(self, target: TargetId) -> pa.Schema | None:
        """Return the target's columns, None if it does not exist."""
        live = self._store.state.tables.get(target)
        return None if live is None else live.schema

    def create_table(self, target: TargetTable) -> None:
        """Create the table if it is missing."""
        with self._store.transaction() as state:
            state.tables.setdefault(target.id, target_schema(target).empty_table())

    def drop_table(self, target: TargetId) -> None:
        """Drop the table, its watermarks and loads."""
        with self._store.transaction() as state:
            state.tables.pop(target, None)
            state.loads = {k: v for k, v in state.loads.items() if k[0] != target}
            state.watermarks = {k: w for k, w in state.watermarks.items() if k[0] != target}

    def read_table(self, target: TargetId) -> pa.Table:
        """Return all rows."""
        return self._store.state.live(target)

    def count_rows(self, target: TargetId) -> int:
        """Return the number of rows."""
        return int(self._store.state.live(target).num_rows)

    def alter_table(self, target: TargetId, changes: Sequence[ColumnChange]) -> None:
        """Change a table's columns in one transaction; see `Sink.alter_table`."""
        with self._store.transaction() as state:
            live = state.live(target)
            for planned in self._plan(live, target, changes).changes:
                live = tables.altered(target, live, planned)
                failpoint("sink.alter.after_change")
            state.tables[target] = live
        failpoint("sink.alter.after_commit")

    def render_changes(self, target: TargetId, changes: Sequence[ColumnChange]) -> list[str]:
        """Return the changes `alter_table` would make, in words."""
        live = self._store.state.live(target)
        plan = self._plan(live, target, changes)
        return [tables.described(target, planned) for planned in plan.changes]

    def execute(self, statements: Sequence[str]) -> None:
        """Refuse statements: this sink knows none."""
        if statements:
            raise ConfigError(
                "the memory sink knows no statements", remedy="decide to apply or to skip instead"
            )

    def read_watermark(self, target: TargetId, feed: Feed) -> Watermark | None:
        """Return the watermark, None if there is none."""
        return self._store.state.watermarks.get((target, feed))

    def list_watermarks(self, pipeline: str) -> dict[tuple[TargetId, TableId], Watermark]:
        """Return every watermark of a pipeline."""
        found = self._store.state.watermarks.items()
        return {(t, feed.table): mark for (t, feed), mark in found if feed.pipeline == pipeline}

    def list_feeds(self, target: TargetId) -> list[Feed]:
        """Return every feed that has a watermark in a table, sorted."""
        return sorted(feed for there, feed in self._store.state.watermarks if there == target)

    def merge(
        self, target: TargetTable, upserts: pa.Table, deletes: pa.Table, fence: Fence
    ) -> Written:
        """Delete and upsert by key in one transaction; see `Sink.merge`."""
        check_merge(target, upserts, deletes, fence.feed)
        with self._store.transaction() as state:
            live = fitting(state, target)
            move_watermark(state, target.id, fence)
            failpoint("sink.after_fence")
            touched = {*tables.keys(target, upserts), *tables.keys(target, deletes)}
            own = tables.is_own(target, live, fence.feed)
            found = zip(tables.keys(target, live), own, strict=True)
            live = tables.where(live, (not (mine and key in touched) for key, mine in found))
            failpoint("sink.after_delete")
            self._refuse_rejected(target, upserts, live)
            state.tables[target.id] = tables.added(live, upserts)
            failpoint("sink.after_insert")
        failpoint("sink.after_commit")
        return Written(upserts.num_rows, deletes.num_rows)

    def truncate(self, target: TargetTable, fence: Fence) -> int:
        """Delete all rows, of a shared target the feed's; see `Sink.truncate`."""
        with self._store.transaction() as state:
            live = fitting(state, target)
            move_watermark(state, target.id, fence)
            failpoint("sink.after_fence")
            own = tables.is_own(target, live, fence.feed)
            state.tables[target.id] = tables.where(live, (not mine for mine in own))
            failpoint("sink.after_delete")
        failpoint("sink.after_commit")
        return own.count(True)

    def append(self, target: TargetTable, rows: pa.Table, fence: Fence) -> Written:
        """Add rows in one transaction; see `Sink.append`."""
        check_append(target, rows, fence.feed)
        with self._store.transaction() as state:
            live = fitting(state, target)
            move_watermark(state, target.id, fence)
            failpoint("sink.after_fence")
            self._refuse_rejected(target, rows, live)
            state.tables[target.id] = tables.added(live, rows)
            failpoint("sink.after_insert")
        failpoint("sink.after_commit")
        return Written(rows.num_rows)

    def find_rejected(self, target: TargetTable, rows: pa.Table) -> list[RejectedWrite]:
        """Name the rows with NULL in the key, those the `reject` hook refuses, and keys taken."""
        check_rows(target, rows, target_schema(target))
        live = self._store.state.tables.get(target.id, target_schema(target).empty_table())

        def trial(indices: Rows) -> Refusal | None:
            return self._refusal(target, rows.take(pa.array(indices)), live)

        return bisect_rejected(rows.num_rows, trial)

    def close(self) -> None:
        """Do nothing: the tables outlive the sink."""

    def _plan(
        self, live: pa.Table, target: TargetId, changes: Sequence[ColumnChange]
    ) -> ColumnPlan:
        rules = ColumnRules(self.capabilities.schema_changes, str, pa.DataType.equals)
        return plan_changes(target, live.schema, changes, rules)

    def _refuse_rejected(self, target: TargetTable, rows: pa.Table, live: pa.Table | None) -> None:
        refusal = self._refusal(target, rows, live)
        if refusal is not None:
            raise DirtyRowError(refusal.message, field=refusal.field, where=str(target.id))

    def _refusal(
        self, target: TargetTable, rows: pa.Table, live: pa.Table | None
    ) -> Refusal | None:
        """Return why rows are refused; beside a live table, also for keys of other feeds."""
        for name in target.schema.key if target.mode == "merge" else ():
            if rows[name].null_count:
                return Refusal(name, "NULL in a key column")
        if self._reject is not None:
            for name in rows.column_names:
                if any(self._reject(name, value) for value in rows[name].to_pylist()):
                    return Refusal(name, "the sink's reject hook refused the value")
        foreign = {} if live is None else tables.foreign_owners(target, live, rows)
        for index, other in foreign.items():
            return Refusal("", tables.foreign_message(target, rows, index, other))
        return None
