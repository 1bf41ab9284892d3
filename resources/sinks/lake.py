"""The sink of every lake format: tables as sets of Parquet files, changed by one commit each.

In: reduced changes, appended changes, snapshot chunks as Arrow tables. Out: tables any engine of
the format reads, the watermark in the commit of the data.

Every write reads a snapshot, compares the fence with the state in it, writes new files beside it,
and commits against that very snapshot. Where another commit came between, the files are deleted
and it begins again, with the fence. A format has the snapshots and commits (`LakeFormat`).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pyarrow as pa

from resources.errors import ConfigError
from resources.failpoints import failpoint
from resources.model.column_change import ColumnChange
from resources.model.source import Finding
from resources.model.table import TableId
from resources.sinks import shape
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
from resources.sinks.lake_alter import KINDS, LakeColumns
from resources.sinks.lake_changes import LakeChanges
from resources.sinks.lake_check import check_fit, lake_findings, require_types
from resources.sinks.lake_commit import ATTEMPTS, LakeCommits, against, too_many
from resources.sinks.lake_feeds import LakeFeeds
from resources.sinks.lake_files import FileReader
from resources.sinks.lake_format import Change, LakeFormat, LostRace, Snapshot
from resources.sinks.lake_landing import LakeLanding
from resources.sinks.lake_rows import refuse_rows, refused_rows
from resources.sinks.lake_store import LakeStore
from resources.sinks.lake_types import from_storage
from resources.sinks.loading import LoadingSink
from resources.sinks.maintenance import LEAST_SECONDS, Upkeep

_READERS = 8


class LakeSink(LoadingSink):
    """Target tables of one lake format.

    Args:
        store: The place.
        format: The format.
    """

    def __init__(self, store: LakeStore, format: LakeFormat) -> None:
        self.store = store
        self.format = format
        self._feeds = LakeFeeds(store)
        self._commits = LakeCommits(store, format, self._feeds)
        self._columns = LakeColumns(store, format)
        self._loads = LakeLanding(store, format, self._commits)
        wide = format.types.text_decimals
        self.capabilities = Capabilities(
            schema_changes=KINDS,
            folds_case=True,
            parallel_writers=True,
            decimal_precision=76 if wide else 38,
            refused_types=frozenset() if wide else frozenset({"decimal256"}),
        )

    def check_table(self, target: TargetTable) -> list[Finding]:
        """Return findings about names, types, key, partitions, and a table there already."""
        return lake_findings(target, self.format.types, lambda: self.format.read(target.id))

    def read_schema(self, target: TargetId) -> pa.Schema | None:
        """Return the columns there are now, in the Arrow types they were made for."""
        live = self.format.read(target)
        return None if live is None else live.schema

    def create_table(self, target: TargetTable) -> None:
        """Create the table if it is missing."""
        if self.format.read(target.id) is None:
            require_types(target, self.format.types)
            with suppress(LostRace):
                schema = shape.target_schema(target)
                self.format.create(target.id, schema, target.partition_keys, Change("create"))

    def drop_table(self, target: TargetId) -> None:
        """Drop the table, its watermarks and loads."""
        failpoint("sink.before_commit")
        self.format.drop(target)
        self._feeds.forget(target)

    def read_table(self, target: TargetId) -> pa.Table:
        """Return all rows in the Arrow types the table was made for."""
        for _ in range(ATTEMPTS):
            live = self._live(target)
            reader = self._reader(target, live)
            with suppress(LostRace), against(self.format, target, live):
                parts = [from_storage(reader.read(f), live.schema) for f in live.files]
                return pa.concat_tables([live.schema.empty_table(), *parts])
        raise too_many(target)

    def count_rows(self, target: TargetId) -> int:
        """Return the number of rows."""
        live = self._live(target)
        reader = self._reader(target, live)
        return sum(reader.count(f) for f in live.files)

    def alter_table(self, target: TargetId, changes: Sequence[ColumnChange]) -> None:
        """Change a table's columns in one commit; see `Sink.alter_table`."""
        self._columns.alter(target, changes)
        failpoint("sink.alter.after_commit")

    def render_changes(self, target: TargetId, changes: Sequence[ColumnChange]) -> list[str]:
        """Return the changes `alter_table` would make, in words."""
        return self._columns.render(target, changes)

    def execute(self, statements: Sequence[str]) -> None:
        """Refuse statements: files know none."""
        if statements:
            raise ConfigError(
                "a lake of files knows no statements",
                remedy="decide to apply or to skip instead, or make the change with another engine",
            )

    def read_watermark(self, target: TargetId, feed: Feed) -> Watermark | None:
        """Return a feed's watermark, None if there is none."""
        live = self.format.read(target)
        state = None if live is None else live.state(feed)
        return None if state is None else state.watermark

    def list_watermarks(self, pipeline: str) -> dict[tuple[TargetId, TableId], Watermark]:
        """Return every watermark of a pipeline."""
        feeds = self._feeds.of(pipeline)
        targets = sorted({target for target, _ in feeds})
        with ThreadPoolExecutor(_READERS) as pool:
            tables = dict(zip(targets, pool.map(self.format.read, targets), strict=True))
        found = {}
        for target, feed in feeds:
            live = tables[target]
            state = None if live is None else live.state(feed)
            if state is not None:
                found[target, feed.table] = state.watermark
        return found

    def list_feeds(self, target: TargetId) -> list[Feed]:
        """Return every feed that has a watermark in a table, sorted."""
        live = self.format.read(target)
        noted = [] if live is None else self._feeds.into(target)
        return sorted(feed for feed in noted if live is not None and live.state(feed) is not None)

    def merge(
        self, target: TargetTable, upserts: pa.Table, deletes: pa.Table, fence: Fence
    ) -> Written:
        """Delete and upsert by key in one commit; see `Sink.merge`."""
        shape.check_merge(target, upserts, deletes, fence.feed)

        def build(changes: LakeChanges) -> Change:
            refuse_rows(target, upserts, changes.snapshot.partition_by)
            return changes.merge(upserts, deletes, fence.feed)

        self._commits.write(target, fence, build)
        return Written(upserts.num_rows, deletes.num_rows)

    def truncate(self, target: TargetTable, fence: Fence) -> int:
        """Delete all rows, of a shared target the feed's; see `Sink.truncate`."""
        count = 0

        def build(changes: LakeChanges) -> Change:
            nonlocal count
            change, count = changes.truncate(fence.feed)
            return change

        self._commits.write(target, fence, build)
        return count

    def append(self, target: TargetTable, rows: pa.Table, fence: Fence) -> Written:
        """Add rows in one commit; see `Sink.append`."""
        shape.check_append(target, rows, fence.feed)

        def build(changes: LakeChanges) -> Change:
            refuse_rows(target, rows, changes.snapshot.partition_by)
            return changes.append(rows)

        self._commits.write(target, fence, build)
        return Written(rows.num_rows)

    def find_rejected(self, target: TargetTable, rows: pa.Table) -> list[RejectedWrite]:
        """Name the rows a merge or append would refuse, without writing any."""
        shape.check_rows(target, rows, shape.target_schema(target))
        live = self.format.read(target.id)
        partition_by = target.partition_keys if live is None else live.partition_by
        refused = refused_rows(target, rows, partition_by)
        found = [RejectedWrite(i, r.field, r.message) for i, r in refused.items()]
        if live is not None and target.owner:
            check_fit(target, live, self.format.types)
            foreign = self._commits.changes(target, live).foreign(rows)
            found += [RejectedWrite(i, "", m) for i, m in foreign.items() if i not in refused]
        return sorted(found, key=lambda r: r.index)

    def maintain(self, target: TargetId, keep_seconds: float) -> Upkeep:
        """Join small files and delete old ones; see `Maintained.maintain`."""
        for _ in range(ATTEMPTS):
            with suppress(LostRace):
                return self.format.maintain(target, max(keep_seconds, LEAST_SECONDS))
        raise too_many(target)

    def close(self) -> None:
        """Do nothing: no connection outlives a call."""

    def _live(self, target: TargetId) -> Snapshot:
        live = self.format.read(target)
        if live is None:
            raise shape.no_table(target)
        return live

    def _reader(self, target: TargetId, live: Snapshot) -> FileReader:
        stored = self.format.types.stored_schema(live.schema)
        return FileReader(self.store, self.format.folder(target), stored)
