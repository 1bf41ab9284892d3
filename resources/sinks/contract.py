"""The contract of a sink, and what a dialect says of itself instead of being asked by name.

In: Arrow tables of reduced changes or of snapshot chunks. Out: a target table equal to its
source, with its watermark in the same transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Protocol, Self, runtime_checkable

import pyarrow as pa

from resources.model.column_change import ColumnChange
from resources.model.source import Finding
from resources.model.table import TableId, TableSchema

Mode = Literal["merge", "append"]
Existing = Literal["taken", "anew", "kept"]


@dataclass(frozen=True, order=True)
class TargetId:
    """A target table's name in the sink.

    Args:
        namespace: Schema, database or folder.
        table: Table name.
    """

    namespace: str
    table: str

    def __str__(self) -> str:
        """Return `namespace.table`."""
        return f"{self.namespace}.{self.table}"


@dataclass(frozen=True)
class TargetTable:
    """What a target table shall look like.

    Args:
        id: Its name in the sink.
        schema: Columns in source terms (Arrow types) after routing and transforms.
        mode: `merge` keeps one row per key; `append` keeps every change as a row, to which the
            sink adds `_cdc_op`, `_cdc_seq` and `_cdc_ts` as its last columns.
        owner: Name of the column that says which feed a row came from, where several feeds share
            the table (merged shards); empty for a table of one feed. It is one of the columns of
            `schema`, a string, and no part of the key.
        partition_keys: Columns the table's files are laid out by, where the sink has such.
        existing: What a load does with a table that is there, of one feed. `taken`: another takes
            its place, or its rows are replaced if more hangs on it. `anew`: another always takes
            its place. `kept`: its rows are replaced and it stays as it was made.
    """

    id: TargetId
    schema: TableSchema
    mode: Mode = "merge"
    owner: str = ""
    partition_keys: tuple[str, ...] = ()
    existing: Existing = "taken"


@dataclass(frozen=True, order=True)
class Feed:
    """One stream of changes into one target: a source table of a pipeline.

    Args:
        pipeline: The pipeline's name.
        table: The source table.
    """

    pipeline: str
    table: TableId

    def __str__(self) -> str:
        """Return `pipeline/database.table`: what the owner column of a shared target holds."""
        return f"{self.pipeline}/{self.table}"


@dataclass(frozen=True)
class Watermark:
    """How far a target table is, in the sink's own words.

    Args:
        seq: Last `_cdc_seq` applied.
        consistent_from: The table is a consistent image of its source once `seq` reaches this
            (the high position of its snapshot).
        token: Fencing token of the writer that moved it last.
    """

    seq: int
    consistent_from: int
    token: int


@dataclass(frozen=True)
class Fence:
    """A compare-and-set of a table's watermark, done in the data's own transaction.

    Args:
        feed: Whose watermark; several feeds, of several pipelines even, may share one target.
        expected: The watermark the writer read; None if the table had none.
        new: The watermark after this write (equal to `expected` for a dirty-row replay).
        token: The writer's fencing token. A watermark moved by a greater token fences it out.
    """

    feed: Feed
    expected: int | None
    new: int
    token: int


@dataclass(frozen=True)
class Written:
    """What a merge or append did: rows upserted (or appended) and keys deleted, as asked for."""

    upserted: int = 0
    deleted: int = 0


@dataclass(frozen=True)
class RejectedWrite:
    """One row the sink would not take.

    Args:
        index: Row number in the table handed to `merge` as upserts (or to `append`, `load_chunk`).
        field: The column at fault where the engine says so, else empty.
        message: The engine's reason without the value.
    """

    index: int
    field: str
    message: str


@dataclass(frozen=True)
class Capabilities:
    """What an engine can do; the engine decides by these, never by the dialect's name.

    Args:
        transactions: Data and watermark commit together.
        merge: Rows can be replaced and deleted by key.
        schema_changes: Kinds of `ColumnChange` the sink applies: `add drop rename retype`; and
            `fill` if it gives rows values in a column that is added (`AddColumn.fill`).
        decimal_precision: Greatest DECIMAL precision held exactly.
        identifier_length: Longest name in characters; 0 for no limit.
        folds_case: Names that differ in case only collide.
        parallel_writers: Several processes may write at once.
        max_connections: Connections one process may hold; 0 for no limit of its own.
        refused_types: Arrow type names it has no exact counterpart for, refused at plan time.
        refused_values: Values of types it does take that are dirty rows all the same, in words.
        append_loads: An `append` target takes loads: of the table's columns alone, kept as rows
            that were read, in front of the changes since.
        joined_changes: A list of column changes is summed up into one statement, which is made
            whole or not at all; statements shown are of the sum, not of each change.
    """

    transactions: bool = True
    merge: bool = True
    schema_changes: frozenset[str] = frozenset()
    decimal_precision: int = 38
    identifier_length: int = 0
    folds_case: bool = False
    parallel_writers: bool = False
    max_connections: int = 0
    refused_types: frozenset[str] = field(default_factory=frozenset)
    refused_values: frozenset[str] = frozenset()
    append_loads: bool = False
    joined_changes: bool = False


@runtime_checkable
class Sink(Protocol):
    """A place for target tables. Not thread-safe unless its capabilities say otherwise."""

    capabilities: Capabilities

    def check_table(self, target: TargetTable) -> list[Finding]:
        """Return what this sink cannot hold exactly in such a table, before anything is written.

        Names that collide with a table already there, types without exact counterpart, missing
        keys. Existing tables whose columns do not fit are `error` findings that show both shapes.
        """
        ...

    def read_schema(self, target: TargetId) -> pa.Schema | None:
        """Return the target's columns as the sink has them now, None if it does not exist."""
        ...

    def create_table(self, target: TargetTable) -> None:
        """Create the table and its namespace if they are missing."""
        ...

    def drop_table(self, target: TargetId) -> None:
        """Drop the table and all it left: watermarks, loads."""
        ...

    def read_table(self, target: TargetId) -> pa.Table:
        """Return all rows (tests, checks and demos)."""
        ...

    def count_rows(self, target: TargetId) -> int:
        """Return the number of rows."""
        ...

    def alter_table(self, target: TargetId, changes: Sequence[ColumnChange]) -> None:
        """Change a table's columns, in order, in one transaction where the sink has them.

        A change that is there already (a run was killed after it) is passed over.

        Raises:
            SchemaMismatch: A column to change is not there, or values do not fit the new type;
                nothing was changed where the sink has transactions.
            ConfigError: The sink cannot make such a change.
        """
        ...

    def render_changes(self, target: TargetId, changes: Sequence[ColumnChange]) -> list[str]:
        """Return the statements `alter_table` would run, for a person to read."""
        ...

    def execute(self, statements: Sequence[str]) -> None:
        """Run statements a person gave in place of a schema change, in one transaction if it can.

        Raises:
            ConfigError: The sink has no statements, or refuses one.
        """
        ...

    def read_watermark(self, target: TargetId, feed: Feed) -> Watermark | None:
        """Return a feed's watermark, None if nothing was ever finished for it."""
        ...

    def list_watermarks(self, pipeline: str) -> dict[tuple[TargetId, TableId], Watermark]:
        """Return every watermark of a pipeline, by target and source table."""
        ...

    def list_feeds(self, target: TargetId) -> list[Feed]:
        """Return every feed that has a watermark in a table, of whatever pipeline, sorted."""
        ...

    def merge(
        self, target: TargetTable, upserts: pa.Table, deletes: pa.Table, fence: Fence
    ) -> Written:
        """Delete the keys in `deletes`, replace or insert `upserts`, move the watermark.

        One transaction where the sink has them, else data first and watermark last. In a shared
        target (`target.owner`) rows of other feeds are left alone: a delete passes them over, an
        upsert of such a key is refused.

        Args:
            target: The table.
            upserts: The table's columns, one row per key; the owner column holds `fence.feed`.
            deletes: The key columns, disjoint from the keys of `upserts`.
            fence: Watermark to compare and set.

        Raises:
            FencedOut: The watermark is not the expected one; nothing was written.
            DirtyRowError: The engine refused a row, or its key belongs to another feed; nothing
                was written. Ask `find_rejected`.
            SchemaMismatch: The target's columns do not fit.
            SinkUnavailable: It cannot be reached now.
        """
        ...

    def truncate(self, target: TargetTable, fence: Fence) -> int:
        """Delete every row (of a shared target: the feed's) and move the watermark.

        Returns the rows deleted. Raises as `merge`.
        """
        ...

    def append(self, target: TargetTable, rows: pa.Table, fence: Fence) -> Written:
        """Insert every row of an `append` target and move the watermark. Raises as `merge`."""
        ...

    def find_rejected(self, target: TargetTable, rows: pa.Table) -> list[RejectedWrite]:
        """Try the rows in a transaction that is rolled back and name those refused.

        In a shared target a row whose key belongs to another feed than its own owner column says
        is refused by naming both feeds.
        """
        ...

    def begin_load(self, target: TargetTable, load_id: str, feed: Feed) -> None:
        """Prepare a snapshot load beside the live table; the feed's other loads are dropped.

        The live table stays readable and mergeable until `finish_load`. Calling it again with
        the same id keeps what was loaded. Feeds that share a target may load at the same time.
        """
        ...

    def loaded_chunks(self, target: TargetId, load_id: str) -> dict[int, int]:
        """Return the chunks that are fully in, and their row counts."""
        ...

    def load_chunk(
        self, target: TargetTable, load_id: str, chunk: int, rows: Iterable[pa.Table]
    ) -> int:
        """Write one chunk and its done mark in one transaction; returns rows written.

        A chunk written before is left as it is (its mark says so). Raises as `merge`.
        """
        ...

    def load_conflicts(self, target: TargetTable, load_id: str, feed: Feed) -> pa.Table:
        """Return the loaded rows of a shared target whose keys other feeds have in the live table.

        Their owner column holds the other feed. Empty for a target of one feed.
        """
        ...

    def finish_load(
        self,
        target: TargetTable,
        load_id: str,
        fence: Fence,
        consistent_from: int,
        *,
        keep: Sequence[str] = (),
        conflicts: int = 0,
    ) -> int:
        """Put the loaded rows in the live table's place and set its watermark, atomically.

        Idempotent: a load already finished changes nothing. `fence.expected` is not compared
        (a load replaces whatever was there), its token is.

        A target of one feed is replaced as a whole, columns included. In a shared target, and
        where columns are kept, the loaded rows replace the feed's rows in the live table, which
        must have all columns of the load (`alter_table` before); further ones it has stay, NULL
        unless kept. The rows of `load_conflicts` are left out.

        Args:
            target: The table as it was when the load was begun.
            load_id: The load.
            fence: Whose watermark, and the token.
            consistent_from: See `Watermark`.
            keep: Columns the source no longer has: the live table's values are kept, by key.
            conflicts: How many rows `load_conflicts` returned.

        Returns:
            The row count.

        Raises:
            DirtyRowError: The number of conflicts is another one by now; nothing was changed.
        """
        ...

    def abandon_load(self, target: TargetId, load_id: str) -> None:
        """Drop a load that will not be finished."""
        ...

    def close(self) -> None:
        """Release every connection and file."""
        ...

    def __enter__(self) -> Self:
        """Return itself."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        ...
