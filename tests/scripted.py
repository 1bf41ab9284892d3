"""A source with a script instead of a server: tables, transactions and a log in memory.

Stands beside the real servers in tests of the engine: it can commit in the middle of a chunk
read, hand out tiny slices, and be driven through thousands of sequences a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from resources.errors import PositionPurged
from resources.model.change import (
    NO_SHAPES,
    ChangeBatch,
    LogSlice,
    RejectedRow,
    RowKind,
    ShapeRecord,
    TableNotice,
    change_schema,
)
from resources.model.chunk import Chunk
from resources.model.keys import key_text
from resources.model.position import BinlogPosition, Position, ServerIdentity
from resources.model.source import ChunkRows, Finding
from resources.model.table import Column, TableId, TableSchema

IDENTITY = ServerIdentity("mysql", "scripted")
HOUR_US = 3_600_000_000
POISON = "cannot be decoded"
MARK = TableId("db", "")
"""Whose shape record is the offset it is to be kept with."""

Row = tuple[int, str | None]


def scripted_schema(table: TableId) -> TableSchema:
    """The shape of every scripted table: `id` and a text."""
    columns = (Column("id", pa.int64(), "bigint", False), Column("v", pa.string(), "text"))
    return TableSchema(table, columns, ("id",))


@dataclass
class Event:
    """One row event or notice of a transaction."""

    table: TableId
    before: Row | None = None
    after: Row | None = None
    notice: str = ""
    rewrites: bool = True
    shape: TableSchema | None = None


@dataclass
class ScriptedSource:
    """See the module docstring.

    Args:
        tables: Rows by table and key.
        log: Transactions with their commit times.
        slice_transactions: Transactions a slice holds.
        on_read: Called before every part of a chunk is read, to change data under it.
        poison: Whether rows whose text is `POISON` are rejected.
        purged: Transactions dropped from the log's start.
    """

    tables: dict[TableId, dict[int, Row]] = field(default_factory=dict)
    log: list[tuple[int, list[Event]]] = field(default_factory=list)
    slice_transactions: int = 2
    on_read: Callable[[], None] = lambda: None
    clock_us: int = 1_790_000_000_000_000
    poison: bool = True
    purged: int = 0
    chunks_read: list[int] = field(default_factory=list)

    def create(self, name: str) -> TableId:
        table = TableId("db", name)
        self.tables.setdefault(table, {})
        return table

    def commit(
        self, *changes: tuple[TableId, int, Row | None], notice: Event | None = None
    ) -> None:
        """Apply `(table, key, new row or None)` changes as one transaction."""
        events = []
        for table, key, after in changes:
            before = self.tables[table].pop(key, None)
            if after is not None:
                self.tables[table][after[0]] = after
            if before is not None or after is not None:
                events.append(Event(table, before, after))
        if notice is not None:
            events.append(notice)
        self.clock_us += 1_000_000
        self.log.append((self.clock_us, events))

    def identity(self) -> ServerIdentity:
        return IDENTITY

    def current_position(self) -> BinlogPosition:
        return BinlogPosition("log.000001", len(self.log), "", IDENTITY)

    def start_position(self) -> BinlogPosition:
        return self.current_position()

    def list_tables(self) -> list[TableId]:
        return sorted(self.tables)

    def read_schemas(self, tables: Sequence[TableId]) -> dict[TableId, TableSchema]:
        return {t: scripted_schema(t) for t in tables if t in self.tables}

    def check(self) -> list[Finding]:
        return []

    def lag_bytes(self, position: Position) -> int | None:
        return len(self.log) - position.offset if isinstance(position, BinlogPosition) else None

    def close(self) -> None:
        pass

    def estimate_rows(self, schema: TableSchema) -> int:
        return len(self.tables[schema.table])

    def plan_chunks(
        self, schema: TableSchema, chunk_rows: int, resume_after: Chunk | None = None
    ) -> Iterator[Chunk]:
        number = resume_after.number if resume_after else 0
        after = resume_after.upto if resume_after else None
        if resume_after is not None and after is None:
            return
        while True:
            number += 1
            keys = sorted(
                k for k in self.tables[schema.table] if after is None or k > int(after[0])
            )
            if len(keys) <= chunk_rows:
                yield Chunk(number, after, None, len(keys))
                return
            upto = (str(keys[chunk_rows - 1]),)
            yield Chunk(number, after, upto, chunk_rows)
            after = upto

    def read_chunk(self, schema: TableSchema, chunk: Chunk) -> Iterator[ChunkRows]:
        self.on_read()
        self.chunks_read.append(chunk.number)
        low = int(chunk.after[0]) if chunk.after else None
        high = int(chunk.upto[0]) if chunk.upto else None
        rows = [
            r
            for k, r in sorted(self.tables[schema.table].items())
            if (low is None or k > low) and (high is None or k <= high)
        ]
        self.on_read()
        yield self._rows(schema, rows)

    def read_rows(self, schema: TableSchema, keys: Sequence[str]) -> Iterator[ChunkRows]:
        wanted = set(keys)
        rows = [r for k, r in self.tables[schema.table].items() if key_text({"id": k}) in wanted]
        yield self._rows(schema, rows)

    def _rows(self, schema: TableSchema, rows: Sequence[Row]) -> ChunkRows:
        good = [r for r in rows if not self._is_poison(r)]
        bad = [self._rejected(schema, 0, RowKind.INSERT, r, 0) for r in rows if self._is_poison(r)]
        columns = [
            pa.array([r[0] for r in good], pa.int64()),
            pa.array([r[1] for r in good], pa.string()),
        ]
        return ChunkRows(pa.record_batch(columns, schema=schema.arrow()), bad)

    def _is_poison(self, row: Row) -> bool:
        return self.poison and row[1] == POISON

    def _rejected(
        self, schema: TableSchema, seq: int, op: RowKind, row: Row, ts: int
    ) -> RejectedRow:
        image = pa.table([pa.array([row[0]]), pa.array([None], pa.string())], schema=schema.arrow())
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, image.schema) as writer:
            writer.write_table(image)
        return RejectedRow(
            schema,
            seq,
            op,
            ts,
            "scripted",
            key_text({"id": row[0]}),
            "v",
            "DirtyRowError",
            "poisoned",
            raw=b"",
            image=bytes(sink.getvalue()),
        )

    def stream_changes(
        self,
        start: Position,
        until: Position | None,
        stop: Callable[[], bool],
        shapes: Mapping[TableId, str] = NO_SHAPES,
    ) -> Iterator[LogSlice]:
        assert isinstance(start, BinlogPosition)
        assert shapes.get(MARK, str(start.offset)) == str(start.offset), "kept at another place"
        if start.offset < self.purged:
            raise PositionPurged("the scripted log was dropped", where=str(start))
        at, seq = start.offset, 0
        while not stop():
            end = len(self.log) if until is None else until.offset  # type: ignore[union-attr]
            if at >= end:
                if until is not None:
                    return
                here = BinlogPosition("log.000001", at, "", IDENTITY)
                yield LogSlice([], here, 0, 0, 0, shapes=[ShapeRecord(MARK, str(at))])
                continue
            part = self._slice(at, min(end, at + self.slice_transactions), seq)
            yield part
            at, seq = part.end.offset, seq + part.rows  # type: ignore[union-attr]

    def _slice(self, low: int, high: int, seq: int) -> LogSlice:
        hour = self.log[low][0] // HOUR_US
        stop = next((i for i in range(low, high) if self.log[i][0] // HOUR_US != hour), high)
        built: dict[TableId, list[tuple[RowKind, int, int, Row]]] = {}
        notices, rejected, count = [], [], 0
        for ts, events in self.log[low:stop]:
            for event in events:
                if event.notice:
                    notices.append(
                        TableNotice(
                            event.table,
                            seq + count,
                            event.notice,
                            event.notice,
                            "scripted",
                            event.rewrites,
                            event.shape,
                        )
                    )
                for op, row in _images(event):
                    if self._is_poison(row):
                        schema = scripted_schema(event.table)
                        rejected.append(self._rejected(schema, seq + count, op, row, ts))
                    else:
                        built.setdefault(event.table, []).append((op, seq + count, ts, row))
                    count += 1
        batches = [_batch(table, rows) for table, rows in built.items()]
        return LogSlice(
            batches,
            BinlogPosition("log.000001", stop, "", IDENTITY),
            count,
            self.log[low][0],
            self.log[stop - 1][0],
            True,
            stop - low,
            rejected,
            notices,
            bytes_read=stop - low,
            shapes=[ShapeRecord(MARK, str(stop))],
        )


def _images(event: Event) -> Iterator[tuple[RowKind, Row]]:
    before, after = event.before, event.after
    if before is None and after is not None:
        yield RowKind.INSERT, after
    elif before is not None and after is None:
        yield RowKind.DELETE, before
    elif before is not None and after is not None:
        if before[0] != after[0]:
            yield RowKind.UPDATE_BEFORE, before
        yield RowKind.UPDATE_AFTER, after


def _batch(table: TableId, rows: list[tuple[RowKind, int, int, Row]]) -> ChangeBatch:
    schema = scripted_schema(table)
    arrays = [
        pa.array([r[3][0] for r in rows], pa.int64()),
        pa.array([r[3][1] for r in rows], pa.string()),
        pa.array([int(r[0]) for r in rows], pa.uint8()),
        pa.array([r[1] for r in rows], pa.uint64()),
        pa.array([r[2] for r in rows], pa.timestamp("us", tz="UTC")),
    ]
    return ChangeBatch(schema, pa.record_batch(arrays, schema=change_schema(schema)))
