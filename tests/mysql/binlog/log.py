"""What the tests of this room share: a database on a real server and its log, read and folded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from resources.model.change import LogSlice, RowKind
from resources.model.position import BinlogPosition, ServerIdentity
from resources.model.table import TableId
from resources.mysql.binlog.gatherer import Gatherer, Piece
from resources.mysql.binlog.options import StreamOptions
from resources.mysql.binlog.stream import stream_binlog
from tests.servers.family import FamilyServer


@dataclass
class Log:
    """A database and the log of its server.

    Attributes:
        server: The server.
        database: The database.
        connect: Opens the connection the stream dumps on; a test may put a proxy in between.
    """

    server: FamilyServer
    database: str
    connect: Callable[[], Any] = field(default=lambda: None)
    server_id: int = 4242

    def __post_init__(self) -> None:
        self.connect = self.server.connect_cdc

    @property
    def flavor(self) -> Any:
        return self.server.kind

    @property
    def identity(self) -> ServerIdentity:
        return ServerIdentity(self.flavor, "the server")

    def table(self, name: str) -> TableId:
        return TableId(self.database, name)

    def run(self, *statements: str, database: bool = True) -> list[tuple[Any, ...]]:
        """Run statements on one connection; the rows of the last one."""
        chosen = {"database": self.database} if database else {}
        rows: list[tuple[Any, ...]] = []
        with closing(self.server.connect(**chosen)) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
                rows = list(cursor.fetchall())
        return rows

    def position(self, gtid: bool = True) -> BinlogPosition:
        """The end of the log."""
        if self.flavor == "mariadb":
            file, offset, *_ = self.run("SHOW MASTER STATUS", database=False)[0]
            gtids = self.run("SELECT @@gtid_binlog_pos", database=False)[0][0]
        else:
            file, offset, _, _, gtids = self.run("SHOW BINARY LOG STATUS", database=False)[0]
        clean = gtids.replace("\n", "") if gtid else ""
        return BinlogPosition(file, offset, clean, self.identity)

    def stream(
        self,
        start: BinlogPosition,
        until: BinlogPosition | None = None,
        *,
        wanted: Callable[[TableId], bool] | None = None,
        stop: Callable[[], bool] = lambda: False,
        **options: Any,
    ) -> Iterator[LogSlice]:
        return stream_binlog(
            self.connect,
            self.flavor,
            self.identity,
            self.server_id,
            start,
            until,
            wanted or (lambda table: table.database == self.database),
            stop,
            StreamOptions(**options),
        )

    def read(self, start: BinlogPosition, **options: Any) -> list[LogSlice]:
        """Everything from `start` to the end of the log as it is now."""
        return list(self.stream(start, self.position(), **options))


def gathered(pieces: Iterable[Piece]) -> Iterator[LogSlice]:
    """The slices of what a decoder gives, made at once and in this thread."""
    gatherer = Gatherer()
    for piece in pieces:
        if (whole := gatherer.take(piece)) is not None:
            yield whole


def rows_of(slices: Iterable[LogSlice], table: str) -> list[dict[str, Any]]:
    """All change rows of a table in counter order."""
    rows = [
        row
        for piece in slices
        for batch in piece.batches
        if batch.schema.table.table == table
        for row in batch.rows.to_pylist()
    ]
    assert [r["_cdc_seq"] for r in rows] == sorted(r["_cdc_seq"] for r in rows)
    return rows


def kinds_of(slices: Iterable[LogSlice], table: str) -> list[tuple[RowKind, Any]]:
    """Kind and first column of each change row."""
    out = []
    for row in rows_of(slices, table):
        first = next(iter(row))
        out.append((RowKind(row["_cdc_op"]), row[first]))
    return out


def folded(slices: Iterable[LogSlice], table: str, key: tuple[str, ...]) -> pa.Table | None:
    """The table's final rows: by key alone, the last change wins. Sorted by key."""
    last: dict[tuple[Any, ...], pa.RecordBatch | None] = {}
    for piece in slices:
        for batch in piece.batches:
            if batch.schema.table.table != table:
                continue
            columns = [name for name in batch.rows.schema.names if not name.startswith("_cdc_")]
            kinds = batch.rows.column("_cdc_op").to_pylist()
            keys = list(zip(*(batch.rows.column(k).to_pylist() for k in key), strict=True))
            image = batch.rows.select(columns)
            for index, (kind, value) in enumerate(zip(kinds, keys, strict=True)):
                gone = kind in (RowKind.DELETE, RowKind.UPDATE_BEFORE)
                last[value] = None if gone else image.slice(index, 1)
    live = [last[value] for value in sorted(last) if last[value] is not None]
    return pa.Table.from_batches(live).combine_chunks() if live else None
