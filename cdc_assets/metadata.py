"""Reports of the engine -> metadata on the asset pages.

In: reports in plain values. Out: Dagster metadata: counts, positions, lag, schemas. Never a row
value; text that comes from a source is cut and kept to one line.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import dagster as dg

from cdc_assets.engine.report import rank
from resources.model.change import segment_of
from resources.model.position import BinlogPosition

if TYPE_CHECKING:
    from cdc_assets.engine.report import CaptureReport, CopyReport, TableReport
    from resources.model.position import Position
    from resources.model.table import Column, TableSchema
    from resources.model.table_id import TableId
    from resources.stores.table_states import TableState

Metadata = dict[str, Any]
GTID_CHARACTERS = 200
COMMENT_CHARACTERS = 200
REASON_CHARACTERS = 1000
TABLE_LINES = 50
NO_LINEAGE: Mapping[str, frozenset[str]] = MappingProxyType({})
NO_STATES: Mapping[TableId, TableState | None] = MappingProxyType({})


def target_metadata(
    reports: Sequence[TableReport], states: Mapping[TableId, TableState | None] = NO_STATES
) -> Metadata:
    """Return what merges did to one target.

    Args:
        reports: One or more, of the feeds that had something to merge.
        states: Of all source tables that feed it; more than one are shown line by line.
    """
    kinds: dict[str, int] = {}
    for report in reports:
        for kind, count in report.kinds.items():
            kinds[kind] = kinds.get(kind, 0) + count
    worst = max(reports, key=lambda r: rank(r.outcome))
    seconds = sum(r.seconds for r in reports)
    commit = max(r.commit_ts_us for r in reports)
    found: Metadata = {
        "outcome": worst.outcome,
        **_kinds(kinds),
        "rows upserted": sum(r.upserted for r in reports),
        "rows deleted": sum(r.deleted for r in reports),
        "rows set aside": sum(r.dirty for r in reports),
        "watermark": _watermark(min(r.seq for r in reports)),
        "duration (s)": round(seconds, 3),
    }
    if seconds > 0:
        found["throughput (changes/s)"] = round(sum(kinds.values()) / seconds, 1)
    if commit:
        found["newest commit"] = dg.MetadataValue.timestamp(commit / 1e6)
        found["age of newest commit (s)"] = round(time.time() - commit / 1e6, 1)
    if worst.reason:
        found["reason"] = cut(worst.reason, REASON_CHARACTERS)
    if len(states) > 1:
        found["source tables"] = dg.MetadataValue.md(feeds_table(reports, states))
    return found


def feeds_table(reports: Sequence[TableReport], states: Mapping[TableId, TableState | None]) -> str:
    """Return a markdown table of a target's feeds, those with trouble or changes first."""
    told = {report.table: report for report in reports}

    def order(table: TableId) -> tuple[int, int, TableId]:
        report = told.get(table)
        return (-(rank(report.outcome) + 1) if report else 0, -_changes(report), table)

    ordered = sorted({*told, *states}, key=order)
    lines = [
        "| source table | outcome | inserts | updates | deletes | watermark |",
        "|---|---|---:|---:|---:|---|",
    ]
    lines += [_feed_line(t, told.get(t), states.get(t)) for t in ordered[:TABLE_LINES]]
    if len(ordered) > TABLE_LINES:
        lines.append(f"| … {len(ordered) - TABLE_LINES} more | | | | | |")
    return "\n".join(lines)


def _feed_line(table: TableId, report: TableReport | None, state: TableState | None) -> str:
    if report is None:
        rests = state.status if state is not None and state.status != "live" else "no changes"
        return f"| {cut(str(table))} | {rests} | | | | |"
    cells = (report.kinds.get(kind, 0) for kind in ("insert", "update", "delete"))
    counts = " | ".join(f"{c:,}" for c in cells)
    return f"| {cut(str(table))} | {report.outcome} | {counts} | {_watermark(report.seq)} |"


def _changes(report: TableReport | None) -> int:
    return report.changes if report is not None else 0


def _watermark(seq: int) -> str:
    return f"segment {segment_of(seq)}" if seq else "none"


def capture_metadata(report: CaptureReport) -> Metadata:
    """Return what a run read from the source's log."""
    rows = sum(report.rows.values())
    found: Metadata = {
        **_position("from", report.start),
        **_position("to", report.end),
        "transactions": report.transactions,
        "bytes read": report.bytes_read,
        "rows set aside": report.dirty,
        "segments": len(report.segments),
        "duration (s)": round(report.seconds, 3),
        "lag (s)": lag_seconds(report),
    }
    if report.lag_bytes is not None:
        found["lag (bytes)"] = report.lag_bytes
    if report.seconds > 0:
        found["throughput (rows/s)"] = round(rows / report.seconds, 1)
        found["throughput (bytes/s)"] = round(report.bytes_read / report.seconds, 1)
    return found


def state_metadata(states: Mapping[TableId, TableState]) -> Metadata:
    """Return how many tables follow the log, and which ones do not and why."""
    found: Metadata = {"tables live": sum(s.status == "live" for s in states.values())}
    apart = [s for s in states.values() if s.status != "live"]
    apart.sort(key=lambda s: (s.status == "dropped", s.table))
    if apart:
        lines = ["| table | state | reason |", "|---|---|---|"]
        lines += [
            f"| {cut(str(s.table))} | {s.status} | {cut(s.reason)} |" for s in apart[:TABLE_LINES]
        ]
        if len(apart) > TABLE_LINES:
            lines.append(f"| … {len(apart) - TABLE_LINES} more | | |")
        found["tables not live"] = dg.MetadataValue.md("\n".join(lines))
    return found


def lag_seconds(report: CaptureReport) -> float:
    """Return how far the change log is behind: 0 once it has everything the server has."""
    if report.lag_bytes == 0 or not report.last_commit_us:
        return 0.0
    return max(0.0, round(time.time() - report.last_commit_us / 1e6, 1))


def window_metadata(tables: Mapping[str, Mapping[str, int]], segments: Iterable[int]) -> Metadata:
    """Return what was captured of one window: rows by kind, and which tables it touches.

    Args:
        tables: Rows by kind of every table, by `database.table`.
        segments: Numbers of the window's segments.
    """
    kinds: dict[str, int] = {}
    for counts in tables.values():
        for kind, count in counts.items():
            kinds[kind] = kinds.get(kind, 0) + count
    numbers = sorted(segments)
    found: Metadata = {
        **_kinds(kinds),
        "rows": sum(kinds.values()),
        "tables touched": len(tables),
        "segment numbers": _range(numbers),
    }
    if tables:
        found["tables"] = dg.MetadataValue.md(touched_table(tables))
    return found


def touched_table(tables: Mapping[str, Mapping[str, int]]) -> str:
    """Return a markdown table of rows by kind, the busiest tables first, cut after 50 lines."""
    ordered = sorted(tables.items(), key=lambda item: (-sum(item[1].values()), item[0]))
    lines = ["| table | inserts | updates | deletes |", "|---|---:|---:|---:|"]
    for name, counts in ordered[:TABLE_LINES]:
        cells = (counts.get(kind, 0) for kind in ("insert", "update", "delete"))
        lines.append(f"| {cut(name)} | " + " | ".join(f"{c:,}" for c in cells) + " |")
    if len(ordered) > TABLE_LINES:
        lines.append(f"| … {len(ordered) - TABLE_LINES} more | | | |")
    return "\n".join(lines)


def copy_metadata(report: CopyReport) -> Metadata:
    """Return what a snapshot of one table did."""
    found: Metadata = {
        "dagster/row_count": report.rows,
        "chunks": report.chunks,
        "chunks read by this run": report.chunks_copied,
        "rows set aside": report.dirty,
        "resumed": report.resumed,
        "snapshot load id": report.load_id,
        "target": str(report.target),
        "duration (s)": round(report.seconds, 3),
    }
    if report.seconds > 0 and not report.resumed:
        found["throughput (rows/s)"] = round(report.rows / report.seconds, 1)
    if report.low is not None:
        found |= _position("before the first chunk", report.low)
    if report.high is not None:
        found["consistent from"] = position_shown(report.high)
    if report.schema is not None:
        found["dagster/column_schema"] = column_schema(report.schema)
    return found


def column_schema(
    schema: TableSchema, lineage: Mapping[str, frozenset[str]] = NO_LINEAGE
) -> dg.TableSchema:
    """Return a table's columns with types, nullability and key as Dagster shows them.

    Args:
        schema: The columns.
        lineage: The source columns every one is made of. Those of another name are said in
            words: the open-source UI draws no column lineage (seen on 1.13.27).
    """
    key = set(schema.key)
    columns = [_column(c, c.name in key, lineage.get(c.name, ())) for c in schema.columns]
    constraints = [f"primary key ({', '.join(schema.key)})"] if schema.key else []
    return dg.TableSchema(columns=columns, constraints=dg.TableConstraints(other=constraints))


def cut(text: str, length: int = COMMENT_CHARACTERS) -> str:
    """Return text of a source fit for a page: one line, no markup, of bounded length."""
    line = " ".join(text.split())
    for sign in "&<>|`":
        line = line.replace(sign, {"&": "&amp;", "<": "&lt;", ">": "&gt;"}.get(sign, "'"))
    return line if len(line) <= length else line[: length - 1] + "…"


def shortened(gtid_set: str) -> str:
    """Return a GTID set cut to a readable length."""
    text = gtid_set.replace("\n", "")
    if len(text) <= GTID_CHARACTERS:
        return text
    return f"{text[:GTID_CHARACTERS]}… ({text.count(',') + 1} parts)"


def _column(column: Column, is_key: bool, sources: Collection[str]) -> dg.TableColumn:
    words = [f"Arrow {column.type}"]
    if sources and set(sources) != {column.name}:
        words.append(f"from {cut(', '.join(sorted(sources)))}")
    if column.source_type:
        words.append(f"source {cut(column.source_type)}")
    if column.generated:
        words.append("generated")
    if column.comment:
        words.append(cut(column.comment))
    return dg.TableColumn(
        name=column.name,
        type=cut(column.source_type or str(column.type)),
        description=" · ".join(words),
        constraints=dg.TableColumnConstraints(
            nullable=column.nullable, other=["key"] if is_key else []
        ),
    )


def position_shown(position: Position) -> str:
    """Return a position as one line: `file:offset`, and the GTID set where there is one."""
    if isinstance(position, BinlogPosition) and position.gtid_set:
        return f"{position} (GTID set {shortened(position.gtid_set)})"
    return str(position)


def _kinds(kinds: Mapping[str, int]) -> Metadata:
    return {f"{kind}s": kinds.get(kind, 0) for kind in ("insert", "update", "delete")}


def _position(name: str, position: Position) -> Metadata:
    found: Metadata = {f"position {name}": str(position)}
    if isinstance(position, BinlogPosition) and position.gtid_set:
        found[f"GTID set {name}"] = shortened(position.gtid_set)
    return found


def _range(numbers: list[int]) -> str:
    if not numbers:
        return "none"
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
