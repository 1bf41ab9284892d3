"""One version of an Iceberg table: its columns, its files, and what it remembers of feeds.

In: tables as pyiceberg loads them. Out: snapshots of a lake format. A feed's state is a JSON object
in the snapshot's summary, under a key of its own. Each commit carries on those of all feeds; where
another engine committed meanwhile, they are in the nearest ancestor that has them. So a table that
somebody rolls back has the watermark of the rows it then has.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from functools import cached_property

import pyarrow as pa
from pyiceberg.io import FileIO
from pyiceberg.manifest import ManifestContent, ManifestEntry, ManifestFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot as TableSnapshot
from pyiceberg.table.snapshots import ancestors_of

from resources.errors import ConfigError, SchemaMismatch
from resources.sinks.contract import Feed
from resources.sinks.iceberg_schema import made_for, renamed
from resources.sinks.iceberg_values import FileBounds, fields_of, partition_of
from resources.sinks.lake_format import Change, DataFile, FeedState
from resources.sinks.lake_types import LakeTypes

_FEED = "cdc-assets.feed "
_WHAT = "cdc-assets.what"
_KEPT_MANIFESTS = 2000
"""Manifests kept in memory: they never change, and commits share nearly all of them."""
_READERS = 8

Manifests = tuple[tuple[ManifestFile, Sequence[ManifestEntry]], ...]


class IcebergSnapshot:
    """A table as it was when it was read.

    Args:
        table: It, loaded.
        types: How Arrow types are stored.
        location: Where its files are.
        manifests: Reads manifests.
    """

    def __init__(
        self, table: Table, types: LakeTypes, location: str, manifests: ManifestReader
    ) -> None:
        self.table = table
        self._types = types
        self._location = location
        self._reader = manifests

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns, in the Arrow types they were made for."""
        return made_for(self.table.metadata, self._types)

    @cached_property
    def partition_by(self) -> tuple[str, ...]:
        """The partition columns."""
        columns = self.table.schema()
        found = [columns.find_column_name(f.source_id) for f in self.table.spec().fields]
        return tuple(name or "" for name in found)

    @cached_property
    def manifests(self) -> Manifests:
        """The manifests with the entries of data files there are."""
        return self._reader.read(self.table)

    @cached_property
    def files(self) -> tuple[DataFile, ...]:
        """The data files, with the bounds the manifests have.

        Raises:
            ConfigError: There are files this version does not read.
            SchemaMismatch: Names of columns mean others than in older files.
        """
        moved = renamed(self.table.metadata)
        if moved:
            raise SchemaMismatch(
                f"another engine renamed columns, or dropped and added them again: "
                f"{', '.join(moved)}",
                where=".".join(self.table.name()),
                remedy="materialize the table's snapshot partition",
            )
        columns, specs = self.table.schema(), self.table.specs()
        fields = fields_of(columns)
        found = []
        for manifest, entries in self.manifests:
            if manifest.content != ManifestContent.DATA:
                raise self._foreign("delete files (merge-on-read)")
            spec = specs[manifest.partition_spec_id]
            for entry in entries:
                file = entry.data_file
                if file.file_format.value != "PARQUET":
                    raise self._foreign(f"{file.file_format.value} files")
                nulls = file.null_value_counts or {}
                found.append(
                    DataFile(
                        self._path(file.file_path),
                        file.record_count,
                        file.file_size_in_bytes,
                        partition_of(file, spec, columns),
                        FileBounds(file, fields),
                        {n: nulls[i] for n, (i, _) in fields.items() if i in nulls},
                        file.file_path,
                    )
                )
        return tuple(found)

    @cached_property
    def states(self) -> dict[str, str]:
        """What the last commit of this sink says of every feed, as it stands in the summary."""
        metadata = self.table.metadata
        for snapshot in ancestors_of(metadata.current_snapshot(), metadata):
            if has_states(snapshot):
                told = snapshot.summary.additional_properties if snapshot.summary else {}
                return {k: v for k, v in told.items() if k.startswith(_FEED)}
        return {}

    def state(self, feed: Feed) -> FeedState | None:
        """Return what the table remembers of a feed."""
        told = self.states.get(_key(feed))
        return None if told is None else FeedState(**json.loads(told))

    def _path(self, url: str) -> str:
        plain, start = plain_url(url), f"{plain_url(self._location)}/"
        if not plain.startswith(start):
            raise self._foreign(f"files outside its folder ({url})")
        return plain.removeprefix(start)

    def _foreign(self, what: str) -> ConfigError:
        return ConfigError(
            f"the Iceberg table has {what}, which this sink does not read",
            where=".".join(self.table.name()),
            remedy="compact it with the engine that wrote them, or materialize the table's "
            "snapshot partition",
        )


class ManifestReader:
    """Manifests of tables, each read once."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, list[ManifestEntry]] = OrderedDict()

    def read(self, table: Table) -> Manifests:
        """Return the manifests of a table's current snapshot, with their live entries."""
        snapshot = table.current_snapshot()
        manifests = snapshot.manifests(table.io) if snapshot else []
        unread = [m for m in manifests if m.manifest_path not in self._kept]
        if len(unread) > 1:
            with ThreadPoolExecutor(_READERS) as pool:
                list(pool.map(lambda m: self.entries(m, table.io), unread))
        return tuple((m, self.entries(m, table.io)) for m in manifests)

    def entries(self, manifest: ManifestFile, io: FileIO) -> list[ManifestEntry]:
        """Return a manifest's live entries."""
        found = self._kept.get(manifest.manifest_path)
        if found is None:
            found = manifest.fetch_manifest_entry(io, discard_deleted=True)
            self._kept[manifest.manifest_path] = found
            while len(self._kept) > _KEPT_MANIFESTS:
                with suppress(KeyError):
                    self._kept.popitem(last=False)
        return found


def _key(feed: Feed) -> str:
    source = [feed.pipeline, feed.table.database, feed.table.table]
    return f"{_FEED}{json.dumps(source, ensure_ascii=False)}"


def summary_of(change: Change, states: Mapping[str, str]) -> dict[str, str]:
    """Return what a snapshot's summary says: what it is, and the state of every feed."""
    told = {_WHAT: change.what, **states}
    if change.feed is not None and change.state is not None:
        told[_key(change.feed)] = json.dumps(asdict(change.state))
    return told


def has_states(snapshot: TableSnapshot) -> bool:
    """Return whether a snapshot is of this sink: its summary has the feeds' states."""
    return snapshot.summary is not None and _WHAT in snapshot.summary.additional_properties


def plain_url(url: str) -> str:
    """Return a place without what only some engines write before it."""
    for scheme, plain in (("file://", ""), ("file:", ""), ("s3a://", "s3://")):
        if url.startswith(scheme):
            return (plain + url.removeprefix(scheme)).rstrip("/")
    return url.rstrip("/")
