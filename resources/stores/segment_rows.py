"""What a segment is, and how it lies in the state store's rows.

In: rows of the tables `segments` and `segment_tables`. Out: immutable segments, and rows again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import Row

from resources.model.change import TableNotice
from resources.model.position import Position, position_from_json
from resources.model.table import TableId, schema_from_json
from resources.stores.fills import fills_from_text, fills_to_text
from resources.stores.tables import segment_tables


@dataclass(frozen=True)
class TableStats:
    """What one segment holds of one table.

    Args:
        rows: Rows by kind: `insert`, `update`, `delete` always, `update_before` where there are
            any (old keys of updates that changed the key).
        schemas: Fingerprints of the schema versions of its rows, in log order.
        notices: Number of notices.
        table: The table.
        noticed: The notices themselves.
    """

    rows: dict[str, int]
    schemas: tuple[str, ...]
    notices: int
    table: TableId
    noticed: tuple[TableNotice, ...] = ()

    @property
    def total(self) -> int:
        """Rows of all kinds."""
        return sum(self.rows.values())


@dataclass(frozen=True)
class Segment:
    """An interval of a source's log, captured.

    Args:
        pipeline: Whose log.
        number: 1, 2, 3 … without a hole.
        start: Position it begins at, exclusive; the end of the one before.
        end: Position it ends at.
        window: The window of commit time it lies in; empty if it has no rows.
        file: Its file relative to the change log's location, empty if it has neither rows nor
            notices.
        size_bytes: The file's size.
        rows: Rows of all tables.
        transactions: Transactions that ended in it.
        tables: By `table_key`; ask a value's `table` for the table's id.
        first_ts_us: Smallest commit time, microseconds since the epoch, 0 if empty.
        last_ts_us: Greatest commit time, 0 if empty.
        checksum: `crc32:` and 8 hex digits of the file's index, which holds those of its blocks.
        capture_filter: What was captured, in the engine's words.
        committed_us: When its row was committed, by the state database's clock.
        run_id: The run that captured it.
        token: Fencing token of that run's lease.
        part: Compaction of its window its rows went into, 0 before that.
        purged: Whether its file was deleted, its rows being in the compaction.
    """

    pipeline: str
    number: int
    start: Position
    end: Position
    window: str
    file: str
    size_bytes: int
    rows: int
    transactions: int
    tables: dict[str, TableStats]
    first_ts_us: int
    last_ts_us: int
    checksum: str
    capture_filter: str
    committed_us: int
    run_id: str
    token: int
    part: int = 0
    purged: bool = False

    def __str__(self) -> str:
        """Return number and range, the form of errors and logs."""
        return f"segment {self.number} of {self.pipeline} ({self.start} to {self.end})"


def table_key(table: TableId) -> str:
    """Return a table's key in `Segment.tables`: `database.table`.

    Quoted where a dot in a name would make `a.b`.`c` and `a`.`b.c` the same key.
    """
    if "." not in table.database + table.table:
        return str(table)
    return ".".join(f"`{name.replace('`', '``')}`" for name in (table.database, table.table))


def empty_segment(
    pipeline: str, number: int, start: Position, end: Position, token: int, committed_us: int
) -> Segment:
    """Return a segment that only moves the log's end."""
    return Segment(
        pipeline=pipeline,
        number=number,
        start=start,
        end=end,
        window="",
        file="",
        size_bytes=0,
        rows=0,
        transactions=0,
        tables={},
        first_ts_us=0,
        last_ts_us=0,
        checksum="",
        capture_filter="",
        committed_us=committed_us,
        run_id="",
        token=token,
    )


@dataclass(frozen=True)
class Floor:
    """How far retention has removed segments.

    Args:
        number: Greatest number that is gone, 0 if none.
        position: Where the next segment starts.
    """

    number: int
    position: Position


def stats_columns() -> list[Any]:
    """Return the columns that `stats_from_row` reads."""
    t = segment_tables.c
    return [t.database_name, t.table_name, t.kinds, t.schemas, t.notice_count, t.notices]


def stats_from_row(row: Row[Any]) -> TableStats:
    """Read one row of `segment_tables`."""
    table = TableId(row.database_name, row.table_name)
    return TableStats(
        rows=json.loads(row.kinds),
        schemas=tuple(json.loads(row.schemas)),
        notices=row.notice_count,
        table=table,
        noticed=tuple(notice_from_json(n) for n in json.loads(row.notices)),
    )


def rows_of_stats(segment: Segment) -> list[Mapping[str, Any]]:
    """Return the rows of `segment_tables` for a segment."""
    return [
        {
            "pipeline": segment.pipeline,
            "database_name": stats.table.database,
            "table_name": stats.table.table,
            "number": segment.number,
            "row_count": stats.total,
            "kinds": json.dumps(stats.rows),
            "schemas": json.dumps(stats.schemas),
            "notice_count": stats.notices,
            "notices": json.dumps([notice_to_json(n) for n in stats.noticed]),
        }
        for stats in segment.tables.values()
    ]


def segment_from_row(row: Row[Any], tables: dict[str, TableStats]) -> Segment:
    """Read one row of `segments`."""
    return Segment(
        pipeline=row.pipeline,
        number=row.number,
        start=position_from_text(row.start_position),
        end=position_from_text(row.end_position),
        window=row.commit_window,
        file=row.file,
        size_bytes=row.size_bytes,
        rows=row.row_count,
        transactions=row.transactions,
        tables=tables,
        first_ts_us=row.first_ts_us,
        last_ts_us=row.last_ts_us,
        checksum=row.checksum,
        capture_filter=row.capture_filter,
        committed_us=row.committed_us,
        run_id=row.run_id,
        token=row.token,
        part=row.part,
        purged=row.purged,
    )


def row_of_segment(segment: Segment) -> Mapping[str, Any]:
    """Return the row of `segments` for a segment."""
    return {
        "pipeline": segment.pipeline,
        "number": segment.number,
        "start_position": position_to_text(segment.start),
        "end_position": position_to_text(segment.end),
        "commit_window": segment.window,
        "file": segment.file,
        "size_bytes": segment.size_bytes,
        "row_count": segment.rows,
        "transactions": segment.transactions,
        "first_ts_us": segment.first_ts_us,
        "last_ts_us": segment.last_ts_us,
        "checksum": segment.checksum,
        "capture_filter": segment.capture_filter,
        "committed_us": segment.committed_us,
        "run_id": segment.run_id,
        "token": segment.token,
        "part": segment.part,
        "purged": segment.purged,
    }


def position_to_text(position: Position) -> str:
    """Return a position as the JSON text of its column."""
    return json.dumps(position.to_json())


def position_from_text(text: str) -> Position:
    """Read what `position_to_text` wrote."""
    return position_from_json(json.loads(text))


def notice_to_json(notice: TableNotice) -> dict[str, Any]:
    """Return a JSON value that `notice_from_json` reads back."""
    shape = notice.shape.to_json() if notice.shape is not None else None
    told = {"shape": shape, "fills": fills_to_text(notice.fills)}
    return asdict(replace(notice, shape=None, fills=())) | told


def notice_from_json(value: dict[str, Any]) -> TableNotice:
    """Read what `notice_to_json` wrote, or what versions without some of it did."""
    shape, was, now = value.get("shape"), value.get("was"), value.get("now")
    return TableNotice(
        **(
            value
            | {
                "table": TableId(**value["table"]),
                "shape": schema_from_json(shape) if shape else None,
                "origins": tuple(value.get("origins", ())),
                "was": TableId(**was) if was else None,
                "now": TableId(**now) if now else None,
                "fills": fills_from_text(value.get("fills", "")),
            }
        )
    )
