"""What a caller may tune about reading a binary log.

In: settings of a pipeline. Out: immutable options for `stream_binlog`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from resources.model.table import TableId, TableSchema

if TYPE_CHECKING:
    from resources.mysql.schema_history.history import SchemaHistory

ZeroDates = Literal["null", "dirty"]


def _no_catalog(table: TableId) -> TableSchema | None:
    return None


def _no_columns(_schema: TableSchema) -> Collection[str]:
    return ()


def _no_tables() -> Iterable[TableId]:
    return ()


@dataclass(frozen=True)
class StreamOptions:
    """Limits and policies of one stream.

    Args:
        zero_dates: What a zero or impossible date becomes: NULL, or a rejected row.
        slice_rows: A slice ends at the transaction boundary after this many rows.
        slice_bytes: The same by bytes of row images.
        slice_seconds: The same by time since the slice began; also the longest silence between
            two slices of an idle server.
        transaction_rows: A transaction beyond this many rows is cut into incomplete slices.
        transaction_bytes: The same by bytes of row images.
        heartbeat_seconds: How often an idle server says it is alive; three missed ones count as
            a lost connection.
        attempts: Connections tried in a row without progress before `SourceUnavailable`.
        backoff_seconds: Pause before the second attempt; it doubles from there, up to 10 s.
        reader: What SHOW REPLICAS lists this reader as.
        catalog: Schema the server's catalog has now for a table, if any. It only refines what
            the log leaves open (UUID and INET columns, the server's own words for a type,
            comments), and only where names and types agree.
        tables: Every table the pipeline knows of, dropped ones included: who is told of an
            incident or of a dropped database.
        history: Shapes for table maps that do not name their columns; without it such maps of
            wanted tables are refused. It belongs to one stream.
        watched: Columns of a table whose change makes an update carry its before-image, as a
            change of the key does.
    """

    zero_dates: ZeroDates = "null"
    slice_rows: int = 20_000
    slice_bytes: int = 8 << 20
    slice_seconds: float = 1.0
    transaction_rows: int = 100_000
    transaction_bytes: int = 64 << 20
    heartbeat_seconds: float = 5.0
    attempts: int = 6
    backoff_seconds: float = 0.2
    reader: str = ""
    catalog: Callable[[TableId], TableSchema | None] = _no_catalog
    tables: Callable[[], Iterable[TableId]] = _no_tables
    history: SchemaHistory | None = None
    watched: Callable[[TableSchema], Collection[str]] = _no_columns
