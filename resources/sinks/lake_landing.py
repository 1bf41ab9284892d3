"""Loads from their begin to their place in the live table, for every lake format.

In: chunks of rows, beside a table that stays readable and mergeable. Out: one commit that puts the
loaded files in the place of the table's, or of the feed's rows in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from resources.errors import TerminalError
from resources.failpoints import failpoint
from resources.sinks import shape
from resources.sinks.contract import Feed, Fence, TargetId, TargetTable, Watermark
from resources.sinks.fence import check_token
from resources.sinks.lake_changes import LakeChanges
from resources.sinks.lake_check import check_fit, require_types
from resources.sinks.lake_commit import (
    ATTEMPTS,
    LakeCommits,
    against,
    next_state,
    too_many,
)
from resources.sinks.lake_files import FileReader
from resources.sinks.lake_fold import LakeFold
from resources.sinks.lake_format import (
    Change,
    DataFile,
    FeedState,
    LakeFormat,
    LostRace,
    Snapshot,
)
from resources.sinks.lake_loads import LakeLoad, LakeLoads
from resources.sinks.lake_rows import refuse_rows
from resources.sinks.lake_store import LakeStore
from resources.sinks.lake_types import to_storage


class LakeLanding:
    """The loads of one lake.

    Args:
        store: The place.
        format: The format.
        commits: Commits to its tables.
    """

    def __init__(self, store: LakeStore, format: LakeFormat, commits: LakeCommits) -> None:
        self._store = store
        self._format = format
        self._commits = commits

    def begin(self, target: TargetTable, load_id: str, feed: Feed) -> None:
        """Start a load or keep the one of this id; see `Sink.begin_load`."""
        loads = self._loads(target.id)
        load = loads.find(load_id)
        if load is not None:
            if load.feed != feed:
                raise shape.load_of_another(target.id, load_id, str(load.feed))
            return
        require_types(target, self._format.types)
        live = self._format.read(target.id)
        state = None if live is None else live.state(feed)
        partition_by = target.partition_keys if live is None else live.partition_by
        schema, layout = shape.target_schema(target), self._layout(target, live)
        load = LakeLoad(load_id, feed, schema, tuple(partition_by), layout)
        loads.begin(load, 0 if state is None else state.load)

    def chunks(self, target: TargetId, load_id: str) -> dict[int, int]:
        """Return the chunks that are in, and their row counts."""
        loads = self._loads(target)
        load = loads.find(load_id)
        if load is None:
            return {}
        return {number: chunk.rows for number, chunk in loads.chunks(load).items()}

    def write_chunk(
        self, target: TargetTable, load_id: str, chunk: int, rows: Iterable[pa.Table]
    ) -> int:
        """Write a chunk of a load unless it is there already; see `Sink.load_chunk`."""
        loads = self._loads(target.id)
        load = loads.require(target.id, load_id)
        done = loads.chunk(load, chunk)
        if done is not None:
            return done.rows
        if self._is_finished(self._format.read(target.id), load):
            raise shape.no_load(target.id, load_id)
        wanted = shape.target_schema(target)
        if {f.name: f.type for f in load.schema} != {f.name: f.type for f in wanted}:
            raise shape.misfit(target.id, shape.show_schema(load.schema), shape.show_schema(wanted))

        def checked() -> Iterator[pa.Table]:
            for part in rows:
                shape.check_rows(target, part, wanted)
                shape.check_owner(target, part, load.feed)
                refuse_rows(target, part, load.partition_by)
                yield to_storage(part, self._format.types)

        return loads.write(load, chunk, checked())

    def conflicts(self, target: TargetTable, load_id: str, feed: Feed) -> pa.Table:
        """Return the loaded rows whose keys other feeds have; see `Sink.load_conflicts`."""
        loads = self._loads(target.id)
        load = loads.require(target.id, load_id, feed)
        live = self._format.read(target.id)
        if not target.owner or live is None or self._is_finished(live, load):
            return load.schema.empty_table()
        changes = self._commits.changes(target, live)
        return self._fold(changes, load, _files(loads, load)).conflict_rows()

    def finish(
        self,
        target: TargetTable,
        load_id: str,
        fence: Fence,
        consistent_from: int,
        keep: Sequence[str],
        conflicts: int,
    ) -> int:
        """Put the loaded files in the live table's place; see `Sink.finish_load`."""
        loads = self._loads(target.id)
        load = loads.require(target.id, load_id, fence.feed)
        mark = Watermark(fence.new, consistent_from, fence.token)
        for _ in range(ATTEMPTS):
            live = self._format.read(target.id)
            old = None if live is None else live.state(fence.feed)
            if old is not None and old.load == load.number:
                return old.load_rows
            check_token(target.id, None if old is None else old.watermark, fence)
            shape.check_keep(target, None if live is None else live.schema, keep)
            if live is not None and target.existing == "kept" and not (keep or target.owner):
                check_fit(target, live, self._format.types)
            files = _files(loads, load)
            _require_files(target.id, loads, load, files)
            state = replace(next_state(old, mark), load=load.number)
            try:
                if live is None or not (target.owner or keep):
                    count = self._replace(target, load, live, files, state, conflicts)
                else:
                    count = self._fold_in(target, load, live, files, state, keep, conflicts)
            except LostRace:
                continue
            failpoint("sink.finish.after_commit")
            return count
        raise too_many(target.id)

    def abandon(self, target: TargetId, load_id: str) -> None:
        """Delete a load that will not be finished."""
        loads = self._loads(target)
        load = loads.find(load_id)
        if load is not None and not self._is_finished(self._format.read(target), load):
            loads.abandon(load)

    def _replace(
        self,
        target: TargetTable,
        load: LakeLoad,
        live: Snapshot | None,
        files: Sequence[DataFile],
        state: FeedState,
        conflicts: int,
    ) -> int:
        """Commit the loaded files in place of all there are."""
        if conflicts:
            raise shape.conflicts_changed(target.id, load.id, conflicts, 0)
        count = sum(f.rows or 0 for f in files)
        state = replace(state, load_rows=count)
        change = Change("load", tuple(files), schema=load.schema, layout=load.layout)
        failpoint("sink.finish.after_swap")
        failpoint("sink.finish.after_watermark")
        if live is None:
            self._commits.create(target.id, load, change, state)
        else:
            _require_partitions(target.id, load, live)
            self._commits.commit(target.id, live, change, load.feed, state)
        return count

    def _fold_in(
        self,
        target: TargetTable,
        load: LakeLoad,
        live: Snapshot,
        files: Sequence[DataFile],
        state: FeedState,
        keep: Sequence[str],
        conflicts: int,
    ) -> int:
        """Commit the loaded rows in place of the feed's."""
        _require_partitions(target.id, load, live)
        changes = self._commits.changes(target, live)
        count = sum(f.rows or 0 for f in files) - conflicts

        with against(self._format, target.id, live), changes.writer.abandoned_on_error():
            fold = self._fold(changes, load, files)
            found = np.array(sorted(fold.conflicts()), np.int64)
            if len(found) != conflicts:
                raise shape.conflicts_changed(target.id, load.id, conflicts, len(found))
            change = fold.change(keep, found)
        failpoint("sink.finish.after_watermark")
        try:
            self._commits.commit(
                target.id, live, change, load.feed, replace(state, load_rows=count)
            )
        except LostRace:
            changes.writer.abandon()
            raise
        return count

    def _fold(self, changes: LakeChanges, load: LakeLoad, files: Sequence[DataFile]) -> LakeFold:
        stored = self._format.types.stored_schema(load.schema)
        folder = self._format.folder(changes.target.id)
        loaded = FileReader(self._store, folder, stored)
        return LakeFold(changes, loaded, load.schema, files, load.feed)

    def _layout(self, target: TargetTable, live: Snapshot | None) -> str:
        """Return what else than partitions a load's files are laid out by; see `Change.layout`."""
        return ""

    def _loads(self, target: TargetId) -> LakeLoads:
        folder, staging = self._format.folder(target), self._format.staging
        return LakeLoads(self._store, folder, self._format.types, staging)

    def _is_finished(self, live: Snapshot | None, load: LakeLoad) -> bool:
        state = None if live is None else live.state(load.feed)
        return state is not None and state.load == load.number


def _files(loads: LakeLoads, load: LakeLoad) -> list[DataFile]:
    return [file for chunk in loads.chunks(load).values() for file in chunk.files]


def _require_files(
    target: TargetId, loads: LakeLoads, load: LakeLoad, files: Sequence[DataFile]
) -> None:
    missing = loads.missing(files)
    if missing:
        raise TerminalError(
            f"{len(missing)} files of the load are not there any more, {missing[0]} the first",
            where=f"{target}, load {load.id}",
            remedy="begin a new load; a clean-up of the table took files younger than the load",
        )


def _require_partitions(target: TargetId, load: LakeLoad, live: Snapshot) -> None:
    lost = [n for n in live.partition_by if n not in load.schema.names]
    if lost or tuple(load.partition_by) != tuple(live.partition_by):
        raise TerminalError(
            f"the table is partitioned by {list(live.partition_by)}; the load is not",
            where=f"{target}, load {load.id}",
            remedy="drop the table and load it again: its partition columns cannot change",
        )
