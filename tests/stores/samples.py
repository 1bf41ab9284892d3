"""A table, positions and batches for the tests of the stores."""

from __future__ import annotations

import pyarrow as pa

from resources.model.change import ChangeBatch, RowKind, change_schema, first_seq
from resources.model.position import BinlogPosition, ServerIdentity
from resources.model.table import Column, TableId, TableSchema
from resources.stores.change_log import ChangeLog
from resources.stores.leases import Lease
from resources.stores.segments import Segment

PIPELINE = "shop"
ORDERS = TableId("shop", "orders")
USERS = TableId("shop", "users")
WINDOW = "2026-01-01-05:00"
LATER = "2026-01-01-06:00"


def position(offset: int) -> BinlogPosition:
    return BinlogPosition("binlog.000001", offset, "uuid:1-9", ServerIdentity("mysql", "uuid"))


def schema_of(table: TableId, *columns: str) -> TableSchema:
    named = [Column(name, pa.string(), "varchar(20)") for name in columns or ("name",)]
    return TableSchema(table, (Column("id", pa.int64(), "bigint", False), *named), ("id",))


def batch(schema: TableSchema, seqs: list[int], kind: RowKind = RowKind.INSERT) -> ChangeBatch:
    """Rows whose values tell their own `_cdc_seq`."""
    count = len(seqs)
    arrow = change_schema(schema)
    columns = [
        pa.array(seqs, pa.int64()),
        *([f"{n}-{s}" for s in seqs] for n in schema.names[1:]),
        [int(kind)] * count,
        seqs,
        pa.array(seqs, pa.timestamp("us", tz="UTC")),
    ]
    arrays = [pa.array(c, f.type) for c, f in zip(columns, arrow, strict=True)]
    return ChangeBatch(schema, pa.RecordBatch.from_arrays(arrays, schema=arrow))


def add_segment(
    log: ChangeLog, lease: Lease, rows: dict[TableId, int], window: str = WINDOW
) -> Segment:
    """Commit a segment with so many rows of each table; it ends at offset 100 * its number."""
    writer = log.begin_segment(lease, "run 1", "shop.*")
    seq = first_seq(writer.number)
    for table, count in rows.items():
        if count:
            writer.write(batch(schema_of(table), list(range(seq, seq + count))))
            seq += count
    return writer.commit(position(100 * writer.number), window, 1, 5, 6)


def seqs_of(log: ChangeLog, table: TableId, after: int = 0, upto: int | None = None) -> list[int]:
    found = [b.rows.column("_cdc_seq").to_pylist() for b in log.read(table, after, upto)]
    return [seq for part in found for seq in part]
