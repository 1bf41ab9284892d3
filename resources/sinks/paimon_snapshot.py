"""One version of a Paimon table: its columns, its files, and what it remembers of feeds.

In: the files of a table. Out: snapshots of a lake format. A feed's state is a JSON object among the
snapshot's properties, under a key of its own. Each commit carries on those of all feeds; where
another engine committed meanwhile, they are in the nearest snapshot before that has them.

To the code that all lakes share, a partition's bucket is one file, of the rows that count in it:
which rows of its files do, `paimon_read` finds out.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
from pypaimon.manifest.manifest_file_manager import ManifestFileManager
from pypaimon.manifest.manifest_list_manager import ManifestListManager
from pypaimon.manifest.schema.manifest_entry import ManifestEntry
from pypaimon.manifest.schema.manifest_file_meta import ManifestFileMeta
from pypaimon.schema.table_schema import TableSchema
from pypaimon.snapshot.snapshot import Snapshot as TableSnapshot

from resources.errors import ConfigError
from resources.sinks.contract import Feed
from resources.sinks.lake_files import FileGone
from resources.sinks.lake_format import DataFile, FeedState
from resources.sinks.lake_types import LakeTypes
from resources.sinks.paimon_files import file_keys
from resources.sinks.paimon_io import table_of
from resources.sinks.paimon_options import DEDUPLICATE, ENGINE
from resources.sinks.paimon_schema import Layout, Schemas, layout_of, made_for
from resources.sinks.parquet_store import ParquetStore

FEED = "cdc-assets.feed "
WHAT = "cdc-assets.what"
SEQUENCE = "cdc-assets.sequence"
DROPPED = "drop"
"""What the last commit of a table says whose drop was begun."""
Ancestors = Callable[[TableSnapshot], Iterator[TableSnapshot]]


@dataclass(frozen=True)
class BucketFile:
    """A data file as a snapshot has it: its place, its path in the table's folder, its entry."""

    path: str
    entry: ManifestEntry


class PaimonSnapshot:
    """A table as it was when it was read.

    Args:
        store: The place.
        folder: The table's folder.
        schemas: The table's schemas.
        table: The schema in force.
        snapshot: The snapshot, None if nothing was ever committed.
        before: Yields the snapshots before one, the newest first, as far as they are there.
        types: How Arrow types are stored.
    """

    def __init__(
        self,
        store: ParquetStore,
        folder: str,
        schemas: Schemas,
        table: TableSchema,
        snapshot: TableSnapshot | None,
        before: Ancestors,
        types: LakeTypes,
    ) -> None:
        self.folder = folder
        self.schemas = schemas
        self.table = table
        self.snapshot = snapshot
        self._store = store
        self._before = before
        self.types = types

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns, in the Arrow types they were made for."""
        return made_for(self.table, self.types)

    @property
    def is_dropped(self) -> bool:
        """Whether its drop was begun."""
        return self._properties.get(WHAT) == DROPPED

    @property
    def partition_by(self) -> tuple[str, ...]:
        """The partition columns."""
        return tuple(self.table.partition_keys)

    @property
    def layout(self) -> Layout:
        """What else the files are laid out by."""
        return layout_of(self.table)

    @property
    def merges(self) -> bool:
        """Whether rows of one key are merged, and not only the last of them is kept."""
        return str(self.table.options.get(ENGINE, DEDUPLICATE)) != DEDUPLICATE

    @cached_property
    def manifests(self) -> list[ManifestFileMeta]:
        """The manifests."""
        table = table_of(self._store, self.folder, self.table)
        with self._reading():
            return list(ManifestListManager(table).read_all(self.snapshot))

    @cached_property
    def entries(self) -> list[ManifestEntry]:
        """The entries of the data files there are.

        Raises:
            ConfigError: There is what this version does not read.
        """
        manager = ManifestFileManager(table_of(self._store, self.folder, self.table))
        manifests = self.manifests
        with self._reading():
            found = list(manager.read_entries_parallel(manifests)) if manifests else []
        if self.snapshot is not None and self.snapshot.index_manifest:
            raise self._foreign("index files (deletion vectors or dynamic buckets)")
        for entry in found:
            if not entry.file.file_name.endswith(".parquet") or entry.file.external_path:
                raise self._foreign(f"files that are not its own Parquet ({entry.file.file_name})")
        return found

    @cached_property
    def buckets(self) -> dict[str, list[BucketFile]]:
        """The data files by the path of their pseudo-file in `files`, the oldest first."""
        paths = table_of(self._store, self.folder, self.table).path_factory()
        found: dict[tuple[str, Any], list[BucketFile]] = defaultdict(list)
        for entry in sorted(self.entries, key=lambda e: int(e.file.max_sequence_number)):
            partition = tuple(entry.partition.values)
            bucket = paths.relative_bucket_path(partition, entry.bucket, canonical_partition=True)
            found[bucket, partition].append(BucketFile(f"{bucket}/{entry.file.file_name}", entry))
        return {_named(bucket, files): files for (bucket, _), files in found.items()}

    @cached_property
    def files(self) -> tuple[DataFile, ...]:
        """A file for each bucket of a partition, as if it were one; its path names those it has."""
        return tuple(self._as_one(path, files) for path, files in self.buckets.items())

    @cached_property
    def sequence(self) -> int:
        """The greatest sequence number there is."""
        told = self._properties.get(SEQUENCE)
        if told is not None:
            return int(told)
        return max((int(e.file.max_sequence_number) for e in self.entries), default=-1)

    @cached_property
    def states(self) -> dict[str, str]:
        """What the last commit of this sink says of every feed, as it stands in the properties."""
        if self.snapshot is None:
            return {}
        if WHAT in self._properties:
            return _states(self._properties)
        for snapshot in self._before(self.snapshot):
            if snapshot.properties and WHAT in snapshot.properties:
                return _states(snapshot.properties)
        return {}

    def state(self, feed: Feed) -> FeedState | None:
        """Return what the table remembers of a feed."""
        told = self.states.get(feed_key(feed))
        return None if told is None else FeedState(**json.loads(told))

    @property
    def _properties(self) -> dict[str, str]:
        return (self.snapshot.properties or {}) if self.snapshot is not None else {}

    def _as_one(self, path: str, files: Sequence[BucketFile]) -> DataFile:
        metas = [f.entry.file for f in files]
        values = files[0].entry.partition.values
        partition = dict(zip(self.partition_by, values, strict=True))
        bounds: dict[str, tuple[Any, Any]] = {}
        for number, name in enumerate(file_keys(self.table)):
            ends = [
                (m.key_stats.min_values.get_field(number), m.key_stats.max_values.get_field(number))
                for m in metas
            ]
            if all(low is not None and high is not None for low, high in ends):
                bounds[name] = min(e[0] for e in ends), max(e[1] for e in ends)
        rows = None
        if not self.table.primary_keys:
            rows = sum(int(m.row_count) for m in metas)
        size = sum(int(m.file_size) for m in metas)
        return DataFile(path, rows, size, partition, bounds)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Turn manifests that are gone, as those of an expired snapshot are, into a clear error."""
        try:
            yield
        except FileNotFoundError:
            raise FileGone(
                "a manifest of the table is not there any more",
                where=self._store.url(self.folder),
                remedy="run again: a clean-up may have come between; if it stays, restore the file "
                "or materialize the table's snapshot partition",
            ) from None

    def _foreign(self, what: str) -> ConfigError:
        return ConfigError(
            f"the Paimon table has {what}, which this sink does not read",
            where=self._store.url(self.folder),
            remedy="write them anew with the engine that made them, or drop the table and "
            "materialize its snapshot partition",
        )


def feed_key(feed: Feed) -> str:
    """Return the property that has a feed's state."""
    source = [feed.pipeline, feed.table.database, feed.table.table]
    return f"{FEED}{json.dumps(source, ensure_ascii=False)}"


def told_state(state: FeedState) -> str:
    """Return a feed's state as the property's value."""
    return json.dumps(asdict(state))


def _states(properties: dict[str, str]) -> dict[str, str]:
    return {k: v for k, v in properties.items() if k.startswith(FEED)}


def _named(bucket: str, files: Sequence[BucketFile]) -> str:
    names = "\n".join(f.path for f in files)
    return f"{bucket}#{hashlib.blake2b(names.encode(), digest_size=8).hexdigest()}"
