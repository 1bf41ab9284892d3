"""The contract of a source: what capture, copy and the sensors may ask of one.

In: a pipeline's source settings. Out: schemas, positions, slices of the log, chunks of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import pyarrow as pa

from resources.model.change import NO_SHAPES, LogSlice, RejectedRow
from resources.model.chunk import Chunk
from resources.model.place import Place
from resources.model.position import Position, ServerIdentity
from resources.model.table import TableId, TableSchema


@dataclass(frozen=True)
class Finding:
    """One thing a check before start has to say.

    Args:
        level: `error` stops the start (of the table, if one is named), `warning` does not.
        code: Stable word for tests and docs, e.g. `binlog_row_image`.
        message: What is wrong.
        remedy: The statement or setting that mends it.
        table: The table concerned, None for the whole server.
    """

    level: Literal["error", "warning"]
    code: str
    message: str
    remedy: str
    table: TableId | None = None


@dataclass(frozen=True)
class ChunkRows:
    """A bounded part of a chunk.

    Args:
        rows: Record batch of the table's own Arrow schema (`TableSchema.arrow()`, all nullable).
        rejected: Rows of this part that could not be decoded (`seq` 0, kind INSERT).
    """

    rows: pa.RecordBatch
    rejected: list[RejectedRow] = field(default_factory=list)


@runtime_checkable
class Source(Protocol):
    """A source whose changes can be captured."""

    def identity(self) -> ServerIdentity:
        """Return who the server is now.

        Raises:
            SourceUnavailable: It cannot be reached.
        """
        ...

    def current_position(self) -> Position:
        """Return the end of the log as it is now (for polling: the marks to read up to)."""
        ...

    def start_position(self) -> Position:
        """Return where the change log of a new pipeline begins.

        Raises:
            PositionPurged: The log no longer has the place the pipeline's settings name.
            ConfigError: The log has no such place.
        """
        ...

    def list_tables(self) -> list[TableId]:
        """Return the tables the pipeline's patterns select, sorted."""
        ...

    def read_schemas(self, tables: Sequence[TableId]) -> dict[TableId, TableSchema]:
        """Return the schemas the server has now; tables that are gone are left out."""
        ...

    def check(self) -> list[Finding]:
        """Return everything that would stop or endanger a start, with its remedy."""
        ...

    def stream_changes(
        self,
        start: Position,
        until: Position | None,
        stop: Callable[[], bool],
        shapes: Mapping[TableId, str] = NO_SHAPES,
    ) -> Iterator[LogSlice]:
        """Yield the log from `start`.

        Args:
            start: Where to begin, exclusive; a position this source handed out.
            until: Ends after the transaction that reaches it; None follows for ever.
            stop: Asked at least once a second; True ends the stream at the next boundary.
            shapes: Text of the newest `ShapeRecord` of each table in the slices up to `start`,
                empty ones left out.

        Yields:
            Slices in order, each within one UTC hour of commit time. While following an idle
            server an empty slice comes at least once a second, with the position moved past
            everything that concerned other tables.

        Raises:
            PositionPurged: The log at `start` is gone.
            ServerChanged: The server is not the one of `start`.
            CorruptEvent: The log cannot be decoded.
            UnsupportedEvent: An event may not be skipped and cannot be applied.
            SourceUnavailable: Connection lost and not regained.
        """
        ...

    def lag_bytes(self, position: Position) -> int | None:
        """Return log bytes between `position` and the server's end, None if it cannot tell."""
        ...

    def close(self) -> None:
        """Close every connection."""
        ...


@runtime_checkable
class SeekableSource(Source, Protocol):
    """A source whose log has places a person can name."""

    def stop_position(self, place: Place) -> Position:
        """Return where a run that shall stop at a place stops.

        Returns:
            The place; the end of the log as it is now if the log does not reach it yet.

        Raises:
            ConfigError: The place is no boundary between transactions.
        """
        ...


@runtime_checkable
class SnapshotSource(Source, Protocol):
    """A source that also reads whole tables in chunks, without locks."""

    def estimate_rows(self, schema: TableSchema) -> int:
        """Return the server's own row estimate."""
        ...

    def plan_chunks(
        self, schema: TableSchema, chunk_rows: int, resume_after: Chunk | None = None
    ) -> Iterator[Chunk]:
        """Yield chunks over the full key, in key order, covering the table without a gap.

        Args:
            schema: The table; must have a key.
            chunk_rows: Rows a chunk should hold.
            resume_after: Continue planning after this chunk.
        """
        ...

    def read_chunk(self, schema: TableSchema, chunk: Chunk) -> Iterator[ChunkRows]:
        """Yield a chunk's rows in bounded parts; safe to call from several threads.

        Raises:
            SchemaMismatch: The table no longer has the schema's columns.
        """
        ...


@runtime_checkable
class RowSource(Protocol):
    """A source that can read single rows again, by key."""

    def read_rows(self, schema: TableSchema, keys: Sequence[str]) -> Iterator[ChunkRows]:
        """Yield the rows that have one of the keys now; keys that are gone are left out.

        Args:
            schema: The table; must have a key.
            keys: As `resources.model.keys.key_text` writes them.
        """
        ...
