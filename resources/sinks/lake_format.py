"""What the lake formats have in common, and what each of them adds: a table as a set of files.

In: targets. Out: snapshots of tables, and changes of their sets of files that are committed in one
step or not at all, the feed's watermark with them.

A writer reads a snapshot, writes files beside it, and commits against that snapshot: if another
commit came between, it begins again. `resources.sinks.lake.LakeSink` does all that; a format only
reads snapshots and commits changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa

from resources.sinks.contract import Feed, TargetId, Watermark
from resources.sinks.lake_types import LakeTypes
from resources.sinks.maintenance import Upkeep

Bounds = Mapping[str, tuple[Any, Any]]
"""Least and greatest value of columns, as Python values of the stored types."""


class LostRace(Exception):
    """Another commit came between the snapshot and this one; nothing was changed."""


@dataclass(frozen=True)
class DataFile:
    """A Parquet file of a table.

    Args:
        path: Where it is in the table's folder.
        rows: How many rows it has; None if its footer has to be asked.
        size: Bytes.
        partition: Values of the partition columns, as Python values of the stored types.
        bounds: Of columns whose bounds are known; values outside are certainly not there.
        nulls: Number of NULLs by column, where known.
        name: What the format calls it, where that is not its path.
    """

    path: str
    rows: int | None
    size: int
    partition: Mapping[str, Any] = field(default_factory=dict)
    bounds: Bounds = field(default_factory=dict)
    nulls: Mapping[str, int] = field(default_factory=dict)
    name: str = ""


@dataclass(frozen=True)
class FeedState:
    """What a table remembers of one feed, in the commits of its data.

    Args:
        seq: As in `Watermark`.
        consistent_from: As in `Watermark`.
        token: As in `Watermark`.
        load: Number of the load finished last (`lake_loads.load_number`), 0 for none.
        load_rows: Rows it brought.
        nonce: Number of the commit, by which a writer knows its own if no answer came.
    """

    seq: int
    consistent_from: int
    token: int
    load: int = 0
    load_rows: int = 0
    nonce: int = 0

    @property
    def watermark(self) -> Watermark:
        """The watermark in the contract's words."""
        return Watermark(self.seq, self.consistent_from, self.token)


@dataclass(frozen=True)
class Change:
    """A change of a table's files, to be committed in one step.

    Args:
        what: One word for the table's history: `merge`, `append`, `truncate`, `load`, `alter`.
        add: New files.
        remove: Files of the snapshot that go. Ignored where `schema` is given.
        schema: New columns, in the Arrow types of the target: then `add` holds all files there
            are afterwards, and every file of the snapshot goes.
        feed: Whose state is set.
        state: The state.
        layout: With `schema`, what else the new files are laid out by, in the format's own words;
            empty to leave it as it is.
    """

    what: str
    add: tuple[DataFile, ...] = ()
    remove: tuple[DataFile, ...] = ()
    schema: pa.Schema | None = None
    feed: Feed | None = None
    state: FeedState | None = None
    layout: str = ""


class Snapshot(Protocol):
    """A table as it was at one moment."""

    @property
    def schema(self) -> pa.Schema:
        """The columns, in the Arrow types of the target."""
        ...

    @property
    def partition_by(self) -> tuple[str, ...]:
        """The partition columns."""
        ...

    @property
    def files(self) -> tuple[DataFile, ...]:
        """The data files."""
        ...

    def state(self, feed: Feed) -> FeedState | None:
        """Return what the table remembers of a feed."""
        ...


class LakeFormat(Protocol):
    """One lake format over one store."""

    @property
    def types(self) -> LakeTypes:
        """How Arrow types are stored."""
        ...

    @property
    def staging(self) -> str:
        """What the names of new files begin with, in the table's folder, before a commit."""
        return ""

    def folder(self, target: TargetId) -> str:
        """Return the table's folder in the store."""
        ...

    def read(self, target: TargetId) -> Snapshot | None:
        """Return the table as it is now, None if it does not exist.

        Raises:
            ConfigError: It has features this version does not write.
            SinkUnavailable: It cannot be read now.
        """
        ...

    def create(
        self, target: TargetId, schema: pa.Schema, partition_by: Sequence[str], change: Change
    ) -> None:
        """Create the table with its first files. Raises LostRace if it is there by now."""
        ...

    def commit(self, target: TargetId, snapshot: Snapshot, change: Change) -> None:
        """Commit a change against a snapshot. Raises LostRace if another commit came between."""
        ...

    def add_columns(self, target: TargetId, snapshot: Snapshot, columns: pa.Schema) -> None:
        """Add columns of NULLs, without touching a file. Raises as `commit`."""
        ...

    def maintain(self, target: TargetId, keep_seconds: float) -> Upkeep:
        """Join small files, delete what is not needed any more; see `Maintained.maintain`.

        Raises:
            LostRace: A writer came first; what is left to do is done by the next call.
        """
        ...

    def drop(self, target: TargetId) -> None:
        """Drop the table and every file in its folder; nothing happens if it is not there."""
        ...
