"""Delta tables as a lake format: snapshots and commits of their log, by delta-rs.

In: changes of the sets of files. Out: one entry of the log each, with the data, the watermark and
the fencing token. Delta transaction protocol: https://github.com/delta-io/delta/blob/master/PROTOCOL.md
(actions `add`, `remove`, `metaData`, `txn`).

A feed's state is six numbers, kept as the versions of six application ids (`txn` actions): they
survive checkpoints and clean-ups of the log, and come back with the table's snapshot.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, fields
from datetime import timedelta
from functools import cached_property
from typing import Any, cast
from urllib.parse import unquote

import deltalake
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake import Schema as DeltaSchema
from deltalake.exceptions import (
    CommitFailedError,
    DeltaError,
    DeltaProtocolError,
    TableNotFoundError,
)
from deltalake.transaction import AddAction, RemoveAction, create_table_with_add_actions

from resources.errors import ConfigError, TerminalError
from resources.sinks.contract import Feed, TargetId
from resources.sinks.delta_values import partition_text, statistics_json
from resources.sinks.lake_format import Change, DataFile, FeedState, LakeFormat, LostRace, Snapshot
from resources.sinks.lake_store import OWN_FOLDER, LakeStore, folder_name, storage_error
from resources.sinks.lake_types import LakeTypes, read_type, write_type
from resources.sinks.maintenance import Upkeep

_PREFIX = "cdc-assets"
_TYPE = f"{_PREFIX}.arrow"
"""Key of a column's metadata: the Arrow type it was made for."""
_STATE = tuple(f.name for f in fields(FeedState))
_SIGNED = 2**63
_REFUSED = {
    "delta.enableChangeDataFeed": "true",
    "delta.enableDeletionVectors": "true",
    "delta.enableRowTracking": "true",
    "delta.appendOnly": "true",
}
_MILLISECOND = timedelta(milliseconds=1)


class DeltaSnapshot:
    """One version of a Delta table.

    Args:
        table: It, loaded.
        types: How Arrow types are stored.
    """

    def __init__(self, table: DeltaTable, types: LakeTypes) -> None:
        self.table = table
        self._types = types
        self._states: dict[Feed, FeedState | None] = {}

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns, in the Arrow types they were made for."""
        stored = pa.schema(self.table.schema().to_arrow())
        return pa.schema([pa.field(f.name, self._arrow_type(f)) for f in stored])

    @cached_property
    def partition_by(self) -> tuple[str, ...]:
        """The partition columns."""
        return tuple(self.table.metadata().partition_columns)

    @cached_property
    def files(self) -> tuple[DataFile, ...]:
        """The data files, with the bounds the log has."""
        return tuple(_file(row) for row in pa.table(self.table.get_add_actions()).to_pylist())

    def state(self, feed: Feed) -> FeedState | None:
        """Return what the log remembers of a feed; each number is looked up in the whole log."""
        if feed not in self._states:
            self._states[feed] = self._find(feed)
        return self._states[feed]

    def _find(self, feed: Feed) -> FeedState | None:
        found = [self.table.transaction_version(_app(feed, name)) for name in _STATE]
        if found[0] is None:
            return None
        return FeedState(*((n or 0) % (2 * _SIGNED) for n in found))

    def _arrow_type(self, field: pa.Field) -> pa.DataType:
        """Return the type a column was made for, its own where somebody has changed it since."""
        text = (field.metadata or {}).get(_TYPE.encode())
        made_for = field.type if text is None else read_type(text.decode())
        return made_for if self._types.stored(made_for) == field.type else field.type


class DeltaLog(LakeFormat):
    """The Delta tables of one store: a folder per namespace, in it one per table.

    Args:
        store: The place.
        types: How Arrow types are stored.
    """

    def __init__(self, store: LakeStore, types: LakeTypes) -> None:
        self._store = store
        self._types = types
        self._options = _storage_options(store)

    @property
    def types(self) -> LakeTypes:
        """How Arrow types are stored."""
        return self._types

    def folder(self, target: TargetId) -> str:
        """Return the table's folder in the store."""
        return f"{folder_name(target.namespace)}/{folder_name(target.table)}"

    def open(self, target: TargetId) -> DeltaTable | None:
        """Return the table, loaded, None if it does not exist.

        Raises:
            ConfigError: It has features this version does not write.
            SinkUnavailable: It cannot be read now.
        """
        if self._store.exists(self._dropped(target)):
            return None
        with self._translated(target):
            try:
                table = DeltaTable(self._url(target), storage_options=self._options)
            except TableNotFoundError:
                return None
            _require_features(target, table)
        return table

    def read(self, target: TargetId) -> DeltaSnapshot | None:
        """Return the table as it is now; see `LakeFormat.read`."""
        table = self.open(target)
        return None if table is None else DeltaSnapshot(table, self._types)

    def create(
        self, target: TargetId, schema: pa.Schema, partition_by: Sequence[str], change: Change
    ) -> None:
        """Create the table with its first files; see `LakeFormat.create`."""
        if self._store.exists(note := self._dropped(target)):
            # A drop that was broken off: its files go with the next vacuum, for those of this
            # change lie among them.
            self._store.delete_folder(f"{self.folder(target)}/_delta_log")
            self._store.delete(note)
        with self._translated(target):
            create_table_with_add_actions(
                self._url(target),
                self._schema(schema),
                [_added(f) for f in change.add],
                mode="error",
                partition_by=list(partition_by),
                storage_options=self._options,
                commit_properties=_properties(change),
            )

    def commit(self, target: TargetId, snapshot: Snapshot, change: Change) -> None:
        """Commit a change against a snapshot; see `LakeFormat.commit`."""
        table = cast(DeltaSnapshot, snapshot).table
        actions: list[AddAction | RemoveAction] = [_added(f) for f in change.add]
        replaces = change.schema is not None and change.schema != snapshot.schema
        if replaces:
            self._enable(target, table, change.schema)
        else:
            gone = snapshot.files if change.schema is not None else change.remove
            actions += [_removed(f) for f in gone]
        with self._translated(target):
            table.create_write_transaction(
                actions,
                "overwrite" if replaces else "append",
                self._schema(change.schema if replaces else snapshot.schema),
                partition_by=list(snapshot.partition_by),
                commit_properties=_properties(change),
            )

    def add_columns(self, target: TargetId, snapshot: Snapshot, columns: pa.Schema) -> None:
        """Add columns of NULLs; see `LakeFormat.add_columns`."""
        table = cast(DeltaSnapshot, snapshot).table
        with self._translated(target):
            table.alter.add_columns(
                list(self._schema(columns).fields), commit_properties=_properties(Change("alter"))
            )

    def maintain(self, target: TargetId, keep_seconds: float) -> Upkeep:
        """Compact, vacuum, and drop entries of the log that a checkpoint has."""
        table = self.open(target)
        if table is None:
            return Upkeep()
        once = _properties(Change("maintain"))
        with self._translated(target):
            compacted = table.optimize.compact(commit_properties=once)
            deleted = table.vacuum(
                math.ceil(keep_seconds / 3600),
                dry_run=False,
                enforce_retention_duration=False,
                full=True,  # what was given up before it was committed, too
            )
            table.create_checkpoint()
            table.cleanup_metadata()
        joined, written = compacted["numFilesRemoved"], compacted["numFilesAdded"]
        return Upkeep(joined, written, len(deleted))

    def drop(self, target: TargetId) -> None:
        """Drop the table: a note that it goes, its files, the note."""
        note = self._dropped(target)
        self._store.write(note, b"")
        self._store.delete_folder(self.folder(target))
        self._store.delete(note)

    def _enable(self, target: TargetId, table: DeltaTable, schema: pa.Schema | None) -> None:
        """Enable what new columns need and the table's protocol lacks, in a commit of its own.

        Raises:
            LostRace: It was enabled: the snapshot is an old one by now.
        """
        enabled = table.protocol().writer_features or []
        if pa.timestamp("us") not in (schema.types if schema else []) or "timestampNtz" in enabled:
            return
        with self._translated(target):
            table.alter.add_feature(
                deltalake.TableFeatures.TimestampWithoutTimezone,
                allow_protocol_versions_increase=True,
                commit_properties=_properties(Change("alter")),
            )
        raise LostRace

    def _schema(self, schema: pa.Schema) -> DeltaSchema:
        stored = self._types.stored_schema(schema)
        marked = [
            pa.field(s.name, s.type, metadata={_TYPE: write_type(f.type)} if s != f else None)
            for s, f in zip(stored, schema, strict=True)
        ]
        return DeltaSchema.from_arrow(pa.schema(marked))

    def _url(self, target: TargetId) -> str:
        return self._store.url(self.folder(target))

    def _dropped(self, target: TargetId) -> str:
        return f"{OWN_FOLDER}/dropped/{self.folder(target).replace('/', '~~')}"

    @contextmanager
    def _translated(self, target: TargetId) -> Iterator[None]:
        """Turn errors of delta-rs into those of this project.

        Raises:
            LostRace: Another commit came first.
        """
        try:
            yield
        except CommitFailedError:
            raise LostRace from None
        except (DeltaProtocolError, DeltaError) as error:
            if "already exists" in str(error):
                raise LostRace from None
            if _is_storage(error):
                raise storage_error(error, self._url(target)) from None
            raise TerminalError(
                f"delta-rs refuses it: {str(error).strip().splitlines()[0][:300]}",
                where=str(target),
                remedy="see the table's log; materialize its snapshot partition if it is broken",
            ) from None
        except OSError as error:
            raise storage_error(error, self._url(target)) from None


def _app(feed: Feed, name: str) -> str:
    source = [feed.pipeline, feed.table.database, feed.table.table]
    return f"{_PREFIX} {name} {json.dumps(source, ensure_ascii=False)}"


def _properties(change: Change) -> CommitProperties:
    """Return how a change is committed: once, and only as the version after its snapshot."""
    transactions: list[Transaction] = []
    told: dict[str, Any] = {"what": change.what}
    if change.feed is not None and change.state is not None:
        now = time.time_ns() // 1_000_000
        for name, number in zip(_STATE, astuple(change.state), strict=True):
            signed = number - 2 * _SIGNED if number >= _SIGNED else number
            transactions.append(Transaction(_app(change.feed, name), signed, now))
        told |= {"feed": str(change.feed), "seq": change.state.seq, "token": change.state.token}
    return CommitProperties(
        custom_metadata={_PREFIX: told}, max_commit_retries=0, app_transactions=transactions
    )


def _file(row: Mapping[str, Any]) -> DataFile:
    least, most = row.get("min") or {}, row.get("max") or {}  # absent if no column has bounds
    bounds = {
        k: (v, _raised(most[k]))
        for k, v in least.items()
        if v is not None and most.get(k) is not None
    }
    nulls = {k: v for k, v in (row.get("null_count") or {}).items() if v is not None}
    return DataFile(
        unquote(row["path"]),
        row["num_records"],
        row["size_bytes"],
        dict(row.get("partition") or {}),
        bounds,
        nulls,
        row["path"],
    )


def _raised(most: Any) -> Any:  # noqa: ANN401 - any value of a column
    """Return an upper bound of times, which Delta cuts to milliseconds."""
    try:
        return most + _MILLISECOND if hasattr(most, "microsecond") else most
    except OverflowError:
        return None


def _added(file: DataFile) -> AddAction:
    return AddAction(
        path=file.path,
        size=file.size,
        partition_values={k: partition_text(v) for k, v in file.partition.items()},
        modification_time=time.time_ns() // 1_000_000,
        data_change=True,
        stats=statistics_json(file),
    )


def _removed(file: DataFile) -> RemoveAction:
    return RemoveAction(
        path=file.name or file.path,
        data_change=True,
        deletion_timestamp=time.time_ns() // 1_000_000,
        size=file.size,
        partition_values={k: partition_text(v) for k, v in file.partition.items()},
    )


def _require_features(target: TargetId, table: DeltaTable) -> None:
    """Refuse a table whose writers have duties this version does not know.

    Raises:
        ConfigError: Names them.
    """
    settings = table.metadata().configuration
    found = [k for k, v in settings.items() if _REFUSED.get(k) == str(v).lower()]
    found += [k for k in settings if k.startswith("delta.constraints.")]
    if settings.get("delta.columnMapping.mode", "none") != "none":
        found.append("delta.columnMapping.mode")
    if found:
        raise ConfigError(
            f"the Delta table is set to {', '.join(sorted(found))}, which this sink does not keep",
            where=str(target),
            remedy="unset it, or let the pipeline write to a table of its own",
        )


def _is_storage(error: Exception) -> bool:
    words = ("Generic", "error sending request", "os error", "HTTP", "LocalFileSystem", "timed out")
    return any(word in str(error) for word in words)


def _storage_options(store: LakeStore) -> dict[str, str]:
    """Return the store's options in delta-rs's words."""
    options = {f"aws_{k}": v for k, v in store.options.items() if k != "endpoint"}
    endpoint = store.options.get("endpoint")
    if store.local:
        return {}
    if endpoint:
        options |= {"aws_endpoint": endpoint}
        options |= {"aws_allow_http": "true"} if endpoint.startswith("http://") else {}
    return {**options, "aws_conditional_put": "etag", "max_retries": "3", "retry_timeout": "20s"}
