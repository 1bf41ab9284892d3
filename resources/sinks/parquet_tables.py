"""Plain Parquet tables as a lake format: folders that any reader of Parquet takes as they are.

In: changes of the sets of files. Out: one manifest each, which is the commit; then the files where
readers look, and those that went deleted.

    <table>/[<column>=<value>/]part-….parquet       what plain readers see
    <table>/_cdc/current.json                       the manifest whose files are all there
    <table>/_cdc/manifests/<version>.json           commits; put once, so one writer wins
    <table>/_cdc/manifests/<version>.done           its files were moved and deleted
    <table>/_cdc/staged/…                           files of no commit yet

A commit is made by putting the manifest of the next version. Moving and deleting comes after: a
writer that dies in between leaves it to whoever opens the table next.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

import pyarrow as pa

from resources.errors import ConfigError, SinkUnavailable
from resources.sinks.contract import TargetId
from resources.sinks.lake_compact import join_small_files
from resources.sinks.lake_format import Change, LakeFormat, LostRace, Snapshot
from resources.sinks.lake_store import OWN_FOLDER, folder_name
from resources.sinks.lake_types import LakeTypes
from resources.sinks.maintenance import Upkeep
from resources.sinks.parquet_leftovers import delete_leftovers
from resources.sinks.parquet_manifest import (
    STAGING,
    Manifest,
    ParquetSnapshot,
    entry_of,
    read_manifest,
    write_manifest,
)
from resources.sinks.parquet_store import ParquetStore

_MANIFESTS = f"{OWN_FOLDER}/manifests"
CURRENT = f"{OWN_FOLDER}/current.json"
_KEPT = 8
"""Versions whose manifests stay, for a person to see what happened."""
_ATTEMPTS = 20
_WRITERS = 8


class ParquetTables(LakeFormat):
    """The Parquet tables of one store: a folder per namespace, in it one per table.

    Args:
        store: The place.
        types: How Arrow types are stored.
    """

    def __init__(self, store: ParquetStore, types: LakeTypes) -> None:
        self._store = store
        self._types = types

    @property
    def types(self) -> LakeTypes:
        """How Arrow types are stored."""
        return self._types

    @property
    def staging(self) -> str:
        """Where new files are before a commit; see `LakeFormat.staging`."""
        return STAGING

    def folder(self, target: TargetId) -> str:
        """Return the table's folder in the store."""
        return f"{folder_name(target.namespace)}/{folder_name(target.table)}"

    def read(self, target: TargetId) -> ParquetSnapshot | None:
        """Return the table as it is now; a commit not wholly published is published first."""
        found = self._latest(target)
        return None if found is None or found.is_dropped else ParquetSnapshot(found, self._types)

    def create(
        self, target: TargetId, schema: pa.Schema, partition_by: Sequence[str], change: Change
    ) -> None:
        """Create the table with its first files; see `LakeFormat.create`.

        Raises:
            ConfigError: A partition column's name makes a folder that readers skip.
        """
        for name in partition_by:
            if is_hidden(name):
                raise ConfigError(hidden_message(name), where=str(target), remedy=HIDDEN_REMEDY)
        old = self._latest(target)
        if old is not None and not old.is_dropped:
            raise LostRace
        version = 0 if old is None else old.version
        empty = Manifest(version, "", schema, tuple(partition_by))
        self._commit(target, empty, replace(change, schema=schema))

    def commit(self, target: TargetId, snapshot: Snapshot, change: Change) -> None:
        """Commit a change against a snapshot; see `LakeFormat.commit`."""
        self._commit(target, cast(ParquetSnapshot, snapshot).manifest, change)

    def add_columns(self, target: TargetId, snapshot: Snapshot, columns: pa.Schema) -> None:
        """Add columns of NULLs; see `LakeFormat.add_columns`. The files lack them."""
        old = cast(ParquetSnapshot, snapshot).manifest
        schema = pa.schema([*old.schema, *columns])
        self._put(target, _next(old, "alter", schema=schema))

    def maintain(self, target: TargetId, keep_seconds: float) -> Upkeep:
        """Join small files, delete what no manifest names."""
        live = self.read(target)
        if live is None:
            return Upkeep()
        joined, written = join_small_files(self._store, self, target, live)
        now = self.read(target)
        if now is None:
            return Upkeep(joined, written)
        named = {f.path for f in now.files}
        deleted = delete_leftovers(self._store, self.folder(target), named, keep_seconds)
        return Upkeep(joined, written, deleted)

    def drop(self, target: TargetId) -> None:
        """Drop the table: a manifest that says so, which stays, then every other file."""
        for _ in range(_ATTEMPTS):
            old = self._latest(target)
            if old is None:
                self._store.delete_folder(self.folder(target))
                return
            if old.is_dropped:
                self._clear(target, old.version)
                return
            with suppress(LostRace):
                self._put(target, Manifest(old.version + 1, "drop", pa.schema([])))
        raise _too_busy(target)

    def _commit(self, target: TargetId, old: Manifest, change: Change) -> None:
        added = {f.path: entry_of(f) for f in change.add}
        if change.schema is not None:
            gone = [e["path"] for e in old.entries]
        else:
            gone = [f.path for f in change.remove]
        left = set(gone)
        states = dict(old.states)
        if change.feed is not None and change.state is not None:
            states[change.feed] = change.state
        manifest = _next(
            old,
            change.what,
            schema=old.schema if change.schema is None else change.schema,
            entries=(*(e for e in old.entries if e["path"] not in left), *added.values()),
            states=states,
            publish={path: entry["path"] for path, entry in added.items()},
            delete=tuple(gone),
        )
        self._put(target, manifest)

    def _put(self, target: TargetId, manifest: Manifest) -> None:
        """Commit a manifest and publish it.

        Raises:
            LostRace: There is another of this version or a later one.
        """
        content = write_manifest(manifest, self._types)
        if not self._store.put_new(self._name(target, manifest.version), content):
            raise LostRace
        versions, _ = self._versions(target)
        if versions[-1] > manifest.version:
            raise LostRace  # this version had been there, and was deleted as an old one
        self._publish(target, manifest, content)
        for version in versions[:-_KEPT]:  # the oldest first, so that the check above holds
            for ending in ("json", "done"):
                self._store.delete(self._name(target, version, ending))

    def _latest(self, target: TargetId) -> Manifest | None:
        for _ in range(_ATTEMPTS):
            versions, done = self._versions(target)
            if not versions:
                return None
            name = self._name(target, versions[-1])
            with suppress(FileNotFoundError):  # other commits came, and it is an old one by now
                content = self._store.read(name)
                manifest = read_manifest(content, self._store.url(name))
                if manifest.version not in done:
                    self._publish(target, manifest, content)
                return manifest
        raise _too_busy(target)

    def _publish(self, target: TargetId, manifest: Manifest, content: bytes) -> None:
        """Do what a manifest says, each step of which may be done already, or is at the moment."""
        folder = self.folder(target)
        if manifest.is_dropped:
            self._clear(target, manifest.version)
        else:
            self._all(
                lambda pair: self._store.move(f"{folder}/{pair[0]}", f"{folder}/{pair[1]}"),
                manifest.publish.items(),
            )
            if self._current_version(target) < manifest.version:
                self._store.write(f"{folder}/{CURRENT}", content)
            self._all(lambda path: self._store.delete(f"{folder}/{path}"), manifest.delete)
        self._store.write(self._name(target, manifest.version, "done"), b"")

    def _clear(self, target: TargetId, version: int) -> None:
        """Delete all files of a dropped table but the manifest that says so."""
        folder = self.folder(target)
        kept = {self._name(target, version, ending) for ending in ("json", "done")}
        for name in self._store.list(folder):
            if name not in kept:
                self._store.delete(name)

    def _current_version(self, target: TargetId) -> int:
        try:
            content = self._store.read(f"{self.folder(target)}/{CURRENT}")
        except FileNotFoundError:
            return 0
        with suppress(ValueError, KeyError, TypeError):
            return int(json.loads(content)["version"])
        return 0

    def _versions(self, target: TargetId) -> tuple[list[int], set[int]]:
        """Return the versions there are manifests of, ascending, and those that are published."""
        names = self._store.list(f"{self.folder(target)}/{_MANIFESTS}")
        parts = [name.rpartition("/")[2].partition(".") for name in names]
        found = {
            ending: {int(v) for v, _, e in parts if e == ending and v.isdecimal()}
            for ending in ("json", "done")
        }
        return sorted(found["json"]), found["done"]

    def _name(self, target: TargetId, version: int, ending: str = "json") -> str:
        return f"{self.folder(target)}/{_MANIFESTS}/{version:020}.{ending}"

    def _all(self, call: Callable[[Any], None], items: Collection[Any]) -> None:
        """Call for every item; several at a time where they are requests, or many to a disk."""
        if self._store.local and len(items) < _WRITERS:
            for item in items:
                call(item)
        else:
            with ThreadPoolExecutor(_WRITERS) as pool:
                list(pool.map(call, items))


HIDDEN_REMEDY = "partition by a column of another name"


def is_hidden(column: str) -> bool:
    """Return whether readers skip the folders of a partition column."""
    return column.startswith(("_", "."))


def hidden_message(column: str) -> str:
    """Return why a column cannot partition a table."""
    return f"the partition column {column!r} makes folders that readers skip"


def _next(old: Manifest, what: str, **new: Any) -> Manifest:  # noqa: ANN401 - fields of Manifest
    return replace(
        old, **{"version": old.version + 1, "what": what, "publish": {}, "delete": (), **new}
    )


def _too_busy(target: TargetId) -> SinkUnavailable:
    return SinkUnavailable(
        f"{_ATTEMPTS} times the table was changed while it was read",
        where=str(target),
        remedy="see what else writes to it so often; the run goes on from the watermark",
    )
