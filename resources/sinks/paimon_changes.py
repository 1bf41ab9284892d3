"""Changes of a Paimon table: rows and deletions are written beside those there are.

In: a snapshot and rows. Out: a `Change` to commit against that snapshot. What a merge costs grows
with what it changes: nothing is read, unless several feeds share the table or its keys may move
from partition to partition; then the live rows of the keys are looked up.

Deletions get the next sequence number and rows the one after, so that a row of the same write wins.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from resources.errors import SchemaMismatch
from resources.failpoints import failpoint
from resources.sinks.contract import Feed, TargetTable
from resources.sinks.lake_changes import LakeChanges, Mask
from resources.sinks.lake_commit import LakeCommits
from resources.sinks.lake_format import Change, DataFile, LakeFormat, Snapshot
from resources.sinks.lake_types import to_storage
from resources.sinks.paimon_files import DELETED, PaimonWriter
from resources.sinks.paimon_read import PaimonReader
from resources.sinks.paimon_schema import layout_of
from resources.sinks.paimon_snapshot import PaimonSnapshot
from resources.sinks.parquet_store import ParquetStore


class PaimonChanges(LakeChanges):
    """Changes of one snapshot; see `LakeChanges`.

    Args:
        store: The place.
        format: The format.
        target: The table.
        snapshot: The table as it is.
    """

    def __init__(
        self, store: ParquetStore, format: LakeFormat, target: TargetTable, snapshot: PaimonSnapshot
    ) -> None:
        super().__init__(store, format, target, snapshot)
        self.reader = PaimonReader(store, target.id, snapshot)
        self._writer = PaimonWriter(store, snapshot.folder, snapshot.table, snapshot.sequence + 1)
        self.writer = self._writer
        self._layout = layout_of(snapshot.table)
        self._merges = snapshot.merges

    def merge(self, upserts: pa.Table, deletes: pa.Table, feed: Feed) -> Change:
        """Return the change that deletes and upserts by key; see `LakeChanges.merge`."""
        if not self._merges:  # other engines than `deduplicate` know no deletions
            self._delete(upserts, deletes, feed)
        failpoint("sink.after_delete")
        self.write(upserts)
        failpoint("sink.after_insert")
        return Change("merge", self.writer.finish())

    def remove_own(self, feed: Feed) -> tuple[list[DataFile], int]:
        """Write deletions of a feed's rows; return the buckets that are its own and a count."""
        if not self._layout.key:
            return super().remove_own(feed)
        whole, count = [], 0
        names = list(dict.fromkeys([*self._layout.key, *self._layout.partition_by]))
        for file in self.snapshot.files:
            own = self.own_mask(file, feed)
            rows = self.reader.count(file) if own is None else int(own.sum())
            if own is None or own.all():
                whole.append(file)
            elif rows:
                keys = self.reader.read(file, names).filter(pa.array(own))
                self._writer.write(keys, DELETED)
            count += rows
        return whole, count

    def _delete(self, upserts: pa.Table, deletes: pa.Table, feed: Feed) -> None:
        if self.target.owner or self._layout.crosses:
            self._delete_found(upserts, deletes, feed)
        else:
            self._writer.write(to_storage(deletes, self.types), DELETED)

    def _delete_found(self, upserts: pa.Table, deletes: pa.Table, feed: Feed) -> None:
        """Write deletions of live rows: of the keys to delete, and of rows in other partitions."""
        key = list(self.target.schema.key)
        keys = pa.concat_tables([upserts.select(key), deletes.select(key)])
        stored = to_storage(keys, self.types)
        for hit in list(self.find(keys)):
            chosen = self._own_rows(hit, upserts, feed)
            numbers = np.unique(hit.keys[np.isin(hit.rows, chosen)])
            moved = ~self._stays(hit.file, upserts)
            gone = numbers[(numbers >= len(moved)) | np.isin(numbers, np.flatnonzero(moved))]
            rows = stored.take(pa.array(gone))
            for name, value in hit.file.partition.items():
                if name not in key:
                    one = pa.scalar(value, self.stored.field(name).type)
                    rows = rows.append_column(name, pa.repeat(one, rows.num_rows))
            self._writer.write(rows, DELETED)

    def _stays(self, bucket: DataFile, upserts: pa.Table) -> Mask:
        """Return which upserts go into the partition of a bucket."""
        stays: Mask = np.ones(upserts.num_rows, np.bool_)
        for name, value in bucket.partition.items():
            column = to_storage(upserts.select([name]), self.types)[name]
            one = pa.scalar(value, column.type)
            same = column.is_null() if value is None else pc.fill_null(pc.equal(column, one), False)
            stays &= np.asarray(same.combine_chunks().to_numpy(zero_copy_only=False))
        return stays


KEY_REMEDY = "materialize the table's snapshot partition, or drop the table"


def other_key(target: TargetTable, live: PaimonSnapshot) -> str:
    """Return what is wrong with the primary key of a table, empty if it is the target's."""
    wanted = target.schema.key if target.mode == "merge" else ()
    if set(wanted) == set(live.layout.key):
        return ""
    return f"the table's primary key is {list(live.layout.key)}, not {list(wanted)}"


class PaimonCommits(LakeCommits):
    """Commits to Paimon tables."""

    def changes(self, target: TargetTable, live: Snapshot) -> LakeChanges:
        """Return the changes of a snapshot, of which there are none yet.

        Raises:
            SchemaMismatch: Its primary key is not the target's.
        """
        store, snapshot = cast(ParquetStore, self._store), cast(PaimonSnapshot, live)
        if other_key(target, snapshot):
            raise SchemaMismatch(
                other_key(target, snapshot), where=str(target.id), remedy=KEY_REMEDY
            )
        return PaimonChanges(store, self._format, target, snapshot)
