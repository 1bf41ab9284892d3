"""Commits of Iceberg tables: a snapshot that swaps files, and whatever changes with it.

In: data files that come and go, columns, properties. Out: updates of a table's metadata and what
they require: the snapshot and columns they were made from, or nothing is changed. Only manifests
that list a file that goes are written anew; a new one lists what comes.

pyiceberg's own transactions commit again on top of whatever came between; these do not: the rows
were made from one snapshot and fit no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException, TableAlreadyExistsError
from pyiceberg.manifest import DataFile as IcebergFile
from pyiceberg.manifest import ManifestContent, ManifestEntry, ManifestEntryStatus, ManifestFile
from pyiceberg.schema import Schema
from pyiceberg.table import CreateTableTransaction, StagedTable, Table, Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.snapshots import Operation, Summary
from pyiceberg.table.update import (
    AddSchemaUpdate,
    AssertCreate,
    AssertCurrentSchemaId,
    AssertRefSnapshotId,
    AssertTableUUID,
    SetCurrentSchemaUpdate,
    TableRequirement,
)
from pyiceberg.table.update.snapshot import _ManifestMergeManager, _SnapshotProducer

_MANIFEST_BYTES = 8 << 20
_MOST_MANIFESTS = 100
"""Manifests are joined once there are so many small ones."""


@dataclass(frozen=True)
class Swap:
    """What a snapshot changes.

    Args:
        manifests: Those of the snapshot before, each with its files.
        add: New files.
        remove: Places of files that go.
        replaces: The rows stay the same: files are joined, nothing else.
    """

    manifests: Sequence[tuple[ManifestFile, Sequence[ManifestEntry]]]
    add: Sequence[IcebergFile] = ()
    remove: frozenset[str] = frozenset()
    replaces: bool = False

    @property
    def operation(self) -> Operation:
        """The kind of snapshot, for readers that follow a table."""
        if self.replaces:
            return Operation.REPLACE
        if not self.remove:
            return Operation.APPEND
        return Operation.OVERWRITE if self.add else Operation.DELETE


class _Once(Transaction):
    """A transaction whose metadata is worked out once for all who ask, not for each of them."""

    _known: tuple[int, TableMetadata] | None = None

    @property
    def table_metadata(self) -> TableMetadata:
        """The table's metadata with the updates so far."""
        if not self._updates:
            return self._table.metadata
        if self._known is None or self._known[0] != len(self._updates):
            self._known = len(self._updates), super().table_metadata
        return self._known[1]


class _OnceCreate(_Once, CreateTableTransaction):
    """Likewise, of a table that is not there yet."""


class _Producer(_SnapshotProducer["_Producer"]):
    """Writes the manifests of a swap, from what was read already."""

    def __init__(
        self, transaction: Transaction, table: Table, swap: Swap, summary: Mapping[str, str]
    ) -> None:
        made = Operation.OVERWRITE if swap.replaces else swap.operation
        super().__init__(made, transaction, table.io, snapshot_properties=dict(summary))
        self._swap = swap
        for file in swap.add:
            self.append_data_file(file)
        for entry in self._gone():
            self.delete_data_file(entry.data_file)

    def _gone(self) -> Iterable[ManifestEntry]:
        for _, entries in self._swap.manifests:
            yield from (e for e in entries if e.data_file.file_path in self._swap.remove)

    def _build_delete_files_partition_predicate(self) -> None:
        """Do nothing: the manifests to write anew are known."""

    def _deleted_entries(self) -> list[ManifestEntry]:
        return [_entry(e, ManifestEntryStatus.DELETED, self._snapshot_id) for e in self._gone()]

    def _existing_manifests(self) -> list[ManifestFile]:
        """Return the manifests that stay, and those written anew without the files that go."""
        kept = []
        for manifest, entries in self._swap.manifests:
            left = [e for e in entries if e.data_file.file_path not in self._swap.remove]
            if len(left) == len(entries) and entries:
                kept.append(manifest)
            elif left:
                with self.new_manifest_writer(self.spec(manifest.partition_spec_id)) as writer:
                    for entry in left:
                        status = ManifestEntryStatus.EXISTING
                        writer.add_entry(_entry(entry, status, entry.snapshot_id))
                kept.append(writer.to_manifest_file())
        return kept

    def _process_manifests(self, manifests: list[ManifestFile]) -> list[ManifestFile]:
        data = [m for m in manifests if m.content == ManifestContent.DATA]
        merger: _ManifestMergeManager[_Producer] = _ManifestMergeManager(
            _MANIFEST_BYTES, 1 if self._swap.replaces else _MOST_MANIFESTS, True, self
        )
        return merger.merge_manifests(data)

    def _summary(self, snapshot_properties: dict[str, str] | None = None) -> Summary:
        made = super()._summary(snapshot_properties or {})
        return Summary(operation=self._swap.operation, **made.additional_properties)


def commit(
    catalog: Catalog,
    table: Table,
    swap: Swap | None,
    summary: Mapping[str, str],
    *,
    schema: Schema | None = None,
    properties: Mapping[str, str] | None = None,
) -> None:
    """Commit to a table that is still as it was read.

    Args:
        catalog: Where it is known.
        table: It, as it was read.
        swap: The files that come and go; None to leave its snapshot as it is.
        summary: What the new snapshot's summary says.
        schema: New columns.
        properties: Table properties to set.

    Raises:
        CommitFailedException: Another commit came between; what was written for this one is
            deleted.
    """
    transaction = _Once(table)
    if schema is not None:
        transaction._stage((AddSchemaUpdate(schema_=schema), SetCurrentSchemaUpdate(schema_id=-1)))
    head = table.metadata.refs.get(MAIN_BRANCH)
    required: tuple[TableRequirement, ...] = (
        AssertTableUUID(uuid=table.metadata.table_uuid),
        AssertRefSnapshotId(ref=MAIN_BRANCH, snapshot_id=head.snapshot_id if head else None),
        AssertCurrentSchemaId(current_schema_id=table.metadata.current_schema_id),
    )
    _finish(catalog, transaction, table, swap, summary, properties, required)


def create(
    catalog: Catalog,
    transaction: CreateTableTransaction,
    swap: Swap | None,
    summary: Mapping[str, str],
    properties: Mapping[str, str],
) -> None:
    """Commit a new table with its first files.

    Raises:
        CommitFailedException: It is there by now.
        TableAlreadyExistsError: Likewise.
    """
    table = transaction._table
    once = _OnceCreate(cast(StagedTable, table))
    _finish(catalog, once, table, swap, summary, properties, (AssertCreate(),))


def _finish(
    catalog: Catalog,
    transaction: Transaction,
    table: Table,
    swap: Swap | None,
    summary: Mapping[str, str],
    properties: Mapping[str, str] | None,
    required: tuple[TableRequirement, ...],
) -> None:
    if properties:
        transaction.set_properties(dict(properties))
    producer = None
    if swap is not None:
        producer = _Producer(transaction, table, swap, summary)
        transaction._stage(producer._commit()[0])
    try:
        catalog.commit_table(table, required, transaction._updates)
    except (CommitFailedException, TableAlreadyExistsError):
        if producer is not None:
            producer._clean_all_uncommitted()
        raise


def _entry(entry: ManifestEntry, status: ManifestEntryStatus, snapshot: Any) -> ManifestEntry:  # noqa: ANN401 - int or None
    return ManifestEntry.from_args(
        status=status,
        snapshot_id=snapshot,
        sequence_number=entry.sequence_number,
        file_sequence_number=entry.file_sequence_number,
        data_file=entry.data_file,
    )
