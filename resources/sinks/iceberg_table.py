"""Iceberg tables as a lake format: snapshots and commits through a catalog, by pyiceberg.

In: changes of the sets of files. Out: one snapshot each, with the data and, in its summary, the
watermark, token and load of every feed. Table spec: https://iceberg.apache.org/spec
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import cast

import pyarrow as pa
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError
from pyiceberg.manifest import DataFile as IcebergFile
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.transforms import IdentityTransform

from resources.errors import ConfigError, TerminalError
from resources.sinks import iceberg_commit
from resources.sinks.contract import TargetId
from resources.sinks.iceberg_catalog import LakeCatalog
from resources.sinks.iceberg_commit import Swap
from resources.sinks.iceberg_schema import (
    NAME_MAPPING,
    column_properties,
    evolved_schema,
)
from resources.sinks.iceberg_snapshot import (
    IcebergSnapshot,
    ManifestReader,
    plain_url,
    summary_of,
)
from resources.sinks.iceberg_values import manifest_file
from resources.sinks.lake_format import Change, DataFile, LakeFormat, Snapshot
from resources.sinks.lake_store import OWN_FOLDER, LakeStore, folder_name
from resources.sinks.lake_types import LakeTypes
from resources.sinks.maintenance import Upkeep

_DEFAULTS = {
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "100",
}
"""Every commit writes a metadata file; these keep the last ones only."""


class IcebergTables(LakeFormat):
    """The Iceberg tables of one catalog whose files are in one store.

    Args:
        store: The place.
        catalog: Where they are known: a namespace per target namespace, in it one per table.
        types: How Arrow types are stored.
        properties: Table properties of new tables.
    """

    def __init__(
        self,
        store: LakeStore,
        catalog: LakeCatalog,
        types: LakeTypes,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        self._store = store
        self.catalog = catalog
        self._types = types
        self._properties = {**_DEFAULTS, **(properties or {})}
        self.manifests = ManifestReader()

    @property
    def types(self) -> LakeTypes:
        """How Arrow types are stored."""
        return self._types

    def folder(self, target: TargetId) -> str:
        """Return the table's folder in the store."""
        return f"{folder_name(target.namespace)}/{folder_name(target.table)}"

    def open(self, target: TargetId) -> Table | None:
        """Return the table, loaded, None if it does not exist.

        Raises:
            ConfigError: It has features this version does not write.
            SinkUnavailable: It cannot be read now.
        """
        if not self.catalog.is_there():
            return None
        with self.catalog.translated(target):
            try:
                table = self.catalog.open().load_table((target.namespace, target.table))
            except (NoSuchTableError, NoSuchNamespaceError):
                return None
            self._require_features(target, table)
        return table

    def read(self, target: TargetId) -> IcebergSnapshot | None:
        """Return the table as it is now; see `LakeFormat.read`."""
        table = self.open(target)
        if table is None:
            return None
        return IcebergSnapshot(table, self._types, self._url(target), self.manifests)

    def create(
        self, target: TargetId, schema: pa.Schema, partition_by: Sequence[str], change: Change
    ) -> None:
        """Create the table with its first files; see `LakeFormat.create`."""
        with self.catalog.translated(target):
            catalog = self.catalog.open()
            catalog.create_namespace_if_not_exists((target.namespace,))
            columns = evolved_schema(schema, self._types, None, 0)
            transaction = catalog.create_table_transaction(
                (target.namespace, target.table),
                columns,
                location=self._url(target),
                partition_spec=_spec(columns, partition_by),
                properties=dict(self._properties),
            )
            numbered = transaction.table_metadata.schema()
            spec = transaction.table_metadata.spec()
            swap = None
            if change.add or change.state is not None:
                swap = Swap((), self._added(target, change.add, numbered, spec))
            told = column_properties(numbered, schema, self._types)
            iceberg_commit.create(catalog, transaction, swap, summary_of(change, {}), told)

    def commit(self, target: TargetId, snapshot: Snapshot, change: Change) -> None:
        """Commit a change against a snapshot; see `LakeFormat.commit`."""
        live = cast(IcebergSnapshot, snapshot)
        table, columns = live.table, None
        told: dict[str, str] = {}
        with self.catalog.translated(target):
            gone = frozenset(f.name or f.path for f in change.remove)
            if change.schema is not None:
                gone = frozenset(e.data_file.file_path for _, es in live.manifests for e in es)
                columns, told = self._evolved(target, live, change.schema)
            elif NAME_MAPPING not in table.properties:
                told = column_properties(table.schema(), live.schema, self._types)
            added = self._added(target, change.add, columns or table.schema(), table.spec())
            swap = Swap(live.manifests, added, gone, replaces=change.what == "maintain")
            summary = summary_of(change, live.states)
            catalog = self.catalog.open()
            iceberg_commit.commit(catalog, table, swap, summary, schema=columns, properties=told)

    def add_columns(self, target: TargetId, snapshot: Snapshot, columns: pa.Schema) -> None:
        """Add columns of NULLs; see `LakeFormat.add_columns`."""
        live = cast(IcebergSnapshot, snapshot)
        wanted = pa.schema([*live.schema, *columns])
        with self.catalog.translated(target):
            schema, told = self._evolved(target, live, wanted)
            catalog = self.catalog.open()
            iceberg_commit.commit(catalog, live.table, None, {}, schema=schema, properties=told)

    def maintain(self, target: TargetId, keep_seconds: float) -> Upkeep:
        """Join small files, expire snapshots, delete what none of the others needs."""
        from resources.sinks.iceberg_upkeep import IcebergUpkeep

        return IcebergUpkeep(self._store, self, target).run(keep_seconds)

    def drop(self, target: TargetId) -> None:
        """Drop the table: the marks of its loads, what the catalog has, its files."""
        folder = self.folder(target)
        self._store.delete_folder(f"{folder}/{OWN_FOLDER}")
        if self.catalog.is_there():
            with self.catalog.translated(target), suppress(NoSuchTableError):
                self.catalog.open().drop_table((target.namespace, target.table))
        self._store.delete_folder(folder)

    def _evolved(
        self, target: TargetId, live: IcebergSnapshot, wanted: pa.Schema
    ) -> tuple[Schema | None, dict[str, str]]:
        """Return new columns, None if they are those there are; and the properties to set."""
        metadata = live.table.metadata
        number = max(s.schema_id for s in metadata.schemas) + 1
        new = evolved_schema(
            wanted, self._types, metadata.schema(), metadata.last_column_id, number
        )
        there = {field.field_id for field in new.fields}
        if any(part.source_id not in there for part in metadata.spec().fields):
            raise TerminalError(
                f"the table is partitioned by {list(live.partition_by)}, which cannot get "
                "another type",
                where=str(target),
                remedy="drop the table and load it again",
            )
        told = column_properties(new, wanted, self._types)
        told = {k: v for k, v in told.items() if metadata.properties.get(k) != v}
        return (None if new.fields == metadata.schema().fields else new), told

    def _added(
        self, target: TargetId, files: Sequence[DataFile], columns: Schema, spec: PartitionSpec
    ) -> list[IcebergFile]:
        required = [f.name for f in columns.fields if f.required]
        for name in required:
            if any(f.nulls.get(name) or f.partition.get(name, 0) is None for f in files):
                raise ConfigError(
                    f"column {name!r} of the table is required, and there are rows without it",
                    where=str(target),
                    remedy="make the column optional",
                )
        return [manifest_file(f, f"{self._url(target)}/{f.path}", columns, spec) for f in files]

    def _require_features(self, target: TargetId, table: Table) -> None:
        """Refuse a table this sink cannot write to.

        Raises:
            ConfigError: Says why.
        """
        reason = ""
        if table.metadata.format_version > 2:
            reason = f"has format version {table.metadata.format_version}"
        elif not all(isinstance(f.transform, IdentityTransform) for f in table.spec().fields):
            reason = f"is partitioned by {', '.join(str(f) for f in table.spec().fields)}"
        elif plain_url(table.location()) != plain_url(self._url(target)):
            reason = f"lies at {table.location()}, not at {self._url(target)}"
        if reason:
            raise ConfigError(
                f"the Iceberg table {reason}: this sink does not write to it",
                where=str(target),
                remedy="let the pipeline write to a table of its own",
            )

    def _url(self, target: TargetId) -> str:
        return self._store.url(self.folder(target))


def _spec(columns: Schema, partition_by: Sequence[str]) -> PartitionSpec:
    fields = [
        PartitionField(columns.find_field(n).field_id, 1000 + i, IdentityTransform(), n)
        for i, n in enumerate(partition_by)
    ]
    return PartitionSpec(*fields, spec_id=0)
