"""Upkeep of an Iceberg table: small files joined, old snapshots expired, what none needs deleted.

In: a table and how long its past is kept. Out: a snapshot of the same rows in fewer files, the
feeds' states carried on; then fewer snapshots; then fewer files.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pyarrow.fs as fs
from pyiceberg.table import Table
from pyiceberg.table.snapshots import ancestors_of

from resources.sinks.contract import TargetId
from resources.sinks.iceberg_snapshot import has_states, plain_url
from resources.sinks.iceberg_table import IcebergTables
from resources.sinks.lake_compact import join_small_files
from resources.sinks.lake_store import OWN_FOLDER, LakeStore
from resources.sinks.maintenance import Upkeep


class IcebergUpkeep:
    """The upkeep of one table.

    Args:
        store: The place.
        tables: The format.
        target: The table.
    """

    def __init__(self, store: LakeStore, tables: IcebergTables, target: TargetId) -> None:
        self._store = store
        self._tables = tables
        self._target = target
        self._folder = tables.folder(target)

    def run(self, keep_seconds: float) -> Upkeep:
        """Do it.

        Args:
            keep_seconds: As in `Maintained.maintain`.

        Raises:
            LostRace: A writer came first; what is left to do is done by the next call.
        """
        live = self._tables.read(self._target)
        if live is None:
            return Upkeep()
        joined, written = join_small_files(self._store, self._tables, self._target, live)
        oldest = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=keep_seconds)
        table = self._tables.open(self._target)
        if table is None:
            return Upkeep(joined, written)
        with self._tables.catalog.translated(self._target):
            self._expire(table, oldest)
            needed = {plain_url(name) for name in self._needed(table)}
        return Upkeep(joined, written, self._delete(needed, oldest))

    def _expire(self, table: Table, oldest: dt.datetime) -> None:
        """Expire the snapshots before a moment, but those that lead to the feeds' states."""
        limit = int(oldest.timestamp() * 1000)
        heads = {ref.snapshot_id for ref in table.metadata.refs.values()}
        for snapshot in ancestors_of(table.current_snapshot(), table.metadata):
            heads.add(snapshot.snapshot_id)
            if has_states(snapshot):
                break
        old = [
            s.snapshot_id
            for s in table.snapshots()
            if s.timestamp_ms < limit and s.snapshot_id not in heads
        ]
        if old:
            table.maintenance.expire_snapshots().by_ids(old).commit()
            table.refresh()

    def _needed(self, table: Table) -> Iterator[str]:
        """Yield every file that the table's metadata names."""
        yield table.metadata_location
        yield from (entry.metadata_file for entry in table.metadata.metadata_log)
        yield from (s.statistics_path for s in table.metadata.statistics)
        seen = set()
        for snapshot in table.snapshots():
            yield snapshot.manifest_list
            for manifest in snapshot.manifests(table.io):
                if manifest.manifest_path not in seen:
                    seen.add(manifest.manifest_path)
                    yield manifest.manifest_path
                    for entry in self._tables.manifests.entries(manifest, table.io):
                        yield entry.data_file.file_path

    def _delete(self, needed: set[str], oldest: dt.datetime) -> int:
        """Delete the files of the table's folder that are old and not needed."""
        chosen = fs.FileSelector(
            self._store.path(self._folder), allow_not_found=True, recursive=True
        )
        with self._store.translated(self._folder):
            found = self._store.filesystem.get_file_info(chosen)
        start = len(self._store.root) + 1
        count = 0
        for info in found:
            name = info.path[start:]
            if info.type != fs.FileType.File or name.startswith(f"{self._folder}/{OWN_FOLDER}/"):
                continue
            is_old = info.mtime is not None and info.mtime < oldest
            if is_old and plain_url(self._store.url(name)) not in needed:
                self._store.delete(name)
                count += 1
        return count
