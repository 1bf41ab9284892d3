"""Commits to Paimon tables: manifests, their lists, and the snapshot that makes them count.

In: entries of files that come and go. Out: `snapshot-<n + 1>`, put where there is none: so one
writer wins, in a folder as in an object store, whatever engine the others are.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import cast

from pypaimon.build_info import full_version
from pypaimon.common.json_util import JSON
from pypaimon.manifest.manifest_file_manager import ManifestFileManager
from pypaimon.manifest.manifest_list_manager import ManifestListManager
from pypaimon.manifest.schema.manifest_entry import ManifestEntry
from pypaimon.schema.table_schema import TableSchema
from pypaimon.snapshot.snapshot import Snapshot as TableSnapshot

from resources.sinks.lake_format import Change, LostRace
from resources.sinks.paimon_io import table_of, unwrapped
from resources.sinks.paimon_snapshot import (
    DROPPED,
    SEQUENCE,
    WHAT,
    PaimonSnapshot,
    feed_key,
    told_state,
)
from resources.sinks.parquet_store import ParquetStore

_CONSUMER = "consumer/consumer-cdc-assets"
_MOST_MANIFESTS = 30
"""More manifests are made one by the commit that finds them; it is Paimon's own default."""
_MANIFEST_BYTES = 8 << 20
_FORMAT_VERSION = 3
_ATTEMPTS = 20
_BEFORE = 1000
"""Snapshots that are looked through for the state of feeds."""


class SnapshotFiles:
    """The snapshots of one table.

    Args:
        store: The place.
        folder: The table's folder.
    """

    def __init__(self, store: ParquetStore, folder: str) -> None:
        self._store = store
        self._folder = folder

    def latest(self) -> TableSnapshot | None:
        """Return the newest snapshot; the hint `LATEST` may be behind it, and not there at all."""
        number = self._hint()
        with suppress(FileNotFoundError):
            found = self.get(number) if number else None
            while found is not None:
                try:
                    found = self.get(found.id + 1)
                except FileNotFoundError:
                    return found
        for _ in range(_ATTEMPTS):
            numbers = self.numbers()
            with suppress(FileNotFoundError):  # others commit and expire meanwhile
                return self.get(numbers[-1]) if numbers else None
        return None

    def get(self, number: int) -> TableSnapshot:
        """Return a snapshot by its number.

        Raises:
            FileNotFoundError: There is none.
        """
        content = self._store.read(self.name(number)).decode()
        return cast(TableSnapshot, JSON.from_json(content, TableSnapshot))

    def numbers(self) -> list[int]:
        """Return the numbers there are, ascending."""
        names = self._store.list(f"{self._folder}/snapshot")
        found = [n.rpartition("/snapshot-")[2] for n in names]
        return sorted(int(n) for n in found if n.isdecimal())

    def before(self, snapshot: TableSnapshot) -> Iterator[TableSnapshot]:
        """Yield the snapshots before one, the newest first, as far as they are there."""
        for number in range(snapshot.id - 1, max(0, snapshot.id - _BEFORE), -1):
            try:
                yield self.get(number)
            except FileNotFoundError:
                return

    def put(self, snapshot: TableSnapshot) -> bool:
        """Write a new snapshot; returns whether it is in and is the newest."""
        content = JSON.to_json(snapshot, indent=2).encode()
        number = int(snapshot.id)
        if not self._store.put_new(self.name(number), content):
            with suppress(FileNotFoundError):  # it may be our own: put again, for want of an answer
                return bool(self.get(number).uuid == snapshot.uuid)
            return False
        if self._hint() > number:  # it had been there, and was deleted as an old one
            self._store.delete(self.name(number))
            return False
        self._store.write(f"{self._folder}/snapshot/LATEST", str(number).encode())
        kept = json.dumps({"nextSnapshot": number}).encode()
        self._store.write(f"{self._folder}/{_CONSUMER}", kept)
        return True

    def forget_hint(self) -> None:
        """Delete the hint, which may be of a table that is no more."""
        self._store.delete(f"{self._folder}/snapshot/LATEST")

    def name(self, number: int) -> str:
        """Return the file of a snapshot."""
        return f"{self._folder}/snapshot/snapshot-{number}"

    def _hint(self) -> int:
        try:
            content = self._store.read(f"{self._folder}/snapshot/LATEST")
        except FileNotFoundError:
            return 0
        return int(content) if content.strip().isdigit() else 0


def publish(
    store: ParquetStore,
    folder: str,
    live: PaimonSnapshot | None,
    table: TableSchema,
    change: Change,
    entries: Sequence[ManifestEntry],
    kind: str,
) -> None:
    """Commit entries of files as the snapshot after `live`.

    Args:
        store: The place.
        folder: The table's folder.
        live: The table as it is, None if it was never committed to.
        table: The schema in force afterwards.
        change: What it is, and the state of whose feed is set.
        entries: Files that come and go.
        kind: `APPEND`, `OVERWRITE` or `COMPACT`, in Paimon's words.

    Raises:
        LostRace: There is one by now.
    """
    unique = uuid.uuid4()
    with unwrapped():
        names, sizes = _write_manifests(store, folder, live, table, entries, unique)
    old = live.snapshot if live is not None else None
    rows = sum(_rows(e) for e in entries)
    number = old.id + 1 if old is not None else 1
    content = TableSnapshot(
        version=_FORMAT_VERSION,
        id=number,
        schema_id=table.id,
        base_manifest_list=f"manifest-list-{unique}-0",
        base_manifest_list_size=sizes[0],
        delta_manifest_list=f"manifest-list-{unique}-1",
        delta_manifest_list_size=sizes[1],
        total_record_count=(old.total_record_count if old is not None else 0) + rows,
        delta_record_count=rows,
        commit_user=f"cdc-assets {change.feed}" if change.feed is not None else "cdc-assets",
        commit_identifier=change.state.seq if change.state is not None else number,
        commit_kind=kind,
        time_millis=int(time.time() * 1000),
        watermark=old.watermark if old is not None else None,
        properties=_properties(live, change, entries),
        writer_version=full_version(),
    )
    if not SnapshotFiles(store, folder).put(content):
        for name in names:
            with suppress(Exception):
                store.delete(f"{folder}/manifest/{name}")
        raise LostRace


def _write_manifests(
    store: ParquetStore,
    folder: str,
    live: PaimonSnapshot | None,
    table: TableSchema,
    entries: Sequence[ManifestEntry],
    unique: uuid.UUID,
) -> tuple[list[str], list[int]]:
    """Write the two lists and what is new in them; returns files nobody needs without the commit.

    The sizes are those of the lists.
    """
    whole = table_of(store, folder, table)
    manifests, lists = ManifestFileManager(whole), ManifestListManager(whole)
    names = [f"manifest-list-{unique}-{turn}" for turn in (0, 1)]
    before = live.manifests if live is not None and not live.is_dropped else []
    delta = manifests.rolling_write(list(entries), _MANIFEST_BYTES, f"manifest-{uuid.uuid4()}")
    new = list(delta)
    if live is not None and len(before) > _MOST_MANIFESTS:
        before = manifests.rolling_write(live.entries, _MANIFEST_BYTES, f"manifest-{uuid.uuid4()}")
        new += before
    sizes = [lists.write(n, metas) for n, metas in zip(names, (before, delta), strict=True)]
    return [*names, *(m.file_name for m in new)], sizes


def _rows(entry: ManifestEntry) -> int:
    return int(entry.file.row_count if entry.kind == 0 else -entry.file.row_count)


def _properties(
    live: PaimonSnapshot | None, change: Change, entries: Sequence[ManifestEntry]
) -> dict[str, str]:
    """Return what the snapshot says of feeds and sequence numbers."""
    new = max((int(e.file.max_sequence_number) for e in entries), default=-1)
    told = {WHAT: change.what}
    if live is not None and change.what != DROPPED:
        told |= live.states
    told[SEQUENCE] = str(max(new, live.sequence if live is not None else -1))
    if change.feed is not None and change.state is not None:
        told[feed_key(change.feed)] = told_state(change.state)
    return told
