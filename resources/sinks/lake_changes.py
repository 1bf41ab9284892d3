"""Changes of a lake table's files: only files that hold a touched row are written anew.

In: a snapshot and rows. Out: a `Change` to commit against that snapshot, and the files written for
it, which are deleted if it is not committed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from resources.errors import DirtyRowError
from resources.failpoints import failpoint
from resources.sinks.contract import Feed, TargetTable
from resources.sinks.lake_files import FileReader, FileWriter, may_hold
from resources.sinks.lake_format import Change, DataFile, LakeFormat, Snapshot
from resources.sinks.lake_join import KeySet, Rows
from resources.sinks.lake_store import LakeStore
from resources.sinks.lake_types import to_storage
from resources.sinks.shape import belongs_elsewhere

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Hit:
    """Rows of a file whose key is one of those looked for.

    Args:
        file: The file.
        rows: Their numbers in the file.
        keys: The number of each one's key.
        owners: Whose they are, in a shared table; else empty.
    """

    file: DataFile
    rows: Rows
    keys: Rows
    owners: list[str | None]


class LakeChanges:
    """Changes of one snapshot; `files` are those written so far.

    Args:
        store: The place.
        format: The format.
        target: The table.
        snapshot: The table as it is.
    """

    def __init__(
        self, store: LakeStore, format: LakeFormat, target: TargetTable, snapshot: Snapshot
    ) -> None:
        self.target = target
        self.snapshot = snapshot
        self.types = format.types
        self.stored = format.types.stored_schema(snapshot.schema)
        folder = format.folder(target.id)
        self.reader = FileReader(store, folder, self.stored)
        prefix = f"{format.staging}part-"
        self.writer = FileWriter(store, folder, self.stored, snapshot.partition_by, prefix)

    def merge(self, upserts: pa.Table, deletes: pa.Table, feed: Feed) -> Change:
        """Return the change that deletes and upserts by key.

        A row that replaces one is written where that one was, and a file is written anew by itself:
        so files keep to their keys, and the next merge finds few that may hold its own.

        Raises:
            DirtyRowError: A key of `upserts` belongs to another feed.
        """
        key = list(self.target.schema.key)
        keys = pa.concat_tables([upserts.select(key), deletes.select(key)])
        removed = []
        is_new = np.ones(upserts.num_rows, np.bool_)
        for hit in list(self.find(keys)):
            rows = self._own_rows(hit, upserts, feed)
            if len(rows):
                known = hit.keys[hit.keys < upserts.num_rows]
                known = np.unique(known[is_new[known]])
                is_new[known] = False
                self.write(upserts.take(pa.array(known)))
                self.write_without(hit.file, rows)
                self.writer.end_large()
                removed.append(hit.file)
        failpoint("sink.after_delete")
        self.write(upserts.filter(pa.array(is_new)))
        failpoint("sink.after_insert")
        return Change("merge", self.writer.finish(), tuple(removed))

    def append(self, rows: pa.Table) -> Change:
        """Return the change that adds rows."""
        self.write(rows)
        failpoint("sink.after_insert")
        return Change("append", self.writer.finish())

    def truncate(self, feed: Feed) -> tuple[Change, int]:
        """Return the change that deletes all rows, of a shared table the feed's; and how many."""
        removed, count = self.remove_own(feed)
        failpoint("sink.after_delete")
        return Change("truncate", self.writer.finish(), tuple(removed)), count

    def foreign(self, rows: pa.Table) -> dict[int, str]:
        """Return why a row is refused, by number, where another feed has its key."""
        if not self.target.owner or self.target.mode != "merge" or not rows.num_rows:
            return {}
        own = rows[self.target.owner].to_pylist()
        found = {}
        for hit in self.find(rows.select(list(self.target.schema.key))):
            for number, owner in zip(hit.keys, hit.owners, strict=True):
                if owner != own[number]:
                    found[int(number)] = belongs_elsewhere(owner, own[number])
        return found

    def find(self, keys: pa.Table) -> Iterator[Hit]:
        """Yield the files that have some of these keys, and where.

        Args:
            keys: The key columns, in the Arrow types of the target.
        """
        names = keys.column_names
        stored = to_storage(keys, self.types)
        columns = [*names, self.target.owner] if self.target.owner else names
        files = [f for f in self.snapshot.files if may_hold(f, stored)]
        if not files:
            return
        with KeySet(stored.schema.types) as held:
            held.add(stored)
            for file in files:
                live = self.reader.read(file, columns)
                rows, numbers = held.match(live.select(names))
                if len(rows):
                    yield Hit(file, rows, numbers, self._owners(live, rows))

    def remove_own(self, feed: Feed) -> tuple[list[DataFile], int]:
        """Write the files with rows of a feed anew without them; return the files and a count."""
        removed, count = [], 0
        for file in self.snapshot.files:
            own = self.own_mask(file, feed)
            rows = self.reader.count(file) if own is None else int(own.sum())
            if rows or own is None:
                if own is not None and rows < len(own):
                    self.write_without(file, np.flatnonzero(own))
                removed.append(file)
                count += rows
        return removed, count

    def own_mask(self, file: DataFile, feed: Feed) -> Mask | None:
        """Return which rows of a file are a feed's, None if all are."""
        owner = self.target.owner
        if not owner or self._is_all_own(file, feed):
            return None
        owners = self.reader.read(file, [owner])[owner]
        own = pc.fill_null(pc.equal(owners, str(feed)), False)
        return np.asarray(own.combine_chunks().to_numpy(zero_copy_only=False))

    def write_without(self, file: DataFile, rows: Rows) -> None:
        """Write a file's rows again but for some."""
        keep = np.ones(self.reader.count(file), np.bool_)
        keep[rows] = False
        start = 0
        for part in self.reader.batches(file):
            stop = start + part.num_rows
            self.writer.write(part.filter(pa.array(keep[start:stop])))
            start = stop

    def write(self, rows: pa.Table) -> None:
        """Write rows in the Arrow types of the target."""
        self.writer.write(to_storage(rows, self.types))

    def _own_rows(self, hit: Hit, upserts: pa.Table, feed: Feed) -> Rows:
        """Return the rows to delete; those of other feeds are passed over.

        Raises:
            DirtyRowError: One is to be replaced by the feed's.
        """
        if not self.target.owner:
            return np.unique(hit.rows)
        foreign = np.array([owner != str(feed) for owner in hit.owners], np.bool_)
        claimed = foreign & (hit.keys < upserts.num_rows)
        if claimed.any():
            other = hit.owners[int(np.flatnonzero(claimed)[0])]
            raise DirtyRowError(belongs_elsewhere(other, str(feed)), where=str(self.target.id))
        return np.unique(hit.rows[~foreign])

    def _owners(self, live: pa.Table, rows: Rows) -> list[str | None]:
        owner = self.target.owner
        return list(live[owner].take(pa.array(rows)).to_pylist()) if owner else []

    def _is_all_own(self, file: DataFile, feed: Feed) -> bool:
        owner, name = self.target.owner, str(feed)
        if owner in file.partition:
            return bool(file.partition[owner] == name)
        return file.bounds.get(owner) == (name, name) and file.nulls.get(owner) == 0
