"""A table of every plain type, its rows, and expressions evaluated over them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from cdc_assets.engine.transforms.metadata import BatchContext
from cdc_assets.engine.transforms.rule import TransformRule
from cdc_assets.engine.transforms.transform import Transform, Transformed, compile_transform
from resources.model.change import RowKind, change_schema
from resources.model.table import Column, TableId, TableSchema

TABLE = TableId("shop", "t")
CONTEXT = BatchContext(TABLE, "main", "binlog.000001:4", "uuid:1-5", 7, 1_700_000_000_000_000, "p")
UTC = pa.timestamp("us", tz="UTC")
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
COLUMNS = (
    Column("id", pa.int32(), nullable=False),
    Column("i", pa.int32()),
    Column("b", pa.int64()),
    Column("u", pa.uint64()),
    Column("y", pa.int8()),
    Column("d", pa.decimal128(10, 2)),
    Column("e", pa.decimal128(20, 8)),
    Column("f", pa.float64()),
    Column("s", pa.string()),
    Column("s2", pa.string()),
    Column("n", pa.string()),
    Column("day", pa.date32()),
    Column("at", pa.timestamp("us")),
    Column("tz", UTC),
    Column("tm", pa.duration("us")),
    Column("j", pa.large_string(), kind="json"),
    Column("x", pa.binary()),
    Column("wide", pa.decimal256(65, 30)),
)
SCHEMA = TableSchema(TABLE, COLUMNS, ("id",))


def snapshot_rows(
    rows: Sequence[Mapping[str, Any]], schema: TableSchema = SCHEMA
) -> pa.RecordBatch:
    """Rows as a snapshot reads them; columns not given are NULL."""
    arrays = [pa.array([r.get(c.name) for r in rows], c.type) for c in schema.columns]
    return pa.RecordBatch.from_arrays(arrays, names=list(schema.names))


def change_rows(
    changes: Sequence[tuple[RowKind, Mapping[str, Any]]],
    schema: TableSchema = SCHEMA,
    first: int = 1,
) -> pa.RecordBatch:
    """Changes as the log has them."""
    rows = snapshot_rows([row for _, row in changes], schema)
    kinds = pa.array([int(k) for k, _ in changes], pa.uint8())
    seqs = pa.array(range(first, first + len(changes)), pa.uint64())
    times = pa.array([EPOCH] * len(changes), UTC)
    return pa.RecordBatch.from_arrays(
        [*rows.columns, kinds, seqs, times], schema=change_schema(schema)
    )


def transform_of(*projection: str, schema: TableSchema = SCHEMA, **options: Any) -> Transform:
    """A transform of the table by a rule."""
    rule = TransformRule(("shop.*",), projection, where="shop.yaml:3", **options)
    return compile_transform(rule, schema)


def evaluate(text: str, *rows: Mapping[str, Any]) -> list[Any]:
    """What an expression gives for rows; the text `failed` for rows it fails on."""
    done, type_ = evaluated({"v": text}, rows)
    del type_
    return done["v"]


def evaluated(
    texts: Mapping[str, str], rows: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, list[Any]], dict[str, pa.DataType]]:
    """Values and types of several expressions, each by a transform of its own."""
    values: dict[str, list[Any]] = {}
    types: dict[str, pa.DataType] = {}
    batch = snapshot_rows([{**r, "id": n} for n, r in enumerate(rows or [{}])])
    for name, text in texts.items():
        made = transform_of("id", f"{text} AS v")
        done = made.apply_rows(batch, CONTEXT)
        found = dict(zip(*(done.rows.column(i).to_pylist() for i in (0, 1)), strict=True))
        failed = {f.row for f in done.failed}
        values[name] = ["failed" if n in failed else found[n] for n in range(batch.num_rows)]
        types[name] = made.schema.column("v").type
    return values, types


def picked(done: Transformed, *names: str) -> list[tuple[Any, ...]]:
    """Some columns of the rows that came out."""
    return [tuple(r[n] for n in names) for r in done.rows.to_pylist()]
