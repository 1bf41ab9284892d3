"""Changes of a lake table's columns, in one commit.

In: `ColumnChange`s. Out: new columns of NULLs without touching a file; for all else the table's
files written anew, every value exact, and put in place at once with the new columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa

from resources.errors import ConfigError
from resources.failpoints import failpoint
from resources.model.column_change import (
    FILL,
    AddColumn,
    ColumnChange,
    DropColumn,
    RenameColumn,
    RetypeColumn,
)
from resources.sinks.column_plan import ColumnPlan, ColumnRules, plan_changes
from resources.sinks.contract import TargetId
from resources.sinks.lake_commit import ATTEMPTS, against, too_many
from resources.sinks.lake_convert import change_columns
from resources.sinks.lake_files import FileReader, FileWriter
from resources.sinks.lake_format import Change, DataFile, LakeFormat, LostRace, Snapshot
from resources.sinks.lake_store import LakeStore
from resources.sinks.lake_types import from_storage, to_storage
from resources.sinks.memory_tables import described
from resources.sinks.shape import no_table

KINDS = frozenset({"add", "drop", "rename", "retype", FILL})
"""`Capabilities.schema_changes` of every lake format that can replace its files and columns."""


class LakeColumns:
    """The columns of one lake's tables.

    Args:
        store: The place.
        format: The format.
    """

    def __init__(self, store: LakeStore, format: LakeFormat) -> None:
        self._store = store
        self._format = format

    def alter(self, target: TargetId, changes: Sequence[ColumnChange]) -> None:
        """Change a table's columns; see `Sink.alter_table`."""
        for _ in range(ATTEMPTS):
            live = self._live(target)
            plan = self._plan(target, live, changes)
            try:
                if plan.changes:
                    self._make(target, live, plan)
            except LostRace:
                continue
            return
        raise too_many(target)

    def render(self, target: TargetId, changes: Sequence[ColumnChange]) -> list[str]:
        """Return the changes still to be made, in words."""
        plan = self._plan(target, self._live(target), changes)
        return [described(target, planned) for planned in plan.changes]

    def _make(self, target: TargetId, live: Snapshot, plan: ColumnPlan) -> None:
        for _ in plan.changes:
            failpoint("sink.alter.after_change")
        if all(_is_plain_add(p.change) for p in plan.changes):
            failpoint("sink.before_commit")
            new = [f for f in plan.after if f.name not in live.schema.names]
            self._format.add_columns(target, live, pa.schema(new))
            return
        stored = self._format.types.stored_schema(plan.after)
        folder, prefix = self._format.folder(target), f"{self._format.staging}part-"
        writer = FileWriter(self._store, folder, stored, live.partition_by, prefix)
        reader = FileReader(self._store, folder, self._format.types.stored_schema(live.schema))

        def commit(files: tuple[DataFile, ...]) -> None:
            self._format.commit(target, live, Change("alter", files, schema=plan.after))

        self._rewrite(target, live, plan, reader, writer, commit)

    def _rewrite(
        self,
        target: TargetId,
        live: Snapshot,
        plan: ColumnPlan,
        reader: FileReader,
        writer: FileWriter,
        commit: Callable[[tuple[DataFile, ...]], None],
    ) -> None:
        """Write every row anew with the columns as planned, and commit the files."""
        with writer.abandoned_on_error():
            with against(self._format, target, live):
                for file in live.files:
                    for part in reader.batches(file):
                        rows = change_columns(target, from_storage(part, live.schema), plan.changes)
                        writer.write(to_storage(rows.select(plan.after.names), self._format.types))
            files = writer.finish()
            failpoint("sink.before_commit")
        try:
            commit(files)
        except LostRace:
            if not self._is_there(target, files):
                writer.abandon()
                raise

    def _is_there(self, target: TargetId, files: Sequence[DataFile]) -> bool:
        """Return whether a commit without an answer is there after all."""
        paths = {name for f in self._live(target).files for name in (f.path, f.name)}
        return any(f.path in paths for f in files)

    def _live(self, target: TargetId) -> Snapshot:
        live = self._format.read(target)
        if live is None:
            raise no_table(target)
        return live

    def _plan(
        self, target: TargetId, live: Snapshot, changes: Sequence[ColumnChange]
    ) -> ColumnPlan:
        rules = ColumnRules(KINDS, str.lower, pa.DataType.equals)
        plan = plan_changes(target, live.schema, changes, rules)
        for planned in plan.changes:
            self._require_possible(target, live, planned.change)
        return plan

    def _require_possible(self, target: TargetId, live: Snapshot, change: ColumnChange) -> None:
        match change:
            case AddColumn(column=column) | RetypeColumn(column=column):
                if self._format.types.stored(column.type) is None:
                    raise ConfigError(
                        f"column {column.name!r} has type {column.type}, which this lake format "
                        "cannot hold",
                        where=str(target),
                        remedy="exclude the column",
                    )
                touched = column.name
            case DropColumn(name=name) | RenameColumn(old=name):
                touched = name
        if touched in live.partition_by:
            raise ConfigError(
                f"column {touched!r} is what the table is partitioned by: it cannot be changed",
                where=str(target),
                remedy="drop the table and load it again",
            )


def _is_plain_add(change: ColumnChange) -> bool:
    return isinstance(change, AddColumn) and not change.copy_of and change.fill is None
