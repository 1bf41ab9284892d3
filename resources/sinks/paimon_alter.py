"""Changes of a Paimon table's columns, in one commit.

In: `ColumnChange`s. Out: columns added, dropped and renamed by Paimon's own schema evolution, which
touches no file; for all else, and where the key changes, the rows written anew, every value exact,
and put in place by one commit. The schema file comes before it, so that other readers may see the
new columns over the old rows for a moment; a change broken off in between is made again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from resources.failpoints import failpoint
from resources.model.column_change import AddColumn, DropColumn, RenameColumn, RetypeColumn
from resources.sinks.column_plan import ColumnPlan, PlannedChange
from resources.sinks.contract import TargetId
from resources.sinks.lake_alter import LakeColumns
from resources.sinks.lake_format import Change, DataFile, Snapshot
from resources.sinks.paimon_files import PaimonWriter
from resources.sinks.paimon_read import PaimonReader
from resources.sinks.paimon_schema import ids_of
from resources.sinks.paimon_snapshot import PaimonSnapshot
from resources.sinks.paimon_table import PaimonTables
from resources.sinks.parquet_store import ParquetStore


class PaimonColumns(LakeColumns):
    """The columns of one place's tables; see `LakeColumns`."""

    def _make(self, target: TargetId, live: Snapshot, plan: ColumnPlan) -> None:
        for _ in plan.changes:
            failpoint("sink.alter.after_change")
        now = cast(PaimonSnapshot, live)
        after = _Columns(now)
        for planned in plan.changes:
            after.apply(planned)
        format = cast(PaimonTables, self._format)
        table = format.next_schema(now, plan.after, after.layout, after.ids)
        if after.is_native:
            failpoint("sink.before_commit")
            format.rename(now, table)
            return
        place = cast(ParquetStore, self._store)
        reader = PaimonReader(place, target, now)
        writer = PaimonWriter(place, now.folder, table, now.sequence + 1)

        def commit(files: tuple[DataFile, ...]) -> None:
            format.replace(now, table, Change("alter", files))

        self._rewrite(target, live, plan, reader, writer, commit)

    def _is_there(self, target: TargetId, files: Sequence[DataFile]) -> bool:
        """Return whether a commit without an answer is there after all."""
        live = cast(PaimonSnapshot, self._live(target))
        paths = {f.path for bucket in live.buckets.values() for f in bucket}
        return any(f.path in paths for f in files)


class _Columns:
    """Ids and key of a table's columns while changes are applied to them."""

    def __init__(self, live: PaimonSnapshot) -> None:
        self.layout = live.layout
        self.ids = ids_of(live.table)
        self.is_native = True
        """Whether Paimon makes the changes without touching a file."""

    def apply(self, planned: PlannedChange) -> None:
        match planned.change:
            case AddColumn(column=column, copy_of=copy_of, fill=fill):
                self.is_native &= not copy_of and fill is None
                if column.name not in planned.before.names:
                    self.ids.pop(column.name, None)
            case DropColumn(name=name):
                self._set_key(name, None)
                self.ids.pop(name, None)
            case RenameColumn(old=old, new=new):
                self._set_key(old, new)
                if old in self.ids:
                    self.ids[new] = self.ids.pop(old)
            case RetypeColumn():
                self.is_native = False

    def _set_key(self, old: str, new: str | None) -> None:
        """Give a column of the key another name, or take it from the key."""
        if old in self.layout.key:
            names = (new if name == old else name for name in self.layout.key)
            self.layout = replace(self.layout, key=tuple(n for n in names if n is not None))
            self.is_native = False
