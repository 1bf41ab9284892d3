"""Paimon tables as a lake format: snapshots read and committed, by the parts pypaimon has for them.

In: changes of the sets of files. Out: one snapshot each, which is the commit: `snapshot-<n + 1>` is
put where there is none, after the snapshot n that the change was made for. So one writer wins, in a
folder as in an object store, whatever writes beside it.

    <table>/schema/schema-<id>          columns, keys, options
    <table>/snapshot/snapshot-<n>       commits; LATEST is a hint
    <table>/manifest/…                  which files each has
    <table>/[<column>=<value>/]bucket-<n>/data-….parquet
    <table>/consumer/consumer-cdc-assets    keeps our last commit from clean-ups of other engines
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import cast

import pyarrow as pa
from pypaimon.manifest.schema.manifest_entry import ManifestEntry
from pypaimon.schema.table_schema import TableSchema

from resources.errors import ConfigError
from resources.sinks.contract import TargetId
from resources.sinks.lake_commit import too_many
from resources.sinks.lake_format import Change, DataFile, LakeFormat, LostRace, Snapshot
from resources.sinks.lake_store import folder_name
from resources.sinks.lake_types import LakeTypes
from resources.sinks.maintenance import Upkeep
from resources.sinks.paimon_commit import SnapshotFiles, publish
from resources.sinks.paimon_entries import added, removed
from resources.sinks.paimon_options import DEDUPLICATE, refused_options
from resources.sinks.paimon_schema import (
    CHANGE,
    Layout,
    Schemas,
    ids_of,
    layout_of,
    new_schema,
    next_schema,
)
from resources.sinks.paimon_snapshot import (
    DROPPED,
    PaimonSnapshot,
)
from resources.sinks.paimon_tags import cut_tags
from resources.sinks.paimon_upkeep import maintain
from resources.sinks.parquet_store import ParquetStore

_ATTEMPTS = 20


class PaimonTables(LakeFormat):
    """The Paimon tables of one store: a folder `<namespace>.db` each, in it one per table.

    Args:
        store: The place.
        types: How Arrow types are stored.
        daily_tags: How many daily tags a table keeps, 0 for none.
        engine: The merge engine of primary-key tables.
    """

    def __init__(
        self,
        store: ParquetStore,
        types: LakeTypes,
        daily_tags: int = 0,
        engine: str = DEDUPLICATE,
    ) -> None:
        self._store = store
        self._types = types
        self._daily_tags = daily_tags
        self._engine = engine

    @property
    def types(self) -> LakeTypes:
        """How Arrow types are stored."""
        return self._types

    def folder(self, target: TargetId) -> str:
        """Return the table's folder in the store, where Paimon's own catalogs look for it."""
        return f"{folder_name(target.namespace)}.db/{folder_name(target.table)}"

    def read(self, target: TargetId) -> PaimonSnapshot | None:
        """Return the table as it is now."""
        found = self._read(self.folder(target))
        return None if found is None or found.is_dropped else found

    def _read(self, folder: str) -> PaimonSnapshot | None:
        """Return the table as it is now, or as its drop left it that was broken off."""
        schemas = Schemas(self._store, folder)
        newest = schemas.latest()
        if newest is None:
            return None
        files = SnapshotFiles(self._store, folder)
        snapshot = files.latest()
        if snapshot is None:
            if CHANGE in newest.options:
                return None  # its first commit was never made
            table = newest
        else:
            try:
                table = schemas.get(snapshot.schema_id)
            except FileNotFoundError:
                return None  # it is being dropped
            if newest.options.get(CHANGE) == table.options.get(CHANGE):
                table = newest  # by another engine, or the very one
        _require_kept(table, folder, self._engine if table.primary_keys else DEDUPLICATE)
        return PaimonSnapshot(
            self._store, folder, schemas, table, snapshot, files.before, self._types
        )

    def create(
        self, target: TargetId, schema: pa.Schema, partition_by: Sequence[str], change: Change
    ) -> None:
        """Create the table with its first files; see `LakeFormat.create`."""
        folder = self.folder(target)
        dropped = self._read(folder)
        if dropped is not None and not dropped.is_dropped:
            raise LostRace
        if dropped is None:
            SnapshotFiles(self._store, folder).forget_hint()
        layout = Layout.read(change.layout)
        table = new_schema(schema, layout, self._types)
        left = Schemas(self._store, folder).latest()
        table.id = 0 if left is None else left.id + 1
        if not Schemas(self._store, folder).put(table):
            raise LostRace
        self._put(folder, dropped, table, change, change.add, (), "APPEND")

    def commit(self, target: TargetId, snapshot: Snapshot, change: Change) -> None:
        """Commit a change against a snapshot; see `LakeFormat.commit`."""
        live = cast(PaimonSnapshot, snapshot)
        if change.schema is None:
            kind = "OVERWRITE" if change.remove else "APPEND"
            self._put(live.folder, live, live.table, change, change.add, change.remove, kind)
            return
        layout = Layout.read(change.layout) if change.layout else live.layout
        table = live.table
        is_same = live.schema.equals(change.schema) and live.layout == _plain(layout)
        if not is_same:
            held = {f.name: self._types.stored(f.type) for f in live.schema}
            kept = [f.name for f in change.schema if held.get(f.name) == self._types.stored(f.type)]
            ids = ids_of(live.table)
            table = self.next_schema(live, change.schema, layout, {n: ids[n] for n in kept})
        self.replace(live, table, change)

    def add_columns(self, target: TargetId, snapshot: Snapshot, columns: pa.Schema) -> None:
        """Add columns of NULLs, without touching a file; see `LakeFormat.add_columns`."""
        live = cast(PaimonSnapshot, snapshot)
        schema = pa.schema([*live.schema, *columns])
        self.rename(live, self.next_schema(live, schema, live.layout, ids_of(live.table)))

    def next_schema(
        self, live: PaimonSnapshot, schema: pa.Schema, layout: Layout, origins: Mapping[str, int]
    ) -> TableSchema:
        """Return the schema after those there are.

        Args:
            live: The table.
            schema: Its columns afterwards, in the Arrow types of the target.
            layout: What its files are laid out by afterwards.
            origins: Ids of those columns that were there before.
        """
        newest = live.schemas.latest() or live.table
        table = next_schema(live.table, schema, layout, self._types, origins)
        table.id = newest.id + 1
        table.highest_field_id = max(table.highest_field_id, newest.highest_field_id)
        return table

    def replace(self, live: PaimonSnapshot, table: TableSchema, change: Change) -> None:
        """Commit a schema, with files of its own in place of all there are.

        Raises:
            LostRace: Another schema or commit came between.
        """
        self._put_schema(live, table)
        self._put(live.folder, live, table, change, change.add, live.files, "OVERWRITE")

    def rename(self, live: PaimonSnapshot, table: TableSchema) -> None:
        """Commit a schema that reads the files there are by the ids of their columns.

        Raises:
            LostRace: Another schema or commit came between.
        """
        self._put_schema(live, table)
        self._put(live.folder, live, table, Change("alter"), (), (), "APPEND")

    def compact(
        self,
        live: PaimonSnapshot,
        new: Sequence[ManifestEntry],
        old: Sequence[ManifestEntry],
    ) -> None:
        """Commit files of the same rows in place of others."""
        self._publish(live.folder, live, live.table, Change("maintain"), [*old, *new], "COMPACT")

    def cut_tags(self, live: PaimonSnapshot) -> None:
        """Keep what the table was at the end of each past day that has no tag yet, if asked to."""
        if self._daily_tags and live.snapshot is not None:
            cut_tags(self._store, live.folder, live.snapshot, self._daily_tags)

    def maintain(self, target: TargetId, keep_seconds: float) -> Upkeep:
        """Join files, delete old snapshots and what nothing names; see `LakeFormat.maintain`."""
        return maintain(self._store, self, target, keep_seconds)

    def drop(self, target: TargetId) -> None:
        """Drop the table: a commit that says so, then all commits from the oldest on, then all."""
        folder = self.folder(target)
        for _ in range(_ATTEMPTS):
            live = self._read(folder)
            if live is None or live.is_dropped:
                break
            with suppress(LostRace):
                self._put(folder, live, live.table, Change(DROPPED), (), live.files, "OVERWRITE")
        else:
            raise too_many(target)
        files = SnapshotFiles(self._store, folder)
        for number in files.numbers():
            self._store.delete(files.name(number))
        self._store.delete_folder(f"{folder}/schema")
        self._store.delete_folder(folder)

    def _put(
        self,
        folder: str,
        live: PaimonSnapshot | None,
        table: TableSchema,
        change: Change,
        add: Sequence[DataFile],
        remove: Sequence[DataFile],
        kind: str,
    ) -> None:
        entries = []
        if live is not None:
            entries += [removed(f.entry) for file in remove for f in live.buckets[file.path]]
        entries += [added(file, table) for file in add]
        self._publish(folder, live, table, change, entries, kind)

    def _publish(
        self,
        folder: str,
        live: PaimonSnapshot | None,
        table: TableSchema,
        change: Change,
        entries: Sequence[ManifestEntry],
        kind: str,
    ) -> None:
        if live is not None:
            self.cut_tags(live)
        publish(self._store, folder, live, table, change, entries, kind)

    def _put_schema(self, live: PaimonSnapshot, table: TableSchema) -> None:
        """Write a schema unless it is the one in force; it counts once a commit has it."""
        if table.id != live.table.id and not live.schemas.put(table):
            raise LostRace


def _plain(layout: Layout) -> Layout:
    """Return a layout without options of the table, which count when it is made."""
    return Layout(layout.key, layout.partition_by, layout.buckets)


def _require_kept(table: TableSchema, folder: str, engine: str) -> None:
    """Refuse a table that asks more of a writer than this one does.

    Raises:
        ConfigError: Names the options.
    """
    found = refused_options(table.options, engine)
    layout, bucket = layout_of(table), int(table.options.get("bucket", "-1"))
    if bucket < 1 if layout.key and not layout.crosses else bucket != -1:
        found.append(f"bucket: {bucket}")
    if found:
        raise ConfigError(
            f"the Paimon table has options that this sink does not keep: {', '.join(found)}",
            where=folder,
            remedy="route to another table, or drop it and let the pipeline create it",
        )
