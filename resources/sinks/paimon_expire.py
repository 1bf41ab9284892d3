"""Old snapshots of Paimon tables, and files that nothing needs any more.

In: a table and how long its past is kept. Out: snapshots older than that deleted, but for the last
one and those that a consumer of the table has still to read; then data files and manifests that no
snapshot, no tag and no load has named for a day.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow.fs as fs
from pypaimon.common.json_util import JSON
from pypaimon.manifest.manifest_file_manager import ManifestFileManager
from pypaimon.manifest.manifest_list_manager import ManifestListManager
from pypaimon.snapshot.snapshot import Snapshot as TableSnapshot
from pypaimon.tag.tag import Tag

from resources.sinks.lake_store import OWN_FOLDER
from resources.sinks.maintenance import LEAST_SECONDS
from resources.sinks.paimon_commit import SnapshotFiles
from resources.sinks.paimon_io import table_of
from resources.sinks.paimon_loads import PaimonLoads
from resources.sinks.paimon_snapshot import PaimonSnapshot
from resources.sinks.parquet_store import ParquetStore

_READERS = 8
_SWEPT = ("/bucket-", "/manifest/")
"""Folders that leftovers are in."""


def expire(store: ParquetStore, live: PaimonSnapshot, keep_seconds: float) -> int:
    """Delete old snapshots and leftovers; returns how many files.

    Args:
        store: The place.
        live: The table as it is.
        keep_seconds: How far back its snapshots are kept.
    """
    if live.snapshot is None:
        return 0
    oldest = time.time() - keep_seconds
    files = SnapshotFiles(store, live.folder)
    snapshots = [files.get(number) for number in files.numbers()]
    first = min(
        [s.id for s in snapshots if s.time_millis / 1000 >= oldest]
        + [live.snapshot.id, *_consumers(store, live.folder)]
    )
    kept = [s for s in snapshots if s.id >= first]
    gone = [s for s in snapshots if s.id < first]
    for snapshot in gone:
        store.delete(files.name(snapshot.id))
    began = min((s.time_millis / 1000 for s in kept), default=oldest)
    needed = _needed(store, live, kept)
    deleted = 0
    for name in _older(store, live.folder, min(oldest, began - LEAST_SECONDS)):
        if name not in needed:
            store.delete(f"{live.folder}/{name}")
            deleted += 1
    return len(gone) + deleted


def _consumers(store: ParquetStore, folder: str) -> list[int]:
    """Return the snapshot that each consumer of the table reads next."""
    names = store.list(f"{folder}/consumer")
    return [int(json.loads(c)["nextSnapshot"]) for c in store.read_all(names)]


def _needed(store: ParquetStore, live: PaimonSnapshot, kept: list[TableSnapshot]) -> set[str]:
    """Return the files that kept snapshots, tags and loads need, by their path in the folder.

    Of the snapshots after the first, what each adds is enough.
    """
    table = table_of(store, live.folder, live.table)
    lists, manifests = ManifestListManager(table), ManifestFileManager(table)
    paths = table.path_factory()
    names = store.list(f"{live.folder}/tag")
    tags = [JSON.from_json(c.decode(), Tag) for c in store.read_all(names)]

    def named(snapshot: TableSnapshot, is_whole: bool) -> set[str]:
        found = {snapshot.base_manifest_list, snapshot.delta_manifest_list}
        found |= {n for n in (snapshot.changelog_manifest_list, snapshot.index_manifest) if n}
        metas = lists.read_all(snapshot) if is_whole else lists.read_delta(snapshot)
        found |= {m.file_name for m in metas}
        files = set()
        for meta in metas:
            for entry in manifests.read(meta.file_name):
                partition = tuple(entry.partition.values)
                bucket = paths.relative_bucket_path(
                    partition, entry.bucket, canonical_partition=True
                )
                files |= {f"{bucket}/{n}" for n in (entry.file.file_name, *entry.file.extra_files)}
        return {f"manifest/{n}" for n in found} | files

    whole = [*kept[:1], *kept[-1:], *tags]
    with ThreadPoolExecutor(_READERS) as pool:
        parts = [
            *pool.map(lambda s: named(s, True), whole),
            *pool.map(lambda s: named(s, False), kept[1:]),
        ]
    return set().union(*parts, PaimonLoads(store, live.folder, live.types).begun_files(live))


def _older(store: ParquetStore, folder: str, oldest: float) -> Iterator[str]:
    """Yield the data files and manifests that were written before a moment."""
    chosen = fs.FileSelector(store.path(folder), allow_not_found=True, recursive=True)
    with store.translated(folder):
        found = store.filesystem.get_file_info(chosen)
    start = len(store.path(folder)) + 1
    for info in found:
        name = info.path[start:]
        if info.type != fs.FileType.File or info.mtime is None or name.startswith(OWN_FOLDER):
            continue
        is_swept = any(part in f"/{name}" for part in _SWEPT)
        if is_swept and info.mtime.timestamp() < oldest:
            yield name
